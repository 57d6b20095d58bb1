import type { FastifyPluginAsync } from 'fastify'
import { parseConsumerId } from '../domain/consumer.ts'
import { errors } from '../domain/errors.ts'
import { operationView } from './views.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

const generation: Field<number> = {
  read: (value) =>
    typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 2 ** 31
      ? value
      : null,
  wants: 'a whole number from 1 on',
}

/** Who uses an account's secrets, how far they are, and who answers for those that say nothing. */
export function consumerRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/consumers', async (request) => {
      const caller = await authenticate(request)
      const { account } = request.query as { account?: string }
      if (account === undefined) throw errors.requiredMissing({ path: 'account' })
      const isOurs = (cursor: string) => parseConsumerId(cursor)?.account === account
      const { after, limit } = pageOf(request.query, isOurs)
      const all = await engine.consumers(caller, account)
      const rest = all.slice(all.findIndex(({ id }) => id === after) + 1)
      const items = rest.slice(0, limit)
      return { items, cursor: rest.length > limit ? (items.at(-1)?.id ?? null) : null }
    })
    app.post<ById>('/consumers/:id/seen', async (request) => {
      const caller = await authenticate(request)
      const word = {
        credential: required(request.body, 'credential', text),
        generation: required(request.body, 'generation', generation),
      }
      return engine.reportSeen(caller, request.params.id, word)
    })
    app.post<ById>('/credentials/:id/rehearse', async (request, reply) => {
      const caller = await authenticate(request)
      const operation = await engine.rehearseCredential(caller, request.params.id)
      void reply.status(202).header('custody-operation', operation.id)
      return operationView(operation)
    })
    // A key of the caller's own receivers, shown once; the next one takes its place.
    app.post('/consumers/hook-secret', { config: { secretAnswer: true } }, async (request) => {
      const caller = await authenticate(request)
      return { secret: await engine.renewHookSecret(caller) }
    })
    app.post<ById>('/operations/:id/waive', async (request) => {
      const caller = await authenticate(request)
      const wish = {
        consumer: required(request.body, 'consumer', text),
        reason: required(request.body, 'reason', text),
      }
      return operationView(await engine.waiveConsumer(caller, request.params.id, wish))
    })
  }
}
