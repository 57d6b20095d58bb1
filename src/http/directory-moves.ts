import type { FastifyPluginAsync } from 'fastify'
import type { DirectoryMove, MovedState } from '../domain/directory-move.ts'
import { matchKeys } from '../domain/directory-move.ts'
import { errors } from '../domain/errors.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { flag, onOff, optional, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

const match: Field<(typeof matchKeys)[number]> = {
  read: (value) => matchKeys.find((key) => key === value) ?? null,
  wants: `one of ${matchKeys.join(', ')}`,
}

const states: readonly MovedState[] = ['waiting', 'confirmed', 'merged']

const owner: Field<OwnerRef> = {
  read(value) {
    if (typeof value === 'string' && value !== '') return { type: 'User', id: value }
    const { type = 'User', value: id } = (value ?? {}) as { type?: unknown; value?: unknown }
    if (typeof id !== 'string' || id === '') return null
    return type === 'User' || type === 'Group' ? { type, id } : null
  },
  wants: 'an id, or an object with "value" and "type" ("User" or "Group")',
}

/** People who change directories, and accounts that change hands all at once. */
export function directoryMoveRoutes(
  { engine, store }: HttpHost,
  authenticate: Authenticate,
): FastifyPluginAsync {
  return async (app) => {
    app.post('/directories/moves', async (request, reply) => {
      const caller = await authenticate(request)
      const { body } = request
      const wish = {
        from: required(body, 'from', text),
        to: required(body, 'to', text),
        match: required(body, 'match', match),
      }
      if (onOff(request.query, 'dryRun')) return engine.planMove(caller, wish)
      return reply.status(201).send(viewOf(await engine.openMove(caller, wish)))
    })
    app.get('/directories/moves', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'report.read', { type: 'tenant', id: caller.tenant })
      return { items: (await store.read.moves(caller.tenant)).map(viewOf), cursor: null }
    })
    app.get<ById>('/directories/moves/:id', async (request) => {
      const caller = await authenticate(request)
      return viewOf(await engine.move(caller, request.params.id))
    })
    app.get<ById>('/directories/moves/:id/people', async (request) => {
      const caller = await authenticate(request)
      const move = await engine.move(caller, request.params.id)
      const { after, limit } = pageOf(request.query)
      const rows = await store.read.movedAfter(caller.tenant, move.id, after, limit)
      const state = stateOf((request.query as { state?: string }).state)
      const items = rows
        .filter((row) => row.type === 'User' && (state === null || row.state === state))
        .map(({ tenant: _tenant, move: _move, type: _type, subject, ...rest }) => ({
          id: subject,
          ...rest,
        }))
      return { items, cursor: rows.length === limit ? (rows.at(-1)?.subject ?? null) : null }
    })
    app.post<ById>('/directories/moves/:id/advance', async (request) => {
      const caller = await authenticate(request)
      return viewOf(await engine.advanceMove(caller, request.params.id))
    })
    app.post<ById>('/directories/moves/:id/finish', async (request) => {
      const caller = await authenticate(request)
      const force = optional(request.body, 'force', flag) ?? false
      const { move, ...rest } = await engine.finishMove(caller, request.params.id, { force })
      return { ...viewOf(move), ...rest }
    })

    app.post<ById>('/owners/:id/move', async (request) => {
      const caller = await authenticate(request)
      const { body } = request
      return engine.moveOwned(caller, request.params.id, {
        to: required(body, 'to', owner),
        atOnce: optional(body, 'atOnce', flag) ?? false,
        reason: optional(body, 'reason', text),
        after: optional(body, 'after', text),
        dryRun: onOff(request.query, 'dryRun') ?? false,
      })
    })
  }
}

function viewOf({ tenant: _tenant, after: _after, ...rest }: DirectoryMove) {
  return rest
}

function stateOf(value: string | undefined): MovedState | null {
  if (value === undefined) return null
  const known = states.find((s) => s === value)
  if (known) return known
  const reason = `"${value}" is not one of ${states.join(', ')}.`
  throw errors.invalidValue({ path: 'state', reason })
}
