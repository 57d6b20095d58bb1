import { createHash } from 'node:crypto'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { Client } from '../../domain/client.ts'
import { AppError, errors } from '../../domain/errors.ts'
import type { Replay } from '../../domain/ledger.ts'
import type { Secret } from '../../domain/secret.ts'
import { addSeconds, hour, type Instant, minute } from '../../domain/time.ts'
import { openToken, sealToken } from '../access-token.ts'
import type { Authenticate, TokenCheck } from '../auth.ts'
import { checkClientToken, checkSealedToken } from '../auth.ts'
import { optional, required, text } from '../fields.ts'
import type { HttpHost } from '../server.ts'

/** A session ends when nobody was at the console this long; the console asks for more while somebody is. */
const idleSeconds = hour
/** And in any case after a working day: then the token itself has to be shown again. */
const longestSeconds = 12 * hour

/** Long enough to change to the browser; what is left of a terminal's history is worth nothing. */
const linkSeconds = 10 * minute

/** What the console sends with everything that changes something; no form and no link can. */
const consoleHeader = 'custody-console'

const cookieName = /^(?:__Host-)?custody-session(?:-\d+)?$/

/**
 * The session a request of the console bears, or null. Another page on this site could make the
 * browser send the cookie (SameSite does not tell ports apart): what changes something must bear a
 * header that only our own script can add, and what a browser says comes from elsewhere is refused.
 * @throws unauthenticated
 */
export function sessionOf(request: FastifyRequest, pepper: Secret): string | null {
  const session = cookieOf(request, pepper)
  if (session === null) return null
  const { method, headers } = request
  const from = headers['sec-fetch-site']
  const isForeign = from !== undefined && from !== 'same-origin' && from !== 'none'
  const isRead = method === 'GET' || method === 'HEAD'
  if (isForeign || (!isRead && headers[consoleHeader] === undefined)) {
    throw errors.unauthenticated({
      reason: "A session of the console is good for the console's own requests only.",
    })
  }
  return session
}

/**
 * Browsers send the cookies of every port of a host; another installation's was not sealed by us. One
 * of ours from an address before, which browsers send first, must not hide the one that is good.
 */
function cookieOf({ headers }: FastifyRequest, pepper: Secret): string | null {
  const pairs = headers.cookie?.split(';') ?? []
  const values = pairs.flatMap((pair) => {
    const [name = '', value = ''] = pair.trim().split('=', 2)
    return cookieName.test(name) ? [value] : []
  })
  let latest: { readonly value: string; readonly expiresAt: Instant } | null = null
  for (const value of values) {
    const expiresAt = openToken(pepper, 'console session', value)?.expiresAt
    if (expiresAt === undefined) continue
    if (latest === null || expiresAt >= latest.expiresAt) latest = { value, expiresAt }
  }
  return latest?.value ?? null
}

/** Logging in to the console with a client token, which the browser then no longer holds. */
export function sessionRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { pepper, clock } = host

  const begin = (reply: FastifyReply, clientToken: string, since: Instant): Instant => {
    const now = clock.now()
    const [idle, longest] = [addSeconds(now, idleSeconds), addSeconds(since, longestSeconds)]
    const expiresAt = idle < longest ? idle : longest
    const session = sealToken(pepper, 'console session', { clientToken, expiresAt, since })
    void reply.header('set-cookie', cookieText(host.baseUrl(), session))
    return expiresAt
  }

  /** A link is claimed in the store as an idempotency key is: once, on all replicas, after restarts. */
  const checkLink = async (code: string, request: string): Promise<TokenCheck> => {
    const check = await checkSealedToken(host, 'login link', code)
    const opened = openToken(pepper, 'login link', code)
    if (!check.accepted || opened === null) return { accepted: false, client: null }
    const { tenant, id: client } = check.client
    const digest = createHash('sha256').update(code).digest('hex')
    const replay: Replay = {
      tenant,
      client,
      scope: JSON.stringify(['login link', digest]),
      fingerprint: digest,
      request,
      status: 200,
      headers: null,
      body: null,
      // Until it is too old in any case.
      staleAt: opened.expiresAt,
      expiresAt: opened.expiresAt,
    }
    const claimed = await host.store.commit([{ type: 'replayClaim', replay, now: clock.now() }])
    return claimed === 'saved' ? check : { accepted: false, client: null }
  }

  /** null: nobody is logged in, or no longer. */
  const clientOf = async (request: FastifyRequest): Promise<Client | null> => {
    try {
      return (await authenticate(request)).client
    } catch (error) {
      const isBearer = request.headers.authorization !== undefined
      if (isBearer || !(error instanceof AppError) || error.status !== 401) throw error
      return null
    }
  }

  return async (app) => {
    /** For whoever holds a token already, a link that logs in once: `/console/#login=<code>`. */
    app.post('/session/link', { config: { secretAnswer: true } }, async (request, reply) => {
      const token = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? ''
      const check = await checkClientToken(host, token)
      if (!check.accepted) {
        throw errors.unauthenticated({ reason: 'A link is made with a client token only.' })
      }
      const now = clock.now()
      const expiresAt = addSeconds(now, linkSeconds)
      const held = { clientToken: check.token.id, expiresAt, since: now }
      const code = sealToken(pepper, 'login link', held)
      const url = `${host.baseUrl()}/console/#login=${code}`
      return reply.status(201).send({ url, expiresAt })
    })

    app.post('/session', { config: { secretAnswer: true } }, async (request, reply) => {
      const code = optional(request.body, 'code', text)
      const check =
        code === null
          ? await checkClientToken(host, required(request.body, 'token', text).trim())
          : await checkLink(code, request.id)
      if (!check.accepted) {
        const reason =
          code === null
            ? 'The token is unknown, expired or revoked.'
            : 'The link was used already, or is too old.'
        throw errors.unauthenticated({ reason })
      }
      if (check.client.role === 'directory' || check.client.role === 'verifier') {
        const reason = 'the console shows nothing to it; log in with a token of another role.'
        throw errors.forbidden({ action: 'use the console', role: check.client.role, reason })
      }
      const expiresAt = begin(reply, check.token.id, clock.now())
      return sessionView(host, check.client, expiresAt)
    })

    /** Who is logged in; asked again while somebody is at work, which makes the session last. */
    app.get('/session', async (request, reply) => {
      const client = await clientOf(request)
      // Nobody is an answer, too: a page that asks first should not begin with an error.
      if (client === null) return sessionView(host, null, null)
      const text = cookieOf(request, pepper)
      const opened = text === null ? null : openToken(pepper, 'console session', text)
      const isByCookie = opened !== null && request.headers.authorization === undefined
      const expiresAt = isByCookie ? begin(reply, opened.clientToken, opened.since) : null
      return sessionView(host, client, expiresAt)
    })

    app.delete('/session', async (_request, reply) =>
      reply
        .status(204)
        .header('set-cookie', `${cookieText(host.baseUrl(), '')}; Max-Age=0`)
        .send(),
    )
  }
}

function sessionView(host: HttpHost, client: Client | null, expiresAt: Instant | null) {
  return {
    client: client && {
      id: client.id,
      name: client.name,
      role: client.role,
      person: client.person,
    },
    tenant: client?.tenant ?? null,
    expiresAt,
    now: host.clock.now(),
    version: host.version ?? null,
    demo: host.isDemo ?? false,
  }
}

/** Cookies do not tell ports apart: two installations on one machine would log each other out. */
function cookieText(baseUrl: string, session: string): string {
  const { protocol, port } = new URL(baseUrl)
  const isSecure = protocol === 'https:'
  const name = isSecure ? '__Host-custody-session' : `custody-session-${port || '80'}`
  return `${name}=${session}; Path=/; HttpOnly; SameSite=Strict${isSecure ? '; Secure' : ''}`
}
