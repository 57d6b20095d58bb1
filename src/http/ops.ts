import type { FastifyPluginAsync } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Authenticate } from './auth.ts'
import type { HttpHost } from './server.ts'

/** Health, and the OAuth endpoints that verifiers of issued tokens call. */
export function opsRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.get('/livez', () => ({ status: 'alive' }))

    app.get('/readyz', async () => {
      host.onReadyAsked?.()
      const reason = host.notReady() ?? (await host.store.unwritable())
      if (reason !== null) throw errors.notReady({ reason })
      // Names alone: whoever asks here has not said who they are.
      const brakes = (await host.engine.brakes()).map((b) => b.name)
      return { status: 'ready', brakes: [...new Set(brakes)] }
    })

    /** RFC 7662. The caller must be a verifier or an admin; an unknown token is simply inactive. */
    app.post('/oauth2/introspect', async (request) => {
      const caller = await authenticate(request)
      host.engine.authorise(caller, 'token.introspect', { type: 'token', id: 'any' })
      const token = (request.body as Readonly<Record<string, unknown>> | undefined)?.['token']
      if (typeof token !== 'string' || token === '') throw errors.requiredMissing({ path: 'token' })
      return host.tokens.introspect(token, caller.tenant)
    })
  }
}
