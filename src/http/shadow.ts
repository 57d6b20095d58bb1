import type { FastifyPluginAsync } from 'fastify'
import { shadowDays } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { pageOf } from './fields.ts'
import type { HttpHost } from './server.ts'

/** What was not done because the policy only watches. */
export function shadowRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/reports/shadow', async (request) => {
      const caller = await authenticate(request)
      const { days } = request.query as { readonly days?: string }
      const { after, limit } = pageOf(request.query)
      const report = await engine.shadowReport(caller, { days: daysOf(days), after, limit })
      const cursor = report.items.length === limit ? (report.items.at(-1)?.id ?? null) : null
      return { ...report, cursor }
    })
  }
}

/** Whatever is no number is refused by the report, which knows how far it looks back. */
function daysOf(text: string | undefined): number {
  if (text === undefined) return shadowDays.standard
  return /^\d{1,4}$/.test(text) ? Number(text) : NaN
}
