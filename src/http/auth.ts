import type { FastifyRequest } from 'fastify'
import type { Client, ClientToken } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Secret } from '../domain/secret.ts'
import type { Clock } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import { hashToken, parseToken, sameHash } from '../domain/token.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { callerOf } from '../lifecycle/engine.ts'
import type { Store } from '../store/store.ts'

/** "Last used" is written at most this often per token, so that reads do not become writes. */
const useGrainSeconds = 300

export type Authenticate = (request: FastifyRequest) => Promise<Caller>

/**
 * Bearer authentication by split lookup: the token's public id finds one row, the keyed hash
 * decides. A token nobody issued costs the same work as one that was revoked.
 * @throws unauthenticated
 */
export function createAuthenticate(host: {
  readonly store: Store
  readonly clock: Clock
  readonly pepper: Secret
}): Authenticate {
  const { store, clock } = host
  return async (request) => {
    const header = request.headers.authorization
    if (!header) throw errors.unauthenticated({ reason: 'No token was sent.' })
    const [scheme, token = ''] = header.split(' ')
    if (scheme?.toLowerCase() !== 'bearer') {
      throw errors.unauthenticated({ reason: 'Only bearer tokens are accepted.' })
    }
    const parsed = parseToken(token)
    const hash = host.pepper.use((pepper) => hashToken(pepper, token))
    const found = parsed?.prefix === 'cst' ? await store.read.clientToken(parsed.id) : null
    const matches = sameHash(found?.token.hash ?? '00'.repeat(32), hash)
    const now = clock.now()
    if (!found || !matches || isOver(found.token, found.client, now)) {
      throw errors.unauthenticated({ reason: 'The token is unknown, expired or revoked.' })
    }
    const { lastUsedAt, id } = found.token
    if (lastUsedAt === null || secondsBetween(lastUsedAt, now) >= useGrainSeconds) {
      await store.commit([{ type: 'clientTokenUsed', id, at: now }])
    }
    const { client } = found
    const owns = client.role === 'requester' || client.role === 'owner'
    const groups =
      owns && client.person !== null
        ? await store.read.groupsAround(client.tenant, client.person)
        : []
    return callerOf(client, groups)
  }
}

function isOver(token: ClientToken, client: Client, now: string): boolean {
  return (
    token.revokedAt !== null ||
    client.revokedAt !== null ||
    (token.expiresAt !== null && token.expiresAt <= now)
  )
}
