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
import { openAccessToken } from './access-token.ts'

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

/** Who was refused with a token that had been good: remembered for the request log alone. */
const refusedClients = new WeakMap<FastifyRequest, Client>()

/**
 * Bearer authentication, once per request. An access token from /oauth2/token stands for the client
 * token it was bought with.
 * @throws unauthenticated
 */
export function createAuthenticate(host: AuthHost): Authenticate {
  const known = new WeakMap<FastifyRequest, Promise<Caller>>()
  const authenticate = async (request: FastifyRequest): Promise<Caller> => {
    const header = request.headers.authorization
    if (!header) throw errors.unauthenticated({ reason: 'No token was sent.' })
    const [scheme, token = ''] = header.split(/ +/)
    if (scheme?.toLowerCase() !== 'bearer') {
      throw errors.unauthenticated({ reason: 'Only bearer tokens are accepted.' })
    }
    const check = token.startsWith('cat_')
      ? await checkAccessToken(host, token)
      : await checkClientToken(host, token)
    if (check.accepted) return callerOf(check.client, await groupsOf(host, check.client))
    if (check.client) refusedClients.set(request, check.client)
    throw errors.unauthenticated({ reason: 'The token is unknown, expired or revoked.' })
  }
  return (request) => {
    let caller = known.get(request)
    if (caller === undefined) known.set(request, (caller = authenticate(request)))
    return caller
  }
}

/** The groups through which a client's person owns; the other roles do not ask. */
async function groupsOf({ store }: AuthHost, client: Client): Promise<readonly string[]> {
  const owns = client.role === 'requester' || client.role === 'owner'
  return owns && client.person !== null
    ? await store.read.groupsAround(client.tenant, client.person)
    : []
}

export function refusedClientOf(request: FastifyRequest): Client | null {
  return refusedClients.get(request) ?? null
}

/**
 * Split lookup: the token's public id finds one row, the keyed hash decides. A token nobody issued
 * costs the same work as one that was revoked.
 */
export async function checkClientToken(host: AuthHost, text: string): Promise<TokenCheck> {
  const parsed = parseToken(text)
  const hash = host.pepper.use((pepper) => hashToken(pepper, text))
  const found = parsed?.prefix === 'cst' ? await host.store.read.clientToken(parsed.id) : null
  const matches = sameHash(found?.token.hash ?? '00'.repeat(32), hash)
  return found && matches ? settle(host, found, null) : { accepted: false, client: null }
}

async function checkAccessToken(host: AuthHost, text: string): Promise<TokenCheck> {
  const opened = openAccessToken(host.pepper, text)
  const found = opened ? await host.store.read.clientToken(opened.clientToken) : null
  return opened && found ? settle(host, found, opened.expiresAt) : { accepted: false, client: null }
}

async function settle(
  { store, clock }: AuthHost,
  { token, client }: { readonly token: ClientToken; readonly client: Client },
  expiresAt: Instant | null,
): Promise<TokenCheck> {
  const now = clock.now()
  const past = (at: Instant | null): boolean => at !== null && at <= now
  const over = token.revokedAt !== null || client.revokedAt !== null
  if (over || past(token.expiresAt) || past(expiresAt)) return { accepted: false, client }
  const { lastUsedAt, id } = token
  if (lastUsedAt === null || secondsBetween(lastUsedAt, now) >= useGrainSeconds) {
    await store.commit([{ type: 'clientTokenUsed', id, at: now }])
  }
  return { accepted: true, client, token }
}
