import type * as sm from '@aws-sdk/client-secrets-manager'
import type { Clock } from '../../domain/time.ts'
import { AwsError } from './error.ts'

/** The tables and rules of Secrets Manager: one method per operation, by its name. */
export interface SecretVersion {
  readonly id: string
  readonly createdAt: number
  readonly text: string | null
  readonly bytes: Uint8Array | null
  readonly stages: Set<string>
}

export interface StoredSecret {
  readonly arn: string
  readonly region: string
  readonly name: string
  readonly kmsKeyId: string | null
  readonly description: string | null
  readonly tags: Map<string, string>
  readonly versions: Map<string, SecretVersion>
  readonly createdAt: number
  changedAt: number
  /** When it will be gone for good; null while it is in use. */
  deleteAt: number | null
  deletedAt: number | null
}

const current = 'AWSCURRENT'
const previous = 'AWSPREVIOUS'
const versionsMax = 100
const stagesPerSecretMax = 20
const daySeconds = 86_400
const namePattern = /^[A-Za-z0-9/_+=.@-]{1,512}$/

export class SecretsState {
  readonly #clock: Clock
  readonly #accountId: string
  readonly #random: (length: number) => Uint8Array
  readonly disabledKmsKeys = new Set<string>()
  /** How far ListSecrets lags behind writes; reads of one secret do not. */
  lagSeconds = 0
  readonly #secrets = new Map<string, StoredSecret>()
  /** By region and name: a bench has thousands, and each call looks one up. */
  readonly #arns = new Map<string, string>()

  constructor(clock: Clock, accountId: string, random: (length: number) => Uint8Array) {
    this.#clock = clock
    this.#accountId = accountId
    this.#random = random
  }

  /** By name, ARN, or ARN without its six random characters; null when there is none (any more). */
  find(region: string | null, id: string): StoredSecret | null {
    const likely = this.#secrets.get(this.#arns.get(`${region} ${id}`) ?? id)
    if (likely && likely.deleteAt === null && (region ?? likely.region) === likely.region) {
      return likely
    }
    for (const [key, secret] of this.#secrets) {
      if (secret.deleteAt !== null && secret.deleteAt <= this.#now()) this.#secrets.delete(key)
      else if (
        (region === null || secret.region === region) &&
        (secret.name === id || secret.arn === id || secret.arn.slice(0, -7) === id)
      ) {
        return secret
      }
    }
    return null
  }

  all(): readonly StoredSecret[] {
    return [...this.#secrets.values()].filter(
      ({ deleteAt }) => deleteAt === null || deleteAt > this.#now(),
    )
  }

  CreateSecret(input: sm.CreateSecretRequest, region: string): sm.CreateSecretResponse {
    const name = input.Name!
    if (!namePattern.test(name)) throw invalidParameter('Invalid name.')
    const existing = this.find(region, name)
    if (existing) return this.#createAgain(existing, input)
    const now = this.#now()
    const suffix = Buffer.from(this.#random(4)).toString('base64url').slice(0, 6)
    const arn = `arn:aws:secretsmanager:${region}:${this.#accountId}:secret:${name}-${suffix}`
    const secret: StoredSecret = {
      arn,
      region,
      name,
      kmsKeyId: input.KmsKeyId ?? null,
      description: input.Description ?? null,
      tags: new Map(),
      versions: new Map(),
      createdAt: now,
      changedAt: now,
      deleteAt: null,
      deletedAt: null,
    }
    setTags(secret, input.Tags ?? [])
    if (hasValue(input)) this.#seal(secret)
    const version = hasValue(input) ? this.#addVersion(secret, input, [current]) : null
    this.#secrets.set(arn, secret)
    this.#arns.set(`${region} ${name}`, arn)
    return { ARN: arn, Name: name, ...(version ? { VersionId: version.id } : {}) }
  }

  #createAgain(existing: StoredSecret, input: sm.CreateSecretRequest): sm.CreateSecretResponse {
    if (existing.deleteAt !== null) {
      throw invalidRequest(
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
      )
    }
    const version = existing.versions.get(input.ClientRequestToken ?? '')
    if (version && hasValue(input) && sameValue(version, input)) {
      return { ARN: existing.arn, Name: existing.name, VersionId: version.id }
    }
    throw new AwsError(
      'ResourceExistsException',
      `The operation failed because the secret ${existing.name} already exists.`,
    )
  }

  PutSecretValue(input: sm.PutSecretValueRequest, region: string): sm.PutSecretValueResponse {
    const secret = this.#usable(region, input.SecretId!)
    if (!hasValue(input)) throw invalidParameter('You must provide SecretString or SecretBinary.')
    this.#seal(secret)
    const stages = input.VersionStages ?? [current]
    if (stages.length === 0) throw invalidParameter('VersionStages must not be empty.')
    const known = secret.versions.get(input.ClientRequestToken ?? '')
    if (known && !sameValue(known, input)) {
      throw new AwsError(
        'ResourceExistsException',
        `A resource with the ID you requested already exists: ${known.id}.`,
      )
    }
    // Same token, same content: ignored, labels included.
    const version = known ?? this.#addVersion(secret, input, stages)
    return {
      ARN: secret.arn,
      Name: secret.name,
      VersionId: version.id,
      VersionStages: [...version.stages],
    }
  }

  GetSecretValue(input: sm.GetSecretValueRequest, region: string): sm.GetSecretValueResponse {
    const secret = this.#usable(region, input.SecretId!)
    const stage = input.VersionStage ?? (input.VersionId === undefined ? current : undefined)
    const version =
      input.VersionId === undefined
        ? holderOf(secret, stage!)
        : (secret.versions.get(input.VersionId) ?? null)
    if (!version || (stage !== undefined && !version.stages.has(stage))) {
      throw new AwsError(
        'ResourceNotFoundException',
        `Secrets Manager can't find the specified secret value for ${
          stage === undefined ? `VersionId: ${input.VersionId}` : `staging label: ${stage}`
        }`,
      )
    }
    if (this.disabledKmsKeys.has(secret.kmsKeyId ?? '')) {
      throw new AwsError(
        'DecryptionFailure',
        "Secrets Manager can't decrypt the protected secret text using the provided KMS key.",
      )
    }
    return {
      ARN: secret.arn,
      Name: secret.name,
      VersionId: version.id,
      VersionStages: [...version.stages],
      CreatedDate: new Date(version.createdAt),
      ...(version.text === null ? {} : { SecretString: version.text }),
      ...(version.bytes === null ? {} : { SecretBinary: version.bytes }),
    }
  }

  DescribeSecret(input: sm.DescribeSecretRequest, region: string): sm.DescribeSecretResponse {
    const secret = this.#existing(region, input.SecretId!)
    const labelled = [...secret.versions.values()].filter((v) => v.stages.size > 0)
    return {
      ARN: secret.arn,
      Name: secret.name,
      CreatedDate: new Date(secret.createdAt),
      LastChangedDate: new Date(secret.changedAt),
      Tags: [...secret.tags].map(([Key, Value]) => ({ Key, Value })),
      // Versions without a label are deprecated and no longer shown here.
      ...(labelled.length === 0
        ? {}
        : { VersionIdsToStages: Object.fromEntries(labelled.map((v) => [v.id, [...v.stages]])) }),
      ...(secret.kmsKeyId === null ? {} : { KmsKeyId: secret.kmsKeyId }),
      ...(secret.description === null ? {} : { Description: secret.description }),
      ...(secret.deletedAt === null ? {} : { DeletedDate: new Date(secret.deletedAt) }),
    }
  }

  ListSecretVersionIds(
    input: sm.ListSecretVersionIdsRequest,
    region: string,
  ): sm.ListSecretVersionIdsResponse {
    const secret = this.#existing(region, input.SecretId!)
    const start = Number(input.NextToken ?? 0)
    if (!Number.isInteger(start)) throw new AwsError('InvalidNextTokenException', 'Invalid token.')
    const all = [...secret.versions.values()].filter(
      (v) => v.stages.size > 0 || input.IncludeDeprecated === true,
    )
    const end = start + (input.MaxResults ?? 100)
    return {
      ARN: secret.arn,
      Name: secret.name,
      Versions: all.slice(start, end).map((version) => ({
        VersionId: version.id,
        VersionStages: [...version.stages],
        CreatedDate: new Date(version.createdAt),
      })),
      ...(end < all.length ? { NextToken: String(end) } : {}),
    }
  }

  ListSecrets(input: sm.ListSecretsRequest, region: string): sm.ListSecretsResponse {
    const seenAt = this.#now() - this.lagSeconds * 1_000
    const prefixes = (input.Filters ?? []).flatMap((f) => (f.Key === 'name' ? f.Values! : []))
    const all = [...this.#secrets.values()].filter(
      (s) =>
        s.region === region &&
        (s.deleteAt === null
          ? s.createdAt <= seenAt
          : input.IncludePlannedDeletion === true && s.deleteAt > this.#now()) &&
        (prefixes.length === 0 || prefixes.some((prefix) => s.name.startsWith(prefix))),
    )
    const start = Number(input.NextToken ?? 0)
    if (!Number.isInteger(start)) throw new AwsError('InvalidNextTokenException', 'Invalid token.')
    const end = start + (input.MaxResults ?? 100)
    return {
      SecretList: all.slice(start, end).map((secret) => {
        const { VersionIdsToStages, ...shown } = this.DescribeSecret(
          { SecretId: secret.arn },
          region,
        )
        return VersionIdsToStages ? { ...shown, SecretVersionsToStages: VersionIdsToStages } : shown
      }),
      ...(end < all.length ? { NextToken: String(end) } : {}),
    }
  }

  /** A compare-and-set: a label held by another version moves only when that version is named. */
  UpdateSecretVersionStage(
    input: sm.UpdateSecretVersionStageRequest,
    region: string,
  ): sm.UpdateSecretVersionStageResponse {
    const secret = this.#usable(region, input.SecretId!)
    const stage = input.VersionStage!
    const { RemoveFromVersionId: from, MoveToVersionId: to } = input
    if (from === undefined && to === undefined) {
      throw invalidParameter('Name a version to move the label to or to remove it from.')
    }
    const holder = holderOf(secret, stage)
    const target = to === undefined ? null : secret.versions.get(to)
    if (target === undefined) {
      throw new AwsError('ResourceNotFoundException', `No version with id ${to} was found.`)
    }
    if (from !== undefined && holder?.id !== from) {
      throw invalidParameter(`The staging label ${stage} is not attached to version ${from}.`)
    }
    if (from === undefined && holder && holder !== target) {
      throw invalidParameter(
        `The staging label ${stage} is attached to version ${holder.id}; specify RemoveFromVersionId.`,
      )
    }
    if (target === null && stage === current) {
      throw invalidParameter(`You can't remove the staging label ${current}, only move it.`)
    }
    if (target) this.#attach(secret, target, stage)
    else holder!.stages.delete(stage)
    return { ARN: secret.arn, Name: secret.name }
  }

  DeleteSecret(input: sm.DeleteSecretRequest, region: string): sm.DeleteSecretResponse {
    const force = input.ForceDeleteWithoutRecovery === true
    const days = input.RecoveryWindowInDays
    if (force && days !== undefined) {
      throw invalidParameter(
        "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
      )
    }
    if (days !== undefined && (days < 7 || days > 30)) {
      throw invalidParameter('The RecoveryWindowInDays value must be between 7 and 30 days.')
    }
    const secret = force
      ? this.#existing(region, input.SecretId!)
      : this.#usable(region, input.SecretId!)
    const now = this.#now()
    secret.deletedAt = now
    secret.deleteAt = force ? now : now + (days ?? 30) * daySeconds * 1_000
    return { ARN: secret.arn, Name: secret.name, DeletionDate: new Date(secret.deleteAt) }
  }

  RestoreSecret(input: sm.RestoreSecretRequest, region: string): sm.RestoreSecretResponse {
    const secret = this.#existing(region, input.SecretId!)
    secret.deleteAt = null
    secret.deletedAt = null
    return { ARN: secret.arn, Name: secret.name }
  }

  TagResource(input: sm.TagResourceRequest, region: string): undefined {
    setTags(this.#usable(region, input.SecretId!), input.Tags ?? [])
    return undefined
  }

  UntagResource(input: sm.UntagResourceRequest, region: string): undefined {
    const secret = this.#usable(region, input.SecretId!)
    for (const key of input.TagKeys ?? []) secret.tags.delete(key)
    return undefined
  }

  #now(): number {
    return Date.parse(this.#clock.now())
  }

  #existing(region: string, id: string): StoredSecret {
    const secret = this.find(region, id)
    if (!secret) {
      throw new AwsError(
        'ResourceNotFoundException',
        "Secrets Manager can't find the specified secret.",
      )
    }
    return secret
  }

  #usable(region: string, id: string): StoredSecret {
    const secret = this.#existing(region, id)
    if (secret.deleteAt !== null) {
      throw invalidRequest(
        "You can't perform this operation on the secret because it was marked for deletion.",
      )
    }
    return secret
  }

  #seal({ kmsKeyId }: StoredSecret): void {
    if (!this.disabledKmsKeys.has(kmsKeyId ?? '')) return
    throw new AwsError(
      'EncryptionFailure',
      "Secrets Manager can't encrypt the protected secret text using the provided KMS key.",
    )
  }

  #addVersion(secret: StoredSecret, input: Value, stages: readonly string[]): SecretVersion {
    const id = input.ClientRequestToken ?? ''
    if (id.length < 32 || id.length > 64) {
      throw invalidParameter('ClientRequestToken must have 32 to 64 characters.')
    }
    this.#prune(secret)
    const version: SecretVersion = {
      id,
      createdAt: this.#now(),
      text: input.SecretString ?? null,
      bytes: input.SecretBinary ?? null,
      stages: new Set(),
    }
    const labels = new Set([
      ...[...secret.versions.values()].flatMap((v) => [...v.stages]),
      ...stages,
    ])
    if (labels.size > stagesPerSecretMax) {
      throw new AwsError('LimitExceededException', 'Too many staging labels on this secret.')
    }
    // The first version of a secret becomes current whatever labels were asked for.
    const wanted = secret.versions.size === 0 ? new Set([...stages, current]) : stages
    secret.versions.set(id, version)
    for (const stage of wanted) this.#attach(secret, version, stage)
    secret.changedAt = this.#now()
    return version
  }

  /** Deprecated versions go above 100, but never those younger than a day: then the limit bites. */
  #prune(secret: StoredSecret): void {
    for (const version of secret.versions.values()) {
      if (secret.versions.size < versionsMax) return
      const age = this.#now() - version.createdAt
      if (version.stages.size === 0 && age > daySeconds * 1_000) secret.versions.delete(version.id)
    }
    if (secret.versions.size >= versionsMax) {
      throw new AwsError('LimitExceededException', `A secret has at most ${versionsMax} versions.`)
    }
  }

  #attach(secret: StoredSecret, version: SecretVersion, stage: string): void {
    const holder = holderOf(secret, stage)
    if (holder === version) return
    holder?.stages.delete(stage)
    version.stages.add(stage)
    if (stage === current && holder) {
      holderOf(secret, previous)?.stages.delete(previous)
      holder.stages.add(previous)
    }
  }
}

interface Value {
  readonly ClientRequestToken?: string | undefined
  readonly SecretString?: string | undefined
  readonly SecretBinary?: Uint8Array | undefined
}

function hasValue(input: Value): boolean {
  if (input.SecretString !== undefined && input.SecretBinary !== undefined) {
    throw invalidParameter("You can't specify both a binary and a string secret value.")
  }
  return input.SecretString !== undefined || input.SecretBinary !== undefined
}

function sameValue(version: SecretVersion, input: Value): boolean {
  return (
    version.text === (input.SecretString ?? null) &&
    Buffer.compare(version.bytes ?? Buffer.alloc(0), input.SecretBinary ?? Buffer.alloc(0)) === 0
  )
}

function holderOf(secret: StoredSecret, stage: string): SecretVersion | null {
  for (const version of secret.versions.values()) if (version.stages.has(stage)) return version
  return null
}

function setTags(secret: StoredSecret, tags: readonly sm.Tag[]): void {
  for (const { Key, Value } of tags) {
    if (!Key || Key.startsWith('aws:')) throw invalidParameter('A tag key is not valid.')
    secret.tags.set(Key, Value ?? '')
  }
}

function invalidParameter(message: string): AwsError {
  return new AwsError('InvalidParameterException', message)
}

function invalidRequest(message: string): AwsError {
  return new AwsError('InvalidRequestException', message)
}
