import type { SecretListEntry, SecretsManager } from '@aws-sdk/client-secrets-manager'
import { paginateListSecrets } from '@aws-sdk/client-secrets-manager'
import type { Call, CheckFinding, CheckReport } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

interface Place {
  readonly prefix: string
  readonly kmsKeyId: string | null
}

/** What the sink calls, by the right it needs; the README prints the same document. */
const writing = [
  'DescribeSecret',
  'CreateSecret',
  'TagResource',
  'PutSecretValue',
  'GetSecretValue',
  'ListSecretVersionIds',
  'UpdateSecretVersionStage',
  'DeleteSecret',
  'RestoreSecret',
] as const
const action = (name: string): string => `secretsmanager:${name}`

/** The least policy for a sink, ready to paste. */
export function leastPolicy({ prefix, kmsKeyId }: Place): string {
  const key = kmsKeyId?.startsWith('arn:') ? kmsKeyId : 'arn:aws:kms:*:*:key/*'
  const kms = {
    Effect: 'Allow',
    Action: ['kms:GenerateDataKey', 'kms:Decrypt'],
    Resource: key,
    Condition: { StringLike: { 'kms:ViaService': 'secretsmanager.*.amazonaws.com' } },
  }
  const Statement = [
    {
      Effect: 'Allow',
      Action: writing.map(action),
      Resource: `arn:aws:secretsmanager:*:*:secret:${prefix}*`,
    },
    { Effect: 'Allow', Action: [action('ListSecrets')], Resource: '*' },
    ...(kmsKeyId === null ? [] : [kms]),
  ]
  return JSON.stringify({ Version: '2012-10-17', Statement }, null, 2)
}

/**
 * Tries each right on a secret that does not exist: allowed, the answer is "not found", and nothing
 * changes. Then looks at what is there: what waits for its deletion, and whether the KMS key opens one.
 */
export async function examineSecrets(
  client: SecretsManager,
  place: Place,
  call: Call,
): Promise<CheckReport> {
  const within = { abortSignal: call.signal }
  const SecretId = `${place.prefix}custody-check/${call.key}`
  const value = 'custody looks whether it may write here'
  const tries: Readonly<Record<(typeof writing)[number], () => Promise<unknown>>> = {
    DescribeSecret: () => client.describeSecret({ SecretId }, within),
    // Only making one would tell for sure: both sorts of value at once are refused.
    CreateSecret: () =>
      client.createSecret(
        { Name: SecretId, SecretString: value, SecretBinary: Buffer.from(value) },
        within,
      ),
    TagResource: () =>
      client.tagResource({ SecretId, Tags: [{ Key: 'custody:check', Value: 'x' }] }, within),
    PutSecretValue: () =>
      client.putSecretValue(
        {
          SecretId,
          ClientRequestToken: call.key,
          SecretString: value,
          VersionStages: ['AWSPENDING'],
        },
        within,
      ),
    GetSecretValue: () => client.getSecretValue({ SecretId }, within),
    ListSecretVersionIds: () => client.listSecretVersionIds({ SecretId }, within),
    UpdateSecretVersionStage: () =>
      client.updateSecretVersionStage(
        { SecretId, VersionStage: 'AWSPENDING', RemoveFromVersionId: call.key },
        within,
      ),
    DeleteSecret: () => client.deleteSecret({ SecretId, RecoveryWindowInDays: 30 }, within),
    RestoreSecret: () => client.restoreSecret({ SecretId }, within),
  }
  const first = await errorOf(tries.DescribeSecret)
  const credentials = credentialsFinding(first)
  if (credentials.state !== 'ok') {
    return { findings: [credentials], leastPolicy: leastPolicy(place) }
  }
  const findings: CheckFinding[] = [credentials]
  for (const name of writing) {
    const error = name === 'DescribeSecret' ? first : await errorOf(tries[name])
    findings.push(rightFinding(name, error))
  }
  findings.push(...(await presentFindings(client, place, call)))
  return { findings, leastPolicy: leastPolicy(place) }
}

async function errorOf(attempt: () => Promise<unknown>): Promise<ProviderError | null> {
  try {
    await attempt()
    return null
  } catch (error) {
    if (error instanceof ProviderError) return error
    throw error
  }
}

const notAuthentic =
  /UnrecognizedClient|InvalidClientTokenId|InvalidSignature|SignatureDoesNotMatch|ExpiredToken|MissingAuthentication|CredentialsProvider|TokenProvider/

function credentialsFinding(error: ProviderError | null): CheckFinding {
  const found = (state: CheckFinding['state'], message: string, remedy: string | null) => ({
    name: 'credentials',
    state,
    message,
    remedy,
  })
  if (error && notAuthentic.test(error.message)) {
    return found('failed', error.message, 'Give it an access key of AWS that is active, or a role.')
  }
  if (error && (error.kind === 'unavailable' || error.kind === 'throttled')) {
    return found('unknown', error.message, 'Check region, endpoint and network, then try again.')
  }
  return found('ok', 'AWS knows the credentials.', null)
}

function rightFinding(operation: string, error: ProviderError | null): CheckFinding {
  const name = action(operation)
  if (error?.kind === 'denied') {
    return {
      name,
      state: 'failed',
      message: error.message,
      remedy: `Allow ${name} on the secrets under the prefix; leastPolicy has all that is needed.`,
    }
  }
  if (operation !== 'CreateSecret' && (error === null || error.kind === 'notFound')) {
    return { name, state: 'ok', message: 'It is allowed.', remedy: null }
  }
  const told = 'AWS did not refuse it; only the first secret made will tell for sure.'
  return {
    name,
    state: 'unknown',
    message: operation === 'CreateSecret' ? told : error!.message,
    remedy: null,
  }
}

async function presentFindings(
  client: SecretsManager,
  { prefix, kmsKeyId }: Place,
  call: Call,
): Promise<readonly CheckFinding[]> {
  const listed: SecretListEntry[] = []
  const within = { abortSignal: call.signal }
  const wanted = {
    IncludePlannedDeletion: true,
    Filters: prefix === '' ? [] : [{ Key: 'name' as const, Values: [prefix] }],
  }
  const error = await errorOf(async () => {
    for await (const page of paginateListSecrets({ client }, wanted, within)) {
      listed.push(...(page.SecretList ?? []).filter((s) => s.Name?.startsWith(prefix)))
    }
  })
  if (error) {
    return [
      {
        name: 'pendingDeletions',
        state: 'unknown',
        message: error.message,
        remedy: `Allow ${action('ListSecrets')} to see which names wait for their deletion.`,
      },
    ]
  }
  const waiting = listed.filter((s) => s.DeletedDate)
  const names = waiting.slice(0, 5).map((s) => s.Name)
  const findings: CheckFinding[] = [
    {
      name: 'pendingDeletions',
      state: 'ok',
      message:
        waiting.length === 0
          ? `None of ${listed.length} secrets waits for its deletion.`
          : `${waiting.length} of ${listed.length} secrets wait for their deletion and keep their names until then: ${names.join(', ')}${waiting.length > 5 ? ', …' : ''}.`,
      remedy: null,
    },
  ]
  return kmsKeyId === null
    ? findings
    : [...findings, await kmsFinding(client, kmsKeyId, listed, call)]
}

async function kmsFinding(
  client: SecretsManager,
  kmsKeyId: string,
  listed: readonly SecretListEntry[],
  call: Call,
): Promise<CheckFinding> {
  const sample = listed.find((s) => s.KmsKeyId === kmsKeyId && !s.DeletedDate)
  const found = (state: CheckFinding['state'], message: string, remedy: string | null) => ({
    name: 'kms',
    state,
    message,
    remedy,
  })
  if (!sample) {
    return found('unknown', `No secret uses ${kmsKeyId} yet; the first one made will tell.`, null)
  }
  const error = await errorOf(() =>
    client.getSecretValue({ SecretId: sample.ARN }, { abortSignal: call.signal }),
  )
  // A secret without a value has nothing to open.
  if (error === null || error.kind === 'notFound') {
    return found('ok', `${kmsKeyId} opens ${sample.Name}.`, null)
  }
  const remedy = `Enable ${kmsKeyId}, and let Custody use it for kms:GenerateDataKey and kms:Decrypt.`
  return found('failed', error.message, remedy)
}
