import type { FastifyPluginAsync } from 'fastify'
import { operationView } from './views.ts'
import type { Authenticate } from './auth.ts'
import { flag, onOff, optional, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

/** `POST /api/v1/accounts/{id}/eject`: hands one account back, and answers what was handed over. */
export function ejectRoutes({ engine }: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.post<ById>('/accounts/:id/eject', async (request, reply) => {
      const caller = await authenticate(request)
      const dryRun = onOff(request.query, 'dryRun') ?? false
      const reason = optional(request.body, 'reason', text)
      const includeTokens = optional(request.body, 'includeTokens', flag) ?? false
      const wish = { reason, includeTokens, dryRun }
      const { handOver, operation } = await engine.eject(caller, request.params.id, wish)
      if (operation) void reply.status(202).header('custody-operation', operation.id)
      return { dryRun, ...handOver, operation: operation && operationView(operation) }
    })
  }
}
