import { Secret } from '../../src/domain/secret.ts'
import type { Instant } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type {
  Discovered,
  ExternalCredential,
  Provider,
  ProviderModule,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

export interface FoundKey {
  readonly keyId: string
  active: boolean
  readonly createdAt: Instant
  lastUsedAt: Instant | null
}

export interface FoundUser {
  readonly id: string
  readonly name: string
  readonly keys: FoundKey[]
  readonly owners: Discovered['owners']
  readonly vendor: string | null
  /** The mark of the account that adopted it. */
  account: string | null
}

/** A directory of users that were there before anybody managed them; everything it holds can be seen. */
export class FoundWorld {
  readonly users: FoundUser[] = []
  /** What the next calls fail with, in order. */
  readonly failures: ProviderError[] = []
  pageSize = 2
  minted = 0

  add(name: string, keys: readonly Partial<FoundKey>[], more: Partial<FoundUser> = {}): FoundUser {
    const createdAt = '2024-01-05T00:00:00.000Z' as Instant
    const user: FoundUser = {
      id: `id-${name}`,
      name,
      keys: keys.map((key, i) => ({
        keyId: `${name}-${i}`,
        active: true,
        createdAt,
        lastUsedAt: null,
        ...key,
      })),
      owners: [],
      vendor: null,
      account: null,
      ...more,
    }
    this.users.push(user)
    return user
  }

  text(): string {
    return JSON.stringify(this.users)
  }

  fail(): void {
    const failure = this.failures.shift()
    if (failure) throw failure
  }

  user(id: string): FoundUser {
    const user = this.users.find((u) => u.id === id)
    if (user) return user
    throw new ProviderError('notFound', `User ${id} is gone.`, { outcome: 'notApplied' })
  }
}

/** A provider over such a directory; with `byHand` no API ends a key of it. */
export function foundModule(
  world: FoundWorld,
  options: { readonly byHand?: boolean } = {},
): ProviderModule {
  const byHand = options.byHand === true
  const kind = byHand ? ('app-installation' as const) : ('access-key' as const)
  const itemOf = (key: FoundKey): ExternalCredential => ({ ...key, fingerprint: null, kind })
  const keyOf = (principal: string, keyId: string) =>
    world.user(principal).keys.find((k) => k.keyId === keyId)
  const create = (name: string): Provider => ({
    name,
    type: 'found',
    capabilities: {
      [kind]: {
        canCreate: !byHand,
        canRevoke: !byHand,
        canList: true,
        maxLive: 2,
        canDisable: !byHand,
        canRescope: false,
        canProbe: false,
        canLastUsed: true,
        lastUsedLag: seconds(0),
        mint: byHand ? 'none' : 'server',
        lease: null,
        keepsSecret: false,
        settleMin: seconds(0),
        settleMax: seconds(0),
        quota: null,
        probe: { count: 1, every: seconds(0) },
        cannot: [],
      },
    },
    checkScopes: () => null,
    async ensurePrincipal(want) {
      const user = world.users.find((u) => u.account === want.account)
      if (user) return { external: user.id, created: false }
      throw new ProviderError('denied', 'Nothing is made here.', { outcome: 'notApplied' })
    },
    async issue(principal) {
      const keyId = `minted-${++world.minted}`
      const createdAt = '2026-11-22T10:00:00.000Z' as Instant
      world.user(principal).keys.push({ keyId, active: true, createdAt, lastUsedAt: null })
      const secret = Secret.of(Buffer.from(`secret of ${keyId}`))
      return { keyId, secret, fingerprint: secret.fingerprint(), expiresAt: null }
    },
    async disable(principal, keyId) {
      const key = keyOf(principal, keyId)
      if (key) key.active = false
    },
    async enable(principal, keyId) {
      const key = keyOf(principal, keyId)
      if (key) key.active = true
    },
    async revoke(principal, keyId) {
      if (byHand && keyOf(principal, keyId)) {
        const message = `An owner removes ${keyId} at https://found.example/${principal}.`
        throw new ProviderError('denied', message, { outcome: 'notApplied' })
      }
      const { keys } = world.user(principal)
      const at = keys.findIndex((k) => k.keyId === keyId)
      if (at >= 0) keys.splice(at, 1)
    },
    shutOff: () => Promise.resolve(),
    turnOn: () => Promise.resolve(),
    probe: () => Promise.resolve('untestable'),
    async list(principal) {
      world.fail()
      return { items: world.user(principal).keys.map(itemOf), complete: true }
    },
    deletePrincipal: () => Promise.resolve(),
    async discover(from) {
      world.fail()
      const start = from === null ? 0 : Number(from)
      const page = world.users.slice(start, start + world.pageSize)
      const end = start + page.length
      return {
        items: page.map((user) => ({
          external: user.id,
          name: user.name,
          kind,
          createdAt: '2024-01-01T00:00:00.000Z' as Instant,
          keys: user.keys.map((k) => ({ ...itemOf(k), lastUsedAt: k.lastUsedAt })),
          owners: user.owners,
          vendor: user.vendor,
          account: user.account,
          obstacle: null,
        })),
        next: end < world.users.length ? String(end) : null,
        complete: true,
        total: world.users.length,
      }
    },
    async adopt(external, want) {
      world.fail()
      const user = world.user(external)
      if (user.account !== null && user.account !== want.account) {
        throw new ProviderError('conflict', `${user.name} is adopted for ${user.account}.`, {
          outcome: 'notApplied',
        })
      }
      user.account = want.account
      return { external: user.id, created: false }
    },
    close: () => Promise.resolve(),
  })
  return {
    type: byHand ? 'found-by-hand' : 'found',
    role: 'provider',
    configSchema: { type: 'object' },
    create: (host) => create(host.name),
  }
}
