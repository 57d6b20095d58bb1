import type { FastifyPluginAsync } from 'fastify'
import { isJsonObject } from '../domain/json.ts'
import type { LeaveDateEntry } from '../lifecycle/engine.ts'
import { leaveDatesMax, personKeys } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import type { Field } from './fields.ts'
import { flag, optional, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

const key: Field<(typeof personKeys)[number]> = {
  read: (value) => personKeys.find((k) => k === value) ?? null,
  wants: `one of ${personKeys.join(', ')}`,
}

const entries: Field<readonly LeaveDateEntry[]> = {
  read: (value) =>
    Array.isArray(value) && value.length <= leaveDatesMax && value.every(isEntry) ? value : null,
  wants: `a list of at most ${leaveDatesMax} objects with line, who and date`,
}

function isEntry(value: unknown): value is LeaveDateEntry {
  if (!isJsonObject(value)) return false
  const { line, who, date } = value
  const isText = (field: unknown, max: number) => typeof field === 'string' && field.length <= max
  return Number.isSafeInteger(line) && isText(who, 512) && who !== '' && isText(date, 40)
}

/** `POST /leave-dates`: what a list says of when people leave; only looked at without `apply`. */
export function leaveDateRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.post('/leave-dates', async (request) => {
      const caller = await authenticate(request)
      const { body } = request
      const items = await host.engine.setLeaveDates(caller, {
        key: required(body, 'key', key),
        zone: optional(body, 'zone', text) ?? 'UTC',
        entries: required(body, 'entries', entries),
        apply: optional(body, 'apply', flag) ?? false,
        pastToo: optional(body, 'pastToo', flag) ?? false,
      })
      return { items }
    })
  }
}
