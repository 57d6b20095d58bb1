import type { FastifyPluginAsync } from 'fastify'
import type { Operation } from '../domain/operation.ts'
import type { Caller, UndoPlan } from '../lifecycle/engine.ts'
import { operationView } from './views.ts'
import type { Authenticate } from './auth.ts'
import { onOff, optional, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

/** Items shown of one answer; the counts are of all. */
const shownMax = 1_000
const pageSize = 200

/** `POST /api/v1/events/{id}/undo`: takes back what one event did (contract §5). */
export function undoRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host

  /** A batch stands for the leavings that were let go with it. */
  const causesOf = async (caller: Caller, id: string): Promise<readonly string[]> => {
    const approval = await store.read.approval(caller.tenant, id)
    if (!approval) return [id]
    engine.authorise(caller, 'event.undo', { type: 'tenant', id: caller.tenant })
    const causes: string[] = []
    for (let after: string | null = null; ;) {
      const page = await store.read.approvalItems(caller.tenant, id, after, pageSize)
      for (const { operation } of page) if (operation !== null) causes.push(operation)
      if (page.length < pageSize) return causes
      after = page.at(-1)!.subject
    }
  }

  return async (app) => {
    app.post<ById>('/events/:id/undo', async (request, reply) => {
      const caller = await authenticate(request)
      const dryRun = onOff(request.query, 'dryRun') ?? false
      const reason = optional(request.body, 'reason', text)
      const plans: UndoPlan[] = []
      const operations: Operation[] = []
      for (const cause of await causesOf(caller, request.params.id)) {
        const { plan, operation } = await engine.undo(caller, cause, { reason, dryRun })
        plans.push(plan)
        if (operation) operations.push(operation)
      }
      if (operations.length > 0) {
        const named = operations.slice(0, 100).map((o) => o.id)
        void reply.status(202).header('custody-operation', named.join(', '))
      }
      return answerOf(plans, operations, dryRun)
    })
  }
}

function answerOf(plans: readonly UndoPlan[], operations: readonly Operation[], dryRun: boolean) {
  const items = plans.flatMap((plan) => plan.items)
  const keys = items.flatMap((item) => item.keys)
  return {
    dryRun,
    causes: plans.map(({ cause, kind, person }) => ({ cause, kind, person })),
    accounts: items.filter(({ act }) => act === 'enable' || act === 'withdraw').length,
    sameKeys: keys.filter((key) => key.same).length,
    newKeys: keys.filter((key) => !key.same).length,
    cannot: items.filter(({ act }) => act === 'cannot').slice(0, shownMax),
    items: items.slice(0, shownMax),
    operations: operations.map(operationView),
  }
}
