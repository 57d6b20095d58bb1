import { hashToken, mintToken } from '../../src/domain/token.ts'
import { seconds } from '../../src/domain/time.ts'
import type { AccountId } from '../../src/domain/ids.ts'
import {
  ProviderError,
  type Capabilities,
  type HostContext,
  type Provider,
  type ProviderModule,
} from '../../src/provider/contract.ts'

/** What `prepare` leaves for `issue`: enough to register the token, useless to rebuild it. */
interface PublicPart {
  readonly id: string
  readonly hash: string
  readonly fingerprint: string
}

const capabilities: Capabilities = {
  'api-token': {
    canCreate: true,
    canRevoke: true,
    canList: true,
    maxLive: null,
    canDisable: true,
    canRescope: 'inPlace',
    canProbe: true,
    canLastUsed: true,
    // A use is noted once a minute at most.
    lastUsedLag: seconds(60),
    mint: 'client',
    lease: null,
    keepsSecret: false,
    settleMin: seconds(0),
    settleMax: seconds(0),
    quota: null,
    probe: { count: 1, every: seconds(0) },
    cannot: ['Work where nobody asks the introspection endpoint.'],
  },
}

/** Few enough that a page is compared and committed within some 10 ms. */
const inventoryPageSize = 100

const scopesMax = 50
// RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
const scopeToken = /^[\x21\x23-\x5B\x5D-\x7E]+$/

/**
 * Custody's own bearer tokens `csk_…`, which services check by introspection (RFC 7662). Only a
 * keyed hash is kept; the book joins owner and account state into every answer, so a leaver's
 * tokens are refused as soon as the owner's row is written.
 */
export const token: ProviderModule = {
  type: 'token',
  role: 'provider',
  configSchema: { type: 'object', additionalProperties: false, properties: {} },
  create: (host) => createProvider(host),
}

function createProvider(host: HostContext): Provider {
  const { clock, name, pepper, tokens } = host
  return {
    name,
    type: token.type,
    capabilities,
    checkScopes(kind, scopes) {
      if (kind !== 'api-token') return { scope: '', reason: `kind "${kind}" is not issued here.` }
      if (scopes.length > scopesMax) {
        return { scope: scopes[scopesMax]!, reason: `at most ${scopesMax} scopes are possible.` }
      }
      const bad = scopes.find((scope) => !scopeToken.test(scope))
      if (bad === undefined) return null
      return { scope: bad, reason: 'use printable ASCII without spaces, quotes and backslashes.' }
    },
    // Tokens hang on the account itself; there is nothing to create first.
    ensurePrincipal: (want) => Promise.resolve({ external: want.account, created: true }),
    prepare() {
      const { id, token: secret } = mintToken('csk', host.random)
      const hash = pepper.use((key) => secret.use((bytes) => hashToken(key, bytes)))
      const part: PublicPart = { id, hash, fingerprint: secret.fingerprint() }
      return { secret, publicPart: JSON.stringify(part), fingerprint: part.fingerprint }
    },
    async issue(_principal, want, call) {
      const part = readPublicPart(want.publicPart)
      if (!(await call.fence())) {
        throw new ProviderError('fenced', 'Registering the token: overtaken before writing.', {
          outcome: 'notApplied',
        })
      }
      await write('registering the token', () =>
        tokens.register(
          {
            tenant: want.tenant,
            id: part.id,
            provider: name,
            account: want.account,
            credential: want.credential,
            generation: want.generation,
            hash: part.hash,
            scopes: want.scopes,
            active: true,
            createdAt: clock.now(),
            expiresAt: want.expiresAt,
            lastUsedAt: null,
          },
          call.claim,
        ),
      )
      return {
        keyId: part.id,
        secret: null,
        fingerprint: part.fingerprint,
        expiresAt: want.expiresAt,
      }
    },
    async rescope(_principal, want, call) {
      const refused = this.checkScopes(want.kind, want.scopes)
      if (refused) {
        throw new ProviderError('invalid', `Scope "${refused.scope}": ${refused.reason}`, {
          outcome: 'notApplied',
        })
      }
      if ((await read('finding the token', () => tokens.find(want.keyId))) === null) return
      await write('changing its scopes', () =>
        tokens.setScopes(want.keyId, want.scopes, call.claim),
      )
    },
    async disable(_principal, keyId, call) {
      // Gone already is as good as off; the book knows no write to a row that is not there.
      if ((await read('finding the token', () => tokens.find(keyId))) === null) return
      await write('switching the token off', () => tokens.setActive(keyId, false, call.claim))
    },
    async enable(_principal, keyId, call) {
      if ((await read('finding the token', () => tokens.find(keyId))) === null) {
        throw new ProviderError('notFound', `Token ${keyId} no longer exists; issue a new one.`, {
          outcome: 'notApplied',
        })
      }
      await write('switching the token on', () => tokens.setActive(keyId, true, call.claim))
    },
    revoke: (_principal, keyId, call) =>
      write('removing the token', () => tokens.remove(keyId, call.claim)),
    // The account's row is the switch: `isAccepted` joins it in, so it took effect in the commit
    // that asked for this call. Touching each token here would lose which ones were off before.
    shutOff: () => Promise.resolve(),
    turnOn: () => Promise.resolve(),
    async probe(secret) {
      const accepted = await read('introspecting the token', () => tokens.isAccepted(secret))
      return accepted ? 'accepted' : 'refused'
    },
    async list(principal) {
      const rows = await read('listing the tokens', () => tokens.list(principal as AccountId, name))
      const items = rows.map((row) => ({
        keyId: row.id,
        // Of the token only a keyed hash is kept, so its fingerprint cannot be told.
        fingerprint: null,
        kind: 'api-token' as const,
        active: row.active,
        createdAt: row.createdAt,
        lastUsedAt: row.lastUsedAt,
      }))
      return { items, complete: true }
    },
    async inventory(from) {
      const rows = await read('taking its inventory', () =>
        tokens.page(name, from, inventoryPageSize),
      )
      const entries = rows.map((row) => ({
        external: row.account,
        name: row.account,
        account: row.account,
        createdAt: null,
        keys: [
          {
            keyId: row.id,
            fingerprint: null,
            kind: 'api-token' as const,
            active: row.active,
            createdAt: row.createdAt,
          },
        ],
      }))
      const next = rows.length < inventoryPageSize ? null : (rows.at(-1)?.id ?? null)
      return { entries, next, complete: true }
    },
    async deletePrincipal(principal, call) {
      const rows = await read('listing the tokens', () => tokens.list(principal as AccountId, name))
      for (const row of rows) {
        await write('removing the token', () => tokens.remove(row.id, call.claim))
      }
    },
    close: () => Promise.resolve(),
  }
}

function readPublicPart(text: string | null): PublicPart {
  try {
    const part = JSON.parse(text ?? '') as Partial<PublicPart>
    if (part.id && part.hash && part.fingerprint) return part as PublicPart
  } catch {
    // Falls through to the same refusal.
  }
  throw new ProviderError('invalid', 'A token is issued from a hash that was prepared before.', {
    outcome: 'notApplied',
  })
}

const read = <T>(what: string, run: () => Promise<T>): Promise<T> =>
  guarded(what, 'notApplied', run)

// A commit whose answer was lost may have been written.
const write = (what: string, run: () => Promise<void>): Promise<void> =>
  guarded(what, 'unknown', run)

async function guarded<T>(
  what: string,
  outcome: 'notApplied' | 'unknown',
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    if (cause instanceof ProviderError) throw cause
    throw new ProviderError('unavailable', `The token book failed while ${what}.`, {
      outcome,
      cause,
    })
  }
}
