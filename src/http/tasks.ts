import type { FastifyPluginAsync } from 'fastify'
import { errors } from '../domain/errors.ts'
import type { AccountId } from '../domain/ids.ts'
import type { Task } from '../domain/task.ts'
import { evidenceBytesMax, isOverdue, taskStatuses } from '../domain/task.ts'
import type { Instant } from '../domain/time.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { flag, optional, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

/** Base64 of at most `evidenceBytesMax` bytes. */
const content: Field<Uint8Array> = {
  read(value) {
    if (typeof value !== 'string' || value.length > Math.ceil(evidenceBytesMax / 3) * 4) return null
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value) || value.length % 4 !== 0) return null
    const bytes = Buffer.from(value, 'base64')
    return bytes.length <= evidenceBytesMax ? bytes : null
  },
  wants: `base64 of at most ${evidenceBytesMax} bytes`,
}

const sha256: Field<string> = {
  read: (value) => (typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value) ? value : null),
  wants: 'a SHA-256 in hexadecimal',
}

const fileName: Field<string> = {
  read: (value) =>
    typeof value === 'string' && /^[^\p{Cc}/\\]{1,200}$/u.test(value) ? value : null,
  wants: 'a file name of 1 to 200 characters without slashes',
}

const mediaType: Field<string> = {
  read: (value) =>
    typeof value === 'string' && /^[a-z0-9.+-]{1,60}\/[a-z0-9.+-]{1,100}$/i.test(value)
      ? value
      : null,
  wants: 'a media type such as image/png',
}

/** What only people can do: listed, done with evidence, and opened again when that is not good enough. */
export function taskRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store, clock } = host
  return async (app) => {
    app.get('/tasks', async (request) => {
      const caller = await authenticate(request)
      const { status, assignee, account } = request.query as Readonly<
        Record<string, string | undefined>
      >
      const { after, limit } = pageOf(request.query)
      const rows = await engine.tasks(caller, {
        ...(status === undefined ? {} : { status: statusOf(status) }),
        ...(assignee === undefined ? {} : { assignee }),
        ...(account === undefined ? {} : { account: account as AccountId }),
        after,
        limit,
      })
      const cursor = rows.length === limit ? (rows.at(-1)?.id ?? null) : null
      return { items: rows.map((task) => taskView(task, clock.now())), cursor }
    })
    app.get<ById>('/tasks/:id', async (request) => {
      const caller = await authenticate(request)
      return taskView(await engine.task(caller, request.params.id), clock.now())
    })

    app.post<ById>('/tasks/:id/evidence', async (request) => {
      const caller = await authenticate(request)
      const { body } = request
      const shown = {
        note: optional(body, 'note', text),
        name: optional(body, 'name', fileName),
        contentType: optional(body, 'contentType', mediaType),
        sha256: optional(body, 'sha256', sha256),
        content: optional(body, 'content', content),
        removed: optional(body, 'removed', flag) ?? false,
      }
      return taskView(await engine.showEvidence(caller, request.params.id, shown), clock.now())
    })
    app.get<ById>('/tasks/:id/evidence', async (request, reply) => {
      const caller = await authenticate(request)
      const task = await engine.task(caller, request.params.id)
      const bytes = await store.read.taskEvidence(caller.tenant, task.id)
      if (!bytes || !task.evidence) throw errors.notFound({ what: 'Evidence of task', id: task.id })
      // Never shown inside our own pages: whoever uploaded it may have meant them harm.
      return reply
        .header('content-type', 'application/octet-stream')
        .header('content-disposition', `attachment; filename="${task.evidence.sha256}"`)
        .header('x-content-type-options', 'nosniff')
        .send(Buffer.from(bytes))
    })

    app.post<ById>('/tasks/:id/reopen', async (request) => {
      const caller = await authenticate(request)
      const reason = required(request.body, 'reason', text)
      return taskView(await engine.reopenTask(caller, request.params.id, reason), clock.now())
    })
  }
}

function taskView(task: Task, now: Instant) {
  const { tenant: _tenant, version: _version, ...rest } = task
  return { ...rest, overdue: isOverdue(task, now) }
}

function statusOf(value: string): Task['status'] {
  const found = taskStatuses.find((s) => s === value)
  if (found) return found
  const reason = `"${value}" is not one of ${taskStatuses.join(', ')}.`
  throw errors.invalidValue({ path: 'status', reason })
}
