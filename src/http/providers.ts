import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Authenticate } from './auth.ts'
import type { HttpHost } from './server.ts'

interface ByName {
  Params: { name: string }
}

/** What Custody reaches: providers and sinks, what they can do, and whether they can be used. */
export function providerRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/providers', async (request) => {
      const caller = await authenticate(request)
      return { items: engine.providers(caller), cursor: null }
    })
    app.get<ByName>('/providers/:name', async (request) => {
      const caller = await authenticate(request)
      return engine.provider(caller, request.params.name, roleOf(request))
    })
    app.post<ByName>('/providers/:name/check', { config: { reads: true } }, async (request) => {
      const caller = await authenticate(request)
      return engine.checkProvider(caller, request.params.name, roleOf(request))
    })
  }
}

/** `?role=`: which of two that bear one name. */
function roleOf(request: FastifyRequest<ByName>): 'provider' | 'sink' | null {
  const { role } = request.query as Readonly<Record<string, string | undefined>>
  if (role === undefined || role === 'provider' || role === 'sink') return role ?? null
  throw errors.invalidValue({ path: 'role', reason: `"${role}" is neither provider nor sink.` })
}
