import type { DescribeSecretResponse } from '@aws-sdk/client-secrets-manager'
import { SecretsManager } from '@aws-sdk/client-secrets-manager'
import { isUtf8 } from 'node:buffer'
import { Secret } from '../../src/domain/secret.ts'
import type {
  Call,
  HostContext,
  ProviderErrorKind,
  SecretSink,
  SinkModule,
  SinkTarget,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { AwsConnection } from '../aws/client.ts'
import { clientSettings, connectionProperties } from '../aws/client.ts'
import { mapErrors, unlessGone } from '../aws/errors.ts'

interface Config extends AwsConnection {
  readonly namePrefix?: string
  readonly kmsKeyId?: string
  readonly recoveryDays?: number
}

const configSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['region'],
  properties: {
    ...connectionProperties,
    namePrefix: { type: 'string', pattern: '^[A-Za-z0-9/_+=.@-]*$', maxLength: 200 },
    kmsKeyId: { type: 'string', minLength: 1 },
    recoveryDays: { type: 'integer', minimum: 7, maximum: 30 },
  },
} as const

/** Secrets in AWS Secrets Manager: one secret per credential, one version per generation. */
export const awsSecrets: SinkModule = {
  type: 'aws-secrets',
  role: 'sink',
  configSchema,
  create: (host, config) => new AwsSecrets(host, config as unknown as Config),
}

const current = 'AWSCURRENT'
const pending = 'AWSPENDING'
const tagCredential = 'custody:credential'
const tagTenant = 'custody:tenant'
/** What a consumer reads before anything was promoted: valid JSON, and plainly no credential. */
const placeholder = JSON.stringify({ custody: 'nothing has been issued here yet' })

class AwsSecrets implements SecretSink {
  readonly name: string
  readonly type = 'aws-secrets'
  readonly canRead = true
  readonly #client: SecretsManager
  readonly #prefix: string
  readonly #kmsKeyId: string | null
  readonly #recoveryDays: number

  constructor(host: HostContext, config: Config) {
    this.name = host.name
    this.#client = mapErrors(new SecretsManager(clientSettings(host, config)), host.sawDate)
    this.#prefix = config.namePrefix ?? 'custody/'
    this.#kmsKeyId = config.kmsKeyId ?? null
    this.#recoveryDays = config.recoveryDays ?? 7
  }

  /** Makes the secret if need be, so that rights and the KMS key are tried before a key is minted. */
  async check(target: SinkTarget, call: Call): Promise<void> {
    await this.#ensure(target, call)
  }

  async deliver(target: SinkTarget, secret: Secret, call: Call): Promise<string> {
    const { ARN } = await this.#ensure(target, call)
    const value = secret.use((bytes) =>
      isUtf8(bytes)
        ? { SecretString: bytes.toString('utf8') }
        : { SecretBinary: Buffer.from(bytes) },
    )
    const answer = await this.#client.putSecretValue(
      // Without VersionStages the new version would be current at once.
      { SecretId: ARN, ClientRequestToken: call.key, VersionStages: [pending], ...value },
      within(call),
    )
    return answer.VersionId!
  }

  async promote(
    target: SinkTarget,
    version: string,
    from: string | null,
    call: Call,
  ): Promise<string> {
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) {
      throw refuse('notFound', `Secret ${this.#nameOf(target)} is gone; deliver again.`)
    }
    const holder = holderOf(secret, current)
    if (holder !== version) {
      const expected = from ?? placeholderVersion(target)
      if (holder !== expected) {
        throw refuse(
          'conflict',
          `Version ${holder} of ${secret.Name} is current, not ${expected}: someone else moved it.`,
        )
      }
      await this.#moveCurrent(secret, version, expected, call)
    }
    // Only the service's own rotation takes this label off by itself; we must.
    if (stagesOf(secret, version).includes(pending)) await this.#detach(secret, version, call)
    return `aws-secrets:${secret.ARN}?version=${version}`
  }

  /** A compare-and-set: refused when the label is not where we saw it a moment ago. */
  async #moveCurrent(
    secret: DescribeSecretResponse,
    version: string,
    from: string,
    call: Call,
  ): Promise<void> {
    try {
      await this.#client.updateSecretVersionStage(
        {
          SecretId: secret.ARN,
          VersionStage: current,
          MoveToVersionId: version,
          RemoveFromVersionId: from,
        },
        within(call),
      )
    } catch (error) {
      if (!(error instanceof ProviderError && error.kind === 'invalid')) throw error
      throw refuse('conflict', `${secret.Name} changed while it was promoted: ${error.message}`)
    }
  }

  async find(target: SinkTarget, key: string, call: Call): Promise<string | null> {
    const secret = await this.#describe(target, call)
    if (!secret || secret.DeletedDate || !this.#isOwn(secret, target)) return null
    return stagesOf(secret, key).length > 0 ? key : null
  }

  async read(target: SinkTarget, version: string, call: Call): Promise<Secret | null> {
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) return null
    const answer = await unlessGone(
      this.#client.getSecretValue({ SecretId: secret.ARN, VersionId: version }, within(call)),
    )
    if (answer?.SecretString !== undefined) return Secret.ofText(answer.SecretString)
    return answer?.SecretBinary === undefined ? null : Secret.of(answer.SecretBinary)
  }

  async current(target: SinkTarget, call: Call): Promise<string | null> {
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) return null
    const holder = holderOf(secret, current)
    return holder === placeholderVersion(target) ? null : holder
  }

  async discard(target: SinkTarget, version: string, call: Call): Promise<void> {
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) return
    const stages = stagesOf(secret, version)
    if (stages.includes(current)) return
    for (const stage of stages) await this.#detach(secret, version, call, stage)
  }

  async remove(target: SinkTarget, call: Call): Promise<void> {
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) return
    await unlessGone(
      this.#client.deleteSecret(
        { SecretId: secret.ARN, RecoveryWindowInDays: this.#recoveryDays },
        within(call),
      ),
    )
  }

  async close(): Promise<void> {
    this.#client.destroy()
  }

  /**
   * The secret of this credential, made or restored if need be. It is made with a placeholder:
   * Secrets Manager makes the first version current whatever label it is put under, so without
   * one the first key would be served before it was verified. The placeholder's version id is the
   * credential's id, so making it twice is one version.
   */
  async #ensure(target: SinkTarget, call: Call): Promise<DescribeSecretResponse> {
    const existing = await this.#own(target, call)
    if (!existing) return this.#create(target, call)
    if (existing.DeletedDate) {
      await this.#client.restoreSecret({ SecretId: existing.ARN }, within(call))
    }
    return existing
  }

  #create(target: SinkTarget, call: Call): Promise<DescribeSecretResponse> {
    return this.#client.createSecret(
      {
        Name: this.#nameOf(target),
        ClientRequestToken: placeholderVersion(target),
        SecretString: placeholder,
        Tags: [
          { Key: tagCredential, Value: target.credential },
          { Key: tagTenant, Value: target.tenant },
        ],
        ...(this.#kmsKeyId === null ? {} : { KmsKeyId: this.#kmsKeyId }),
      },
      within(call),
    )
  }

  /** @throws ProviderError conflict when the secret exists and is not of this credential */
  async #own(target: SinkTarget, call: Call): Promise<DescribeSecretResponse | null> {
    const secret = await this.#describe(target, call)
    if (!secret || this.#isOwn(secret, target)) return secret
    throw refuse(
      'conflict',
      `Secret ${secret.Name} was not made by Custody for this credential; choose another path.`,
    )
  }

  #isOwn(secret: DescribeSecretResponse, target: SinkTarget): boolean {
    const tag = (key: string): string | undefined => secret.Tags?.find((t) => t.Key === key)?.Value
    return tag(tagCredential) === target.credential && tag(tagTenant) === target.tenant
  }

  #describe(target: SinkTarget, call: Call): Promise<DescribeSecretResponse | null> {
    const input = { SecretId: this.#nameOf(target) }
    return unlessGone(this.#client.describeSecret(input, within(call)))
  }

  async #detach(
    secret: DescribeSecretResponse,
    version: string,
    call: Call,
    stage = pending,
  ): Promise<void> {
    try {
      await this.#client.updateSecretVersionStage(
        { SecretId: secret.ARN, VersionStage: stage, RemoveFromVersionId: version },
        within(call),
      )
    } catch (error) {
      // Not attached any more: what we wanted.
      if (!(error instanceof ProviderError && error.kind === 'invalid')) throw error
    }
  }

  #nameOf(target: SinkTarget): string {
    return `${this.#prefix}${target.tenant}/${target.path}`
  }
}

function placeholderVersion(target: SinkTarget): string {
  return target.credential
}

function stagesOf(secret: DescribeSecretResponse, version: string): readonly string[] {
  return secret.VersionIdsToStages?.[version] ?? []
}

function holderOf(secret: DescribeSecretResponse, stage: string): string | null {
  for (const [version, stages] of Object.entries(secret.VersionIdsToStages ?? {})) {
    if (stages.includes(stage)) return version
  }
  return null
}

function within(call: Call): { readonly abortSignal: AbortSignal } {
  return { abortSignal: call.signal }
}

function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}
