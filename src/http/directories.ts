import type { FastifyPluginAsync } from 'fastify'
import type { Client } from '../domain/client.ts'
import type { DirectoryCheck } from '../domain/directory.ts'
import { errors } from '../domain/errors.ts'
import { isId } from '../domain/ids.ts'
import { isJsonObject } from '../domain/json.ts'
import type { AttributeSighting } from '../domain/ledger.ts'
import type { Caller } from '../lifecycle/engine.ts'
import { resourceSchemas } from '../scim/schema.ts'
import { expectedAt, treatmentOf } from '../scim/sightings.ts'
import type { Authenticate } from './auth.ts'
import { onOff, optional, required, text } from './fields.ts'
import type { Field } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ByName {
  Params: { name: string }
}

/** Whoever waits longer than this asks again: a large directory takes minutes. */
const waitMilliseconds = 20_000

const peopleMax = 10_000
const people: Field<readonly string[]> = {
  read: (value) =>
    Array.isArray(value) && value.length <= peopleMax && value.every((v) => isText(v) && isId(v))
      ? value
      : null,
  wants: `a list of at most ${peopleMax} ids of people`,
}
const count: Field<number> = {
  read: (value) => (Number.isInteger(value) && (value as number) >= 0 ? (value as number) : null),
  wants: 'a whole number',
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

/** The directories themselves beside what they have sent, and what is odd about people's data. */
export function directoryRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host

  return async (app) => {
    app.get('/directories', async (request) => {
      const caller = await authenticate(request)
      return { items: await engine.directories(caller) }
    })

    app.get<ByName>('/directories/:name/check', async (request) => {
      const caller = await authenticate(request)
      const { name } = request.params
      const check = await engine.directoryCheck(caller, name)
      const running = engine.runningDirectoryCheck(name)
      return {
        running: running && { id: running.id, startedAt: running.startedAt },
        check: check && view(check),
      }
    })

    app.post<ByName>('/directories/:name/check', async (request, reply) => {
      const caller = await authenticate(request)
      const { name } = request.params
      const wait = onOff(request.query, 'wait') ?? true
      const started = engine.startDirectoryCheck(caller, name)
      const done = wait ? await within(started.done, waitMilliseconds) : null
      const { id, startedAt } = started
      if (done !== null) return { running: null, check: view(done) }
      // Nobody waits for it any more: only the log can tell of its end.
      const event = { level: 'error', request: request.id, method: 'POST' } as const
      const route = '/api/v1/directories/:name/check'
      started.done.catch((error: unknown) =>
        host.log({ ...event, route, status: 500, code: null, milliseconds: 0, error }),
      )
      return reply.status(202).send({ running: { id, startedAt }, check: null })
    })

    app.post<ByName>('/directories/:name/check/apply', async (request) => {
      const caller = await authenticate(request)
      const { body } = request
      if (body !== undefined && body !== null && !isJsonObject(body)) {
        throw errors.invalidSyntax({ reason: 'The body must be an object with "check".' })
      }
      return engine.applyDirectoryCheck(caller, request.params.name, {
        check: required(body, 'check', text),
        people: optional(body, 'people', people),
        reason: optional(body, 'reason', text),
        confirmCount: optional(body, 'confirmCount', count),
      })
    })

    app.get('/doctor/directory', async (request) => {
      const caller = await authenticate(request)
      const found = await engine.directoryDoctor(caller)
      return { items: [...found, ...(await oddForms(host, caller))] }
    })
  }
}

function view({ tenant: _tenant, agreeing, all, complete, ...check }: DirectoryCheck) {
  const accuracy = complete ? (all === 0 ? 1 : agreeing / all) : null
  return { ...check, complete, agreeing, all, accuracy }
}

async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, milliseconds, null)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What a directory's client sends in another form than is expected, and what becomes of it. */
async function oddForms({ store }: HttpHost, { tenant }: Caller) {
  const clients = (await store.read.clients(tenant)).filter(
    (c) => c.role === 'directory' && c.revokedAt === null,
  )
  const found = await Promise.all(
    clients.map(async (client) => {
      const rows = await store.read.sightings(tenant, client.id)
      return rows.flatMap((row) => oddForm(client, row))
    }),
  )
  return found.flat()
}

function oddForm({ id, name, dialect }: Client, row: AttributeSighting) {
  const schema = resourceSchemas.find((s) => s.type === row.resource)
  const treatment = schema ? treatmentOf(row, schema, dialect) : 'accepted'
  if (!schema || treatment === 'accepted') return []
  const expected = expectedAt(row.path, schema)
  const what = expected === null ? 'no schema knows it' : `${expected} is expected`
  return [
    {
      check: 'attribute-format' as const,
      subject: name,
      id,
      found: `sends ${row.resource} ${row.path} as ${row.form}, ${row.count} time(s); ${what}: ${treatment}`,
      fix:
        treatment === 'refused'
          ? `Change the mapping of ${row.path} in the identity provider: such requests are refused.`
          : `Nothing is lost${treatment === 'ignored' ? ' but the attribute itself' : ''}; mend or remove the mapping of ${row.path}.`,
    },
  ]
}
