import type { AccessKeyMetadata } from '@aws-sdk/client-iam'
import { externalOf } from '../../providers/github/keys.ts'
import { accountPrefix } from '../../providers/github/names.ts'
import { Secret } from '../../src/domain/secret.ts'
import { instantOf } from '../../src/domain/time.ts'
import type {
  ExternalCredential,
  Listing,
  Provider,
  ProviderModule,
  SecretSink,
  SinkModule,
} from '../../src/provider/contract.ts'
import type { AwsWorld } from '../../src/sandbox/aws.ts'
import type { GithubWorld } from '../../src/sandbox/github.ts'

/** What stands between the engine and the adapters. */
export interface Between {
  readonly aws: AwsWorld
  readonly github: GithubWorld
  /** Keys of this account are about to be looked at, ended, or replaced in what consumers read. */
  readonly touched: (account: string) => Promise<void>
  readonly accountOf: (credential: string) => string | null
  /** Breaks it on purpose: nothing ever tells when a key was used. */
  readonly hidesUse: boolean
}

const region = 'us-east-1'

/** Members of `over` instead of the object's own; private fields need the object itself as `this`. */
function instead<T extends object>(object: T, over: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (Object.hasOwn(over, name)) return over[name as keyof T]
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value
    },
  })
}

/**
 * An adapter whose consumers are brought up to date before it looks at or ends a key. Looks, which are
 * nine calls of ten in a year (trying a key, listing those of one account), are put to the sandbox
 * itself: signing and parsing cost 0.4 ms each and are exercised by every other call.
 */
export function watchedProvider(module: ProviderModule, between: Between): ProviderModule {
  const accounts = new Map<string, string>()
  const { aws, touched, hidesUse } = between
  return {
    ...module,
    create(host, config) {
      const real = module.create(host, config)
      const touch = async (principal: string): Promise<void> => {
        const account = accounts.get(principal)
        if (account !== undefined) await touched(account)
      }
      return instead<Provider>(real, {
        async ensurePrincipal(want, call) {
          const made = await real.ensurePrincipal(want, call)
          accounts.set(made.external, want.account)
          return made
        },
        async list(principal, call) {
          await touch(principal)
          const listing = keysAt(between, principal) ?? (await real.list(principal, call))
          if (!hidesUse) return listing
          return { ...listing, items: listing.items.map((i) => ({ ...i, lastUsedAt: null })) }
        },
        async disable(principal, keyId, call) {
          await touch(principal)
          await real.disable(principal, keyId, call)
        },
        async revoke(principal, keyId, call, held) {
          await touch(principal)
          await real.revoke(principal, keyId, call, held)
        },
        async shutOff(principal, call) {
          await touch(principal)
          await real.shutOff(principal, call)
        },
        async turnOn(principal, call) {
          await touch(principal)
          await real.turnOn(principal, call)
        },
        async deletePrincipal(principal, call) {
          await touch(principal)
          await real.deletePrincipal(principal, call)
        },
        ...(module.type === 'aws-iam'
          ? {
              async probe(secret, kind, call) {
                const key = secret.use((bytes) => keyIdIn(bytes.toString('utf8')))
                if (key === null) return real.probe(secret, kind, call)
                return callsAs(aws, key) ? 'accepted' : 'refused'
              },
            }
          : {}),
      } satisfies Partial<Provider>)
    },
  }
}

/** What a listing would answer, asked of the sandbox itself; null where that cannot be told. */
function keysAt({ aws, github }: Between, principal: string): Listing<ExternalCredential> | null {
  if (!principal.startsWith('{')) return null
  const { userName, account } = JSON.parse(principal) as {
    readonly userName?: string
    readonly account?: string
  }
  if (userName !== undefined) return accessKeysAt(aws, userName)
  return account === undefined ? null : deployKeysAt(github, account)
}

function accessKeysAt(aws: AwsWorld, userName: string): Listing<ExternalCredential> | null {
  try {
    // Listed as late as ever; what was listed is then looked up.
    const { AccessKeyMetadata } = aws.call({
      service: 'iam',
      operation: 'ListAccessKeys',
      input: { UserName: userName },
      accessKeyId: aws.admin.accessKeyId,
      region,
    }) as { readonly AccessKeyMetadata: readonly AccessKeyMetadata[] }
    const known = aws.keysOf(userName)
    const items = AccessKeyMetadata.map(({ AccessKeyId, Status, CreateDate }) => {
      const used = known.find((k) => k.accessKeyId === AccessKeyId)?.lastUsed ?? null
      return {
        keyId: AccessKeyId!,
        fingerprint: null,
        kind: 'access-key' as const,
        active: Status === 'Active',
        createdAt: CreateDate ? instantOf(CreateDate.getTime()) : null,
        lastUsedAt: used === null || used.service === 'sts' ? null : used.at,
      }
    })
    return { items, complete: true }
  } catch {
    return null
  }
}

function deployKeysAt(github: GithubWorld, account: string): Listing<ExternalCredential> {
  const items = [...github.repositories.values()].flatMap(({ id, name, owner, keys }) =>
    [...keys.values()].flatMap((key) => {
      if (!key.title.startsWith(accountPrefix(account))) return []
      const { readOnly, createdAt, lastUsedAt } = key
      const shown = {
        id: key.id,
        key: key.key,
        title: key.title,
        read_only: readOnly,
        created_at: createdAt,
        last_used: lastUsedAt,
      }
      return [externalOf({ id, owner, repo: name }, shown)]
    }),
  )
  return { items, complete: true }
}

/** As above; a version that is there is read from the sandbox itself. */
export function watchedSink(module: SinkModule, { aws, touched, accountOf }: Between): SinkModule {
  return {
    ...module,
    create(host, config) {
      const real = module.create(host, config)
      return instead<SecretSink>(real, {
        async promote(target, version, from, call) {
          const account = accountOf(target.credential)
          if (account !== null) await touched(account)
          return real.promote(target, version, from, call)
        },
        async read(target, version, call) {
          const text = versionAt(aws, `custody/${target.tenant}/${target.path}`, version)
          return text === null ? real.read(target, version, call) : Secret.ofText(text)
        },
      })
    },
  }
}

/** What a consumer reads there now, or of one version; null when there is none. */
export function versionAt(aws: AwsWorld, name: string, version: string | null): string | null {
  try {
    const answer = aws.call({
      service: 'secretsmanager',
      operation: 'GetSecretValue',
      input: { SecretId: name, ...(version === null ? {} : { VersionId: version }) },
      accessKeyId: aws.admin.accessKeyId,
      region,
    }) as { readonly SecretString?: string }
    return answer.SecretString ?? null
  } catch {
    return null
  }
}

/** The access key in a delivered secret; null when it is something else. */
export function keyIdIn(text: string): string | null {
  if (!text.startsWith('{')) return null
  const { accessKeyId } = JSON.parse(text) as { readonly accessKeyId?: string }
  return accessKeyId ?? null
}

/** Asks who it is with the key, as a probe does. @returns whether it was let in */
function callsAs(aws: AwsWorld, accessKeyId: string): boolean {
  try {
    const input = {}
    aws.call({ service: 'sts', operation: 'GetCallerIdentity', input, accessKeyId, region })
    return true
  } catch {
    return false
  }
}

/** Makes a call with the key, so that its last use is a consumer's: of STS it would pass for a probe. */
export function useKey(aws: AwsWorld, accessKeyId: string): void {
  try {
    aws.call({ service: 'iam', operation: 'ListUsers', input: {}, accessKeyId, region })
  } catch {
    // Its policy allows no such thing, or the key is off: that is judged elsewhere.
  }
}
