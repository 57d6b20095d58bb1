import { AwsError } from './error.ts'
import type { Service } from './shapes.ts'

/** A token bucket: `burst` calls at once, then `perSecond`. */
export interface Bucket {
  readonly perSecond: number
  readonly burst: number
}

/** The buckets that calls are counted in; one that is absent refuses nothing. */
export interface AwsLimitSettings {
  /** Calls of IAM that change something, of the whole account. */
  readonly iamWrites?: Bucket
  readonly iamReads?: Bucket
  readonly sts?: Bucket
  /** PutSecretValue, UpdateSecretVersionStage and UpdateSecret together, by region, as all below. */
  readonly secretWrites?: Bucket
  /** CreateSecret, DeleteSecret and RestoreSecret: each has a bucket of this size. */
  readonly secretLife?: Bucket
  /** TagResource and UntagResource together. */
  readonly secretTags?: Bucket
  /** DescribeSecret and GetSecretValue together. */
  readonly secretReads?: Bucket
  /** ListSecrets and ListSecretVersionIds: each has one. */
  readonly secretLists?: Bucket
}

/**
 * Secrets Manager as published ("AWS Secrets Manager quotas": 50/s for each group of writes, 10 000/s
 * for reads, 100/s and 50/s for lists). IAM publishes no rates (unverified): 5 writes and 20 reads a
 * second are at the cautious end of what operators report. STS as published for one region: 600/s.
 */
export const realisticAwsLimits: AwsLimitSettings = {
  iamWrites: { perSecond: 5, burst: 20 },
  iamReads: { perSecond: 20, burst: 100 },
  sts: { perSecond: 600, burst: 600 },
  secretWrites: { perSecond: 50, burst: 50 },
  secretLife: { perSecond: 50, burst: 50 },
  secretTags: { perSecond: 50, burst: 50 },
  secretReads: { perSecond: 10_000, burst: 10_000 },
  secretLists: { perSecond: 50, burst: 50 },
}

interface Call {
  readonly service: Service
  readonly operation: string
  readonly region: string
}

interface Level {
  tokens: number
  filledAt: number
}

const secretGroups: Readonly<Record<string, keyof AwsLimitSettings>> = {
  PutSecretValue: 'secretWrites',
  UpdateSecret: 'secretWrites',
  UpdateSecretVersionStage: 'secretWrites',
  CreateSecret: 'secretLife',
  DeleteSecret: 'secretLife',
  RestoreSecret: 'secretLife',
  TagResource: 'secretTags',
  UntagResource: 'secretTags',
  DescribeSecret: 'secretReads',
  GetSecretValue: 'secretReads',
  ListSecrets: 'secretLists',
  ListSecretVersionIds: 'secretLists',
}
/** Groups whose operations are counted each by itself. */
const each: ReadonlySet<string> = new Set(['secretLife', 'secretLists'])

/** Counts the calls of an account and refuses what is too many, before rights are looked at. */
export class AwsLimits {
  #settings: AwsLimitSettings = {}
  readonly #levels = new Map<string, Level>()
  /** How many calls were let through and refused, by operation: for benches. */
  readonly admitted = new Map<string, number>()
  readonly refused = new Map<string, number>()

  /** Replaces all limits; every bucket starts full. */
  set(settings: AwsLimitSettings): void {
    this.#settings = settings
    this.#levels.clear()
  }

  /** @throws AwsError Throttling, which Secrets Manager answers as ThrottlingException */
  admit(call: Call, now: number): void {
    const { operation } = call
    const counted = this.#hasRoom(call, now) ? this.admitted : this.refused
    counted.set(operation, (counted.get(operation) ?? 0) + 1)
    if (counted === this.refused) throw new AwsError('Throttling', 'Rate exceeded')
  }

  #hasRoom({ service, operation, region }: Call, now: number): boolean {
    const group = groupOf(service, operation)
    const bucket = group && this.#settings[group]
    if (!bucket) return true
    const place = service === 'iam' ? '' : region
    const name = `${each.has(group) ? operation : group} ${place}`
    const level = this.#levels.get(name) ?? { tokens: bucket.burst, filledAt: now }
    this.#levels.set(name, level)
    const gained = (Math.max(0, now - level.filledAt) / 1_000) * bucket.perSecond
    level.tokens = Math.min(bucket.burst, level.tokens + gained)
    level.filledAt = now
    if (level.tokens < 1) return false
    level.tokens -= 1
    return true
  }
}

function groupOf(service: Service, operation: string): keyof AwsLimitSettings | null {
  switch (service) {
    case 'sts':
      return 'sts'
    case 'secretsmanager':
      return secretGroups[operation] ?? null
    case 'iam':
      return /^(Get|List|Simulate|Generate)/.test(operation) ? 'iamReads' : 'iamWrites'
  }
}
