import { isHandedBack } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock, Instant } from '../domain/time.ts'
import { earlier, secondsBetween } from '../domain/time.ts'
import { hashToken, parseToken, sameHash } from '../domain/token.ts'
import type { LifecyclePolicy } from '../policy/lifecycle.ts'
import type { Claim, TokenBook } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Change, Store, TokenState } from '../store/store.ts'
import { termsOf } from './credential-terms.ts'
import { lastUseOf } from './credentials.ts'
import { rejectionOf } from './leaver.ts'
import { ownerState, ownerStates } from './people.ts'

/** RFC 7662 §2.2; everything but `active` only when it is true. */
export type Introspection =
  | { readonly active: false }
  | {
      readonly active: true
      readonly sub: string
      readonly scope: string
      readonly exp: number
      readonly iat: number
      readonly token_type: 'Bearer'
      readonly client_id: string
    }

/** From the commit that asked for a revocation, not from the step that carries it out. */
const endedStatuses: ReadonlySet<Credential['status']> = new Set(['revoking', 'revoked'])

/** A use is written at most this often per token: a busy consumer must not turn reads into writes. */
const useGrainSeconds = 60

export interface Tokens {
  readonly book: TokenBook
  /** What a verifier is told about a token, at this moment, from committed rows alone. */
  introspect(token: string, tenant: string): Promise<Introspection>
}

/**
 * The authority behind issued tokens. Every answer joins the owner's row in, so an owner's leaving
 * is effective with that one row, before any fan-out (architecture: the owner row is the switch).
 */
export function createTokens(host: {
  readonly store: Store
  readonly clock: Clock
  readonly policy: () => LifecyclePolicy
  readonly pepper: Secret
}): Tokens {
  const { store, clock } = host
  const write = async (change: Change, claim?: Claim): Promise<void> => {
    const held: Change[] = claim ? [{ type: 'claimed', ...claim }] : []
    const result = await store.commit([...held, change])
    if (result === 'saved') return
    if (result.reason === 'fence') {
      throw new ProviderError('fenced', 'The token book: overtaken before writing.', {
        outcome: 'notApplied',
      })
    }
    throw new Error(`token write refused: ${result.reason}`)
  }

  const stateOf = async (token: string): Promise<TokenState | null> => {
    const parsed = parseToken(token)
    if (parsed?.prefix !== 'csk') return null
    const hash = host.pepper.use((pepper) => hashToken(pepper, token))
    const state = await store.read.tokenState(parsed.id)
    return state && sameHash(state.token.hash, hash) ? state : null
  }

  const accepted = async (state: TokenState): Promise<boolean> => {
    const { account, credential, key, token } = state
    const [owner, backups, credentials] = await Promise.all([
      ownerState(host, account.tenant, account.owner),
      ownerStates(host, account.tenant, account.backups),
      store.read.credentialsOf(account.tenant, account.id),
    ])
    // Nothing but Custody can end it: its date and its owner's leaving count as long as Custody runs.
    if (isHandedBack(account)) {
      return token.active && owner?.active === true && clock.now() < credential.expiresAt
    }
    const rejection = rejectionOf({
      owner,
      account,
      backups,
      lastUsedAt: lastUseOf(credentials),
      terms: termsOf(host, account),
      now: clock.now(),
      key,
      keyActive: token.active && !endedStatuses.has(credential.status),
      // The credential's date, not the token's own: it follows the account when that is extended.
      keyExpiresAt: credential.expiresAt,
      issuedAt: key?.issuedAt ?? token.createdAt,
    })
    return rejection === null
  }

  /** The token's own row, and its credential's, which leaver decisions look at. */
  const noteUse = async ({ token, credential }: TokenState, now: Instant): Promise<void> => {
    if (token.lastUsedAt !== null && secondsBetween(token.lastUsedAt, now) < useGrainSeconds) return
    const used: Change = { type: 'issuedTokenUsed', id: token.id, at: now }
    const seen: Change = {
      type: 'credential',
      credential: { ...credential, lastUsedAt: now },
      expectedVersion: credential.version,
    }
    // Somebody is writing the credential right now: the next use, a minute on, will tell it again.
    if ((await store.commit([used, seen])) !== 'saved') await write(used)
  }

  return {
    book: {
      register: (token, claim) => write({ type: 'issuedToken', token }, claim),
      find: (id) => store.read.issuedToken(id),
      setActive: (id, active, claim) => write({ type: 'issuedTokenActive', id, active }, claim),
      setScopes: (id, scopes, claim) => write({ type: 'issuedTokenScopes', id, scopes }, claim),
      remove: (id, claim) => write({ type: 'issuedTokenRemoved', id }, claim),
      list: (account, provider) => store.read.issuedTokensOf(account, provider),
      page: (provider, after, limit) => store.read.issuedTokensAfter(provider, after, limit),
      async isAccepted(token) {
        const state = await token.use((bytes) => stateOf(bytes.toString('utf8')))
        return state !== null && accepted(state)
      },
    },
    async introspect(token, tenant) {
      const state = await stateOf(token)
      if (!state || state.account.tenant !== tenant || !(await accepted(state)))
        return { active: false }
      // The verdict is known; a full disk or a locked database must not turn it into an error.
      await noteUse(state, clock.now()).catch(() => undefined)
      const exp = earlier(state.credential.expiresAt, state.account.expiresAt)
      return {
        active: true,
        sub: state.account.id,
        scope: state.token.scopes.join(' '),
        exp: Math.floor(Date.parse(exp) / 1_000),
        iat: Math.floor(Date.parse(state.token.createdAt) / 1_000),
        token_type: 'Bearer',
        client_id: state.account.userName,
      }
    },
  }
}
