import type { FastifyPluginAsync } from 'fastify'
import type { Authenticate } from './auth.ts'
import { required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ByName {
  Params: { name: string }
}

/** The kill switch of a provider. */
export function providerSwitchRoutes(
  host: HttpHost,
  authenticate: Authenticate,
): FastifyPluginAsync {
  return async (app) => {
    for (const act of ['suspend', 'resume'] as const) {
      app.post<ByName>(`/providers/:name/${act}`, async (request) => {
        const caller = await authenticate(request)
        const reason = required(request.body, 'reason', text)
        return host.engine.switchProvider(caller, request.params.name, { act, reason })
      })
    }
  }
}
