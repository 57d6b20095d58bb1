import { hash as oneShot } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Client, ClientToken } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock, Instant } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import { hashToken, parseToken, sameHash } from '../domain/token.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { callerOf } from '../lifecycle/engine.ts'
import type { Store } from '../store/store.ts'
import type { SealedUse } from './access-token.ts'
import { openToken } from './access-token.ts'
import { sessionOf } from './console/session.ts'

/** "Last used" is written at most this often per token, so that reads do not become writes. */
const useGrainSeconds = 300

export type Authenticate = (request: FastifyRequest) => Promise<Caller>

interface AuthHost {
  readonly store: Store
  readonly clock: Clock
  readonly pepper: Secret
}

export type TokenCheck =
  | { readonly accepted: true; readonly client: Client; readonly token: ClientToken }
  /** `client` when the token was once theirs, for their log; never for the answer. */
  | { readonly accepted: false; readonly client: Client | null }

/** Who asks, for hooks that cannot wait for it. */
const acceptedClients = new WeakMap<FastifyRequest, Client>()

/** Who was refused with a token that had been good: remembered for the request log alone. */
const refusedClients = new WeakMap<FastifyRequest, Client>()

/**
 * Authentication, once per request. An access token from /oauth2/token, or the console's session,
 * stands for the client token it was bought with.
 * @throws unauthenticated
 */
export function createAuthenticate(host: AuthHost): Authenticate {
  const known = new WeakMap<FastifyRequest, Promise<Caller>>()
  const authenticate = async (request: FastifyRequest): Promise<Caller> => {
    const check = await checkRequest(host, request)
    if (check.accepted) {
      const { client } = check
      acceptedClients.set(request, client)
      return callerOf(client, ownsByGroups(client) ? await groupsOf(host, client) : [])
    }
    if (check.client) refusedClients.set(request, check.client)
    throw errors.unauthenticated({ reason: 'The token is unknown, expired or revoked.' })
  }
  return (request) => {
    let caller = known.get(request)
    if (caller === undefined) known.set(request, (caller = authenticate(request)))
    return caller
  }
}

/** A bearer token, or, from the console alone, the cookie of its session. @throws unauthenticated */
async function checkRequest(host: AuthHost, request: FastifyRequest): Promise<TokenCheck> {
  const header = request.headers.authorization
  if (!header) {
    const session = sessionOf(request, host.pepper)
    if (session === null) throw errors.unauthenticated({ reason: 'No token was sent.' })
    return checkSealedToken(host, 'console session', session)
  }
  const [scheme, token = ''] = header.split(/ +/)
  if (scheme?.toLowerCase() !== 'bearer') {
    throw errors.unauthenticated({ reason: 'Only bearer tokens are accepted.' })
  }
  return token.startsWith('cat_')
    ? checkSealedToken(host, 'access token', token)
    : checkClientToken(host, token)
}

/** The other roles see by role alone. */
function ownsByGroups({ role }: Client): boolean {
  return role === 'requester' || role === 'owner'
}

/** The groups through which a client's person owns. */
async function groupsOf({ store }: AuthHost, client: Client): Promise<readonly string[]> {
  return client.person === null ? [] : store.read.groupsAround(client.tenant, client.person)
}

/** Null until the request is authenticated. */
export function acceptedClientOf(request: FastifyRequest): Client | null {
  return acceptedClients.get(request) ?? null
}

export function refusedClientOf(request: FastifyRequest): Client | null {
  return refusedClients.get(request) ?? null
}

/**
 * Split lookup: the token's public id finds one row, the keyed hash decides. A token nobody issued
 * costs the same work as one that was revoked.
 */
export async function checkClientToken(host: AuthHost, text: string): Promise<TokenCheck> {
  const known = knownTokens(host.pepper)
  const digest = oneShot('sha256', text)
  const met = known.get(digest)
  if (met !== undefined) {
    const found = await host.store.read.clientToken(met.id)
    if (found?.token.hash === met.hash) return settle(host, found, null)
  }
  const parsed = parseToken(text)
  const hash = host.pepper.use((pepper) => hashToken(pepper, text))
  const found = parsed?.prefix === 'cst' ? await host.store.read.clientToken(parsed.id) : null
  const matches = sameHash(found?.token.hash ?? '00'.repeat(32), hash)
  if (!found || !matches) return { accepted: false, client: null }
  if (known.size >= knownMax) known.clear()
  known.set(digest, { id: found.token.id, hash })
  return settle(host, found, null)
}

/** Tokens of which the id and keyed hash are remembered. */
const knownMax = 1_000
const goodTokens = new WeakMap<
  Secret,
  Map<string, { readonly id: string; readonly hash: string }>
>()

/**
 * Tokens that were good once, by their SHA-256, which of 256 random bits gives nothing away: the keyed
 * hash costs 16 µs with its key. Whether they still are is asked of the store each time.
 */
function knownTokens(pepper: Secret): Map<string, { readonly id: string; readonly hash: string }> {
  let tokens = goodTokens.get(pepper)
  if (tokens === undefined) goodTokens.set(pepper, (tokens = new Map()))
  return tokens
}

export async function checkSealedToken(
  host: AuthHost,
  use: SealedUse,
  text: string,
): Promise<TokenCheck> {
  const opened = openToken(host.pepper, use, text)
  const found = opened ? await host.store.read.clientToken(opened.clientToken) : null
  return opened && found ? settle(host, found, opened.expiresAt) : { accepted: false, client: null }
}

/** A promise only where something has to be written. */
function settle(
  { store, clock }: AuthHost,
  { token, client }: { readonly token: ClientToken; readonly client: Client },
  expiresAt: Instant | null,
): TokenCheck | Promise<TokenCheck> {
  const now = clock.now()
  const past = (at: Instant | null): boolean => at !== null && at <= now
  const over = token.revokedAt !== null || client.revokedAt !== null
  if (over || past(token.expiresAt) || past(expiresAt)) return { accepted: false, client }
  const { lastUsedAt, id } = token
  const check: TokenCheck = { accepted: true, client, token }
  const isNoted = lastUsedAt !== null && secondsBetween(lastUsedAt, now) < useGrainSeconds
  return isNoted
    ? check
    : // A database that only reads, or is full, still says who may read.
      store.commit([{ type: 'clientTokenUsed', id, at: now }]).then(
        () => check,
        () => check,
      )
}
