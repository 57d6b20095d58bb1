import type { FastifyPluginAsync } from 'fastify'
import { expiryDays } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import type { HttpHost } from './server.ts'

/** How things are: what the console's first page and its calendar show. */
export function reportRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/reports/posture', async (request) => engine.posture(await authenticate(request)))
    app.get('/reports/evidence', async (request) => {
      const caller = await authenticate(request)
      const { framework } = request.query as { readonly framework?: string }
      return engine.evidence(caller, framework ?? null)
    })
    app.get('/reports/expiry', async (request) => {
      const caller = await authenticate(request)
      const { from, days } = request.query as { readonly from?: string; readonly days?: string }
      return engine.expiryReport(caller, {
        from: from ?? null,
        // Whatever is no number is refused by the report, which knows how far it looks.
        days: days === undefined ? expiryDays.standard : /^\d{1,4}$/.test(days) ? +days : NaN,
      })
    })
  }
}
