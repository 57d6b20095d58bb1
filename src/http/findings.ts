import type { FastifyPluginAsync } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { Finding } from '../domain/finding.ts'
import { findingKinds, findingStatuses } from '../domain/finding.ts'
import type { Authenticate } from './auth.ts'
import { orNull } from './errors.ts'
import { instant, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'
import { walk } from './walk.ts'

interface ById {
  Params: { id: string }
}

/** Where providers and journal disagree: to be read by whoever sees the account, and accepted. */
export function findingRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/findings', async (request) => {
      const caller = await authenticate(request)
      const { kind, provider, status } = request.query as Readonly<
        Record<string, string | undefined>
      >
      const want = {
        ...(kind === undefined ? {} : { kind: oneOf(kind, findingKinds, 'kind') }),
        ...(provider === undefined ? {} : { provider }),
        ...(status === undefined ? {} : { status: oneOf(status, findingStatuses, 'status') }),
      }
      return walk(
        request.query,
        (after, limit) => engine.findings(caller, { ...want, after, limit }),
        async (row) => ((await orNull(engine.finding(caller, row.id))) ? findingView(row) : null),
      )
    })

    app.get<ById>('/findings/:id', async (request) => {
      const caller = await authenticate(request)
      return findingView(await engine.finding(caller, request.params.id))
    })

    app.post<ById>('/findings/:id/accept', async (request) => {
      const caller = await authenticate(request)
      const reason = required(request.body, 'reason', text)
      const until = required(request.body, 'until', instant)
      return findingView(await engine.acceptFinding(caller, request.params.id, { reason, until }))
    })

    app.post<ById>('/findings/:id/adopt', async (request) => {
      const caller = await authenticate(request)
      const reason = required(request.body, 'reason', text)
      return findingView(await engine.adoptDrift(caller, request.params.id, reason))
    })

    app.post<ById>('/findings/:id/revert', async (request, reply) => {
      const caller = await authenticate(request)
      const reason = required(request.body, 'reason', text)
      const { id } = request.params
      const { finding, operation } = await engine.revertFinding(caller, id, reason)
      return reply.code(202).send({ ...findingView(finding), operation: operation.id })
    })
  }
}

function findingView({ tenant: _tenant, version: _version, run, ...finding }: Finding) {
  return { ...finding, operation: run }
}

function oneOf<T extends string>(value: string, known: readonly T[], path: string): T {
  const found = known.find((k) => k === value)
  if (found !== undefined) return found
  throw errors.invalidValue({ path, reason: `"${value}" is not one of ${known.join(', ')}.` })
}
