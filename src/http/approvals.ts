import type { FastifyPluginAsync } from 'fastify'
import type { Approval, ApprovalStatus } from '../domain/approval.ts'
import { approvalStatuses } from '../domain/approval.ts'
import type { Brake } from '../domain/brake.ts'
import { errors } from '../domain/errors.ts'
import { brakesFor, releaseByOperator, stoppedBy } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { optional, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

const subjectsMax = 500
const subjectList: Field<readonly string[]> = {
  read: (value) =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= subjectsMax &&
    value.every((v) => typeof v === 'string' && v.length <= 64)
      ? (value as readonly string[])
      : null,
  wants: `a list of 1 to ${subjectsMax} ids of people`,
}

/** What is held back: batches to decide on, and the brakes that are on (contract §5). */
export function approvalRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/approvals', async (request) => {
      const caller = await authenticate(request)
      const { status } = request.query as { status?: string }
      const { after, limit } = pageOf(request.query)
      const rows = await engine.approvals(caller, { status: statusOf(status), after, limit })
      const cursor = rows.length === limit ? (rows.at(-1)?.id ?? null) : null
      return { items: rows.map(approvalView), cursor }
    })
    app.get<ById>('/approvals/:id', async (request) => {
      const caller = await authenticate(request)
      const { approval, items } = await engine.approval(caller, request.params.id)
      return { ...approvalView(approval), items }
    })
    for (const verb of ['approve', 'deny'] as const) {
      app.post<ById>(`/approvals/:id/${verb}`, async (request) => {
        const caller = await authenticate(request)
        const { id } = request.params
        const wish = {
          hash: required(request.body, 'hash', text),
          subjects: optional(request.body, 'subjects', subjectList),
          reason: optional(request.body, 'reason', text),
        }
        const items = await (verb === 'approve'
          ? engine.approve(caller, id, wish)
          : engine.deny(caller, id, wish))
        const after = await engine.life.store.read.approval(caller.tenant, id)
        return { approval: id, status: after?.status ?? 'closed', items }
      })
    }

    app.get('/brakes', async (request) => {
      const caller = await authenticate(request)
      return { items: (await brakesFor(engine.life, caller)).map(brakeView), cursor: null }
    })
    app.post<{ Params: { name: string } }>('/brakes/:name/release', async (request) => {
      const caller = await authenticate(request)
      const released = await releaseByOperator(engine.life, caller, {
        name: request.params.name,
        subject: optional(request.body, 'subject', text) ?? '',
        reason: required(request.body, 'reason', text),
      })
      return { released: brakeView(released) }
    })
  }
}

function statusOf(value: string | undefined): ApprovalStatus | null {
  if (value === undefined) return null
  const found = approvalStatuses.find((s) => s === value)
  if (found) return found
  const reason = `"${value}" is not one of ${approvalStatuses.join(', ')}.`
  throw errors.invalidValue({ path: 'status', reason })
}

function approvalView(approval: Approval) {
  const { tenant: _tenant, plan, joined, ...rest } = approval
  return { ...rest, people: plan.length || joined }
}

function brakeView(brake: Brake) {
  return { ...brake, stops: stoppedBy(brake) }
}
