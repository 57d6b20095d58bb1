import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { AppError, errors } from '../domain/errors.ts'
import { hashToken, parseToken, sameHash } from '../domain/token.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { accessTokenSeconds, sealAccessToken } from './access-token.ts'
import type { Authenticate } from './auth.ts'
import { checkClientToken } from './auth.ts'
import type { HttpHost } from './server.ts'

const scope = 'scim'

type Form = Readonly<Record<string, unknown>>

/** Access tokens for clients that speak OAuth (Entra, and our own), and the end of issued ones. */
export function oauthRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    /** RFC 8414. */
    app.get('/.well-known/oauth-authorization-server', () => {
      const issuer = host.baseUrl()
      const methods = ['client_secret_basic', 'client_secret_post']
      return {
        issuer,
        token_endpoint: `${issuer}/oauth2/token`,
        token_endpoint_auth_methods_supported: methods,
        grant_types_supported: ['client_credentials'],
        response_types_supported: [],
        scopes_supported: [scope],
        introspection_endpoint: `${issuer}/oauth2/introspect`,
        revocation_endpoint: `${issuer}/oauth2/revoke`,
      }
    })

    /** RFC 6749 §4.4: the id of the client is its id, the secret is one of its tokens. */
    app.post('/oauth2/token', { config: { open: true } }, async (request, reply) => {
      const form = formOf(request)
      const basic = basicOf(request)
      const sent = basic ?? { id: form['client_id'], secret: form['client_secret'] }
      if (form['grant_type'] !== 'client_credentials') {
        return form['grant_type'] === undefined
          ? refuse(reply, 400, 'invalid_request', 'grant_type is required.')
          : refuse(reply, 400, 'unsupported_grant_type', 'Only client_credentials is supported.')
      }
      const check = await checkClientToken(host, text(sent.secret))
      if (!check.accepted || check.client.id !== text(sent.id)) {
        if (basic) void reply.header('www-authenticate', 'Basic realm="custody"')
        return refuse(
          reply,
          401,
          'invalid_client',
          'The id and the token do not belong to a live client; the id is the client id, the secret its token.',
        )
      }
      return reply.header('pragma', 'no-cache').send({
        access_token: sealAccessToken(host.pepper, check.token.id, host.clock.now()),
        token_type: 'Bearer',
        expires_in: accessTokenSeconds,
        scope,
      })
    })

    /** RFC 7009. What nobody issued is revoked already; what is real ends only by whoever may. */
    app.post('/oauth2/revoke', async (request, reply) => {
      const caller = await authenticate(request)
      const token = formOf(request)['token']
      if (typeof token !== 'string' || token === '') {
        return refuse(reply, 400, 'invalid_request', 'token is required.')
      }
      if (/^(?:cst|cat)_/.test(token)) {
        return refuse(
          reply,
          400,
          'unsupported_token_type',
          'Tokens of clients end with "custody client revoke"; only issued tokens (csk_…) end here.',
        )
      }
      const credential = await credentialOf(host, caller, token)
      if (credential !== null) await revoke(host, caller, credential)
      return reply.status(200).send({})
    })
  }
}

/** The credential whose secret was sent, when it is one that still works. */
async function credentialOf(
  { store, pepper }: HttpHost,
  { tenant }: Caller,
  token: string,
): Promise<string | null> {
  const parsed = parseToken(token)
  const state = parsed?.prefix === 'csk' ? await store.read.tokenState(parsed.id) : null
  const hash = pepper.use((key) => hashToken(key, token))
  if (!state || !sameHash(state.token.hash, hash) || state.account.tenant !== tenant) return null
  const ended = state.credential.status === 'revoked' || state.credential.status === 'revoking'
  return ended ? null : state.credential.id
}

/**
 * A caller that cannot see the credential is told so: it holds the token, so there is nothing to
 * hide, and a silent 200 would let it believe that the token is dead.
 * @throws forbidden
 */
async function revoke({ engine }: HttpHost, caller: Caller, credential: string): Promise<void> {
  try {
    await engine.revokeCredential(caller, credential)
  } catch (error) {
    if (!(error instanceof AppError) || error.status !== 404) throw error
    throw errors.forbidden(
      {
        action: 'credential.revoke',
        role: caller.client.role,
        reason: 'the account of this token is not yours; ask its owner or the security team.',
      },
      { cause: error },
    )
  }
}

function refuse(reply: FastifyReply, status: number, error: string, text: string): FastifyReply {
  return reply.status(status).send({ error, error_description: text })
}

function formOf(request: FastifyRequest): Form {
  const { body } = request
  return typeof body === 'object' && body !== null ? (body as Form) : {}
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** RFC 6749 §2.3.1: both parts are form-encoded before they are joined. */
function basicOf(request: FastifyRequest): { readonly id: string; readonly secret: string } | null {
  const encoded = /^basic\s+([A-Za-z0-9+/=]+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (encoded === undefined) return null
  const [id = '', ...rest] = Buffer.from(encoded, 'base64').toString('utf8').split(':')
  const decode = (part: string): string => {
    try {
      return decodeURIComponent(part.replaceAll('+', ' '))
    } catch {
      return ''
    }
  }
  return { id: decode(id), secret: decode(rest.join(':')) }
}
