import type {
  DescribeSecretResponse,
  GetSecretValueResponse,
  PutSecretValueResponse,
} from '@aws-sdk/client-secrets-manager'
import { SecretsManager } from '@aws-sdk/client-secrets-manager'
import { isUtf8 } from 'node:buffer'
import { Secret } from '../../src/domain/secret.ts'
import type { Clock } from '../../src/domain/time.ts'
import type {
  Call,
  CheckReport,
  HostContext,
  ProviderErrorKind,
  SecretSink,
  SinkModule,
  SinkTarget,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { SecretFormat } from '../../src/provider/secret-format.ts'
import { formatProperty, inFormat } from '../../src/provider/secret-format.ts'
import type { AwsConnection } from '../aws/client.ts'
import { clientSettings, connectionProperties } from '../aws/client.ts'
import { mapErrors, unlessGone } from '../aws/errors.ts'
import { examineSecrets } from './examine.ts'
import { keepBudget } from './write-budget.ts'

interface Config extends AwsConnection {
  readonly namePrefix?: string
  readonly kmsKeyId?: string
  readonly recoveryDays?: number
  readonly format?: SecretFormat
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
    format: formatProperty,
  },
} as const

/** Secrets in AWS Secrets Manager: one secret per credential, one version per generation. */
export const awsSecrets: SinkModule = {
  type: 'aws-secrets',
  role: 'sink',
  configSchema,
  create: (host, config) => {
    const sink = new AwsSecrets(host, config as unknown as Config)
    return inFormat(sink, (config as unknown as Config).format ?? 'custody')
  },
}

const current = 'AWSCURRENT'
const pending = 'AWSPENDING'
const tagCredential = 'custody:credential'
const tagTenant = 'custody:tenant'
const tagGeneration = 'custody:generation'
const tagOperation = 'custody:operation'
/** ARNs known by the credential they belong to; each is some 200 bytes. */
const arnsMax = 20_000
const aboutKms = /EncryptionFailure|DecryptionFailure|Access to KMS is not allowed/
/** What a consumer reads before anything was promoted: valid JSON, and plainly no credential. */
const placeholder = JSON.stringify({ custody: 'nothing has been issued here yet' })

class AwsSecrets implements SecretSink {
  readonly name: string
  readonly type = 'aws-secrets'
  readonly canRead = true
  readonly #client: SecretsManager
  readonly #clock: Clock
  readonly #prefix: string
  readonly #kmsKeyId: string | null
  readonly #recoveryDays: number
  /** An ARN ends in random characters and is never given twice: who knows it need not ask whose it is. */
  readonly #arns = new Map<string, string>()

  constructor(host: HostContext, config: Config) {
    this.name = host.name
    this.#clock = host.clock
    this.#client = mapErrors(new SecretsManager(clientSettings(host, config)), host.sawDate)
    this.#prefix = config.namePrefix ?? 'custody/'
    this.#kmsKeyId = config.kmsKeyId ?? null
    this.#recoveryDays = config.recoveryDays ?? 7
  }

  /**
   * Makes or restores the secret if need be, so that rights and the KMS key are tried before a key is
   * minted. Here, and not when a key that exists already has to be stored, a secret that was written
   * too often has to wait: what undoes a rotation moves labels and writes no value.
   * @throws ProviderError `throttled` with the time after which one more value may be written
   */
  async check(target: SinkTarget, call: Call): Promise<void> {
    const { made, secret } = await this.#ensure(target, call)
    if (made) return
    await keepBudget(this.#client, secret, this.#clock.now(), call)
    if (secret.KmsKeyId === undefined) return
    // Nothing else tells whether the KMS key works; a refusal after minting would cost a key each time.
    const current = { SecretId: secret.ARN }
    await unlessGone(this.#withKms(secret, this.#client.getSecretValue(current, within(call))))
  }

  async deliver(target: SinkTarget, secret: Secret, call: Call): Promise<string> {
    const known = this.#arns.get(target.credential)
    const answer = known === undefined ? null : await unlessMoved(this.#put(known, secret, call))
    if (answer) return answer.VersionId!
    const { secret: place } = await this.#ensure(target, call)
    const put = await this.#withKms(place, this.#put(place.ARN!, secret, call))
    return put.VersionId!
  }

  #put(SecretId: string, secret: Secret, call: Call): Promise<PutSecretValueResponse> {
    const value = secret.use((bytes) =>
      isUtf8(bytes)
        ? { SecretString: bytes.toString('utf8') }
        : { SecretBinary: Buffer.from(bytes) },
    )
    return this.#client.putSecretValue(
      // Without VersionStages the new version would be current at once.
      { SecretId, ClientRequestToken: call.key, VersionStages: [pending], ...value },
      within(call),
    )
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
    await this.#mark(secret, target, call)
    return `aws-secrets:${secret.ARN}?version=${version}`
  }

  /** Tells people at AWS which generation consumers read, and which operation put it there. */
  async #mark(secret: DescribeSecretResponse, target: SinkTarget, call: Call): Promise<void> {
    if (target.generation === undefined) return
    const generation = String(target.generation)
    if (tagOf(secret, tagGeneration) === generation) return
    const Tags = [
      { Key: tagGeneration, Value: generation },
      ...(call.operation === null ? [] : [{ Key: tagOperation, Value: call.operation }]),
    ]
    await this.#client.tagResource({ SecretId: secret.ARN, Tags }, within(call))
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
    const secret = await unlessOthers(this.#own(target, call))
    if (!secret || secret.DeletedDate) return null
    return stagesOf(secret, key).length > 0 ? key : null
  }

  async read(target: SinkTarget, version: string, call: Call): Promise<Secret | null> {
    const known = this.#arns.get(target.credential)
    const found = known === undefined ? null : await unlessMoved(this.#get(known, version, call))
    if (found) return secretIn(found)
    const secret = await this.#own(target, call)
    if (!secret || secret.DeletedDate) return null
    const answer = await unlessGone(this.#withKms(secret, this.#get(secret.ARN!, version, call)))
    return answer && secretIn(answer)
  }

  #get(SecretId: string, VersionId: string, call: Call): Promise<GetSecretValueResponse> {
    return this.#client.getSecretValue({ SecretId, VersionId }, within(call))
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

  examine(call: Call): Promise<CheckReport> {
    return examineSecrets(this.#client, { prefix: this.#prefix, kmsKeyId: this.#kmsKeyId }, call)
  }

  async close(): Promise<void> {
    this.#client.destroy()
  }

  /** Says what to do about a KMS key that does not work: AWS names neither the key nor the remedy. */
  async #withKms<T>(secret: DescribeSecretResponse, answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      if (!(error instanceof ProviderError) || !aboutKms.test(error.message)) throw error
      const key = secret.KmsKeyId ?? this.#kmsKeyId ?? 'aws/secretsmanager'
      throw new ProviderError(
        error.kind,
        `KMS key ${key} of ${secret.Name} cannot be used: enable it, and let Custody use it for kms:GenerateDataKey and kms:Decrypt (${error.message})`,
        { outcome: error.outcome, retryAfter: error.retryAfter },
      )
    }
  }

  /**
   * The secret of this credential, made or restored if need be. It is made with a placeholder:
   * Secrets Manager makes the first version current whatever label it is put under, so without
   * one the first key would be served before it was verified. The placeholder's version id is the
   * credential's id, so making it twice is one version.
   */
  async #ensure(
    target: SinkTarget,
    call: Call,
  ): Promise<{ readonly secret: DescribeSecretResponse; readonly made: boolean }> {
    const { own, freeName } = await this.#look(target, call)
    if (!own) {
      const secret = await this.#create(freeName ?? this.#nameOf(target), target, call)
      this.#remember(target, secret)
      return { secret, made: true }
    }
    if (own.DeletedDate) {
      await this.#client.restoreSecret({ SecretId: own.ARN }, within(call))
    }
    return { secret: own, made: false }
  }

  #create(Name: string, target: SinkTarget, call: Call): Promise<DescribeSecretResponse> {
    const wanted = {
      Name,
      ClientRequestToken: placeholderVersion(target),
      SecretString: placeholder,
      Tags: [
        { Key: tagCredential, Value: target.credential },
        { Key: tagTenant, Value: target.tenant },
      ],
      ...(this.#kmsKeyId === null ? {} : { KmsKeyId: this.#kmsKeyId }),
    }
    return this.#withKms({ Name }, this.#client.createSecret(wanted, within(call)))
  }

  /** @throws ProviderError conflict when the secret exists and is not of this credential */
  async #own(target: SinkTarget, call: Call): Promise<DescribeSecretResponse | null> {
    return (await this.#look(target, call)).own
  }

  /**
   * The secret of this credential under its path or, where another one's secret that waits for its
   * deletion blocked that name, under the path with the credential's id: a name is never taken over.
   * @returns `freeName`: under which one may be made when there is none
   * @throws ProviderError conflict when the name is in use by another
   */
  async #look(
    target: SinkTarget,
    call: Call,
  ): Promise<{ readonly own: DescribeSecretResponse | null; readonly freeName: string | null }> {
    const name = this.#nameOf(target)
    const first = await this.#describe(this.#arns.get(target.credential) ?? name, call)
    if (first && this.#isOwn(first, target)) return this.#found(target, first)
    this.#arns.delete(target.credential)
    const longName = `${name}/${target.credential}`
    const second = await this.#describe(longName, call)
    if (second && this.#isOwn(second, target)) return this.#found(target, second)
    if (!first) return { own: null, freeName: name }
    if (first.DeletedDate && !second) return { own: null, freeName: longName }
    throw refuse(
      'conflict',
      `Secret ${first.Name} was not made by Custody for this credential; choose another path.`,
    )
  }

  #found(
    target: SinkTarget,
    own: DescribeSecretResponse,
  ): { readonly own: DescribeSecretResponse; readonly freeName: null } {
    this.#remember(target, own)
    return { own, freeName: null }
  }

  #remember(target: SinkTarget, { ARN }: DescribeSecretResponse): void {
    this.#arns.delete(target.credential)
    this.#arns.set(target.credential, ARN!)
    if (this.#arns.size > arnsMax) this.#arns.delete(this.#arns.keys().next().value!)
  }

  #isOwn(secret: DescribeSecretResponse, target: SinkTarget): boolean {
    return (
      tagOf(secret, tagCredential) === target.credential &&
      tagOf(secret, tagTenant) === target.tenant
    )
  }

  #describe(SecretId: string, call: Call): Promise<DescribeSecretResponse | null> {
    return unlessGone(this.#client.describeSecret({ SecretId }, within(call)))
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

function tagOf(secret: DescribeSecretResponse, key: string): string | null {
  return secret.Tags?.find((tag) => tag.Key === key)?.Value ?? null
}

function secretIn({ SecretString, SecretBinary }: GetSecretValueResponse): Secret | null {
  if (SecretString !== undefined) return Secret.ofText(SecretString)
  return SecretBinary === undefined ? null : Secret.of(SecretBinary)
}

/** Null when a secret that was known is gone, is about to be, or cannot be used: look again. */
async function unlessMoved<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    const moved = error instanceof ProviderError && /^(notFound|invalid)$/.test(error.kind)
    if (moved || (error instanceof ProviderError && aboutKms.test(error.message))) return null
    throw error
  }
}

/** Null when the secret at that name is another one's: nothing of ours is there. */
async function unlessOthers<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ProviderError && error.kind === 'conflict') return null
    throw error
  }
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
