import type { FastifyPluginAsync } from 'fastify'
import type { Authenticate } from './auth.ts'
import { required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

/** The key under which secrets are kept until their keys have ended. */
export function sealRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.post('/seal/rotate', async (request) => {
      const caller = await authenticate(request)
      return host.engine.rotateSealKey(caller, required(request.body, 'reason', text))
    })
  }
}
