import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Dialect } from '../../src/domain/client.ts'
import { dialects } from '../../src/domain/client.ts'
import { AppError } from '../../src/domain/errors.ts'
import type { Member } from '../../src/domain/group.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { jsonDepthMax, shapeOf } from '../../src/http/body.ts'
import { completionOf, parseBulk, planBulk, withoutDeferred } from '../../src/scim/bulk.ts'
import {
  bindFilter,
  bindSort,
  matchFilter,
  parseFilter,
  printFilter,
} from '../../src/scim/filter.ts'
import { readGroup, readGroupPatch } from '../../src/scim/group.ts'
import { applyPatch, parsePatch } from '../../src/scim/patch.ts'
import {
  renderAccount,
  renderCredential,
  renderGroup,
  renderPerson,
} from '../../src/scim/render.ts'
import { readCredential, readUser } from '../../src/scim/resource.ts'
import { credentialSchema, resourceSchemas, userSchema } from '../../src/scim/schema.ts'
import { makeAccount, makeCredential, makeGroup, makePerson } from '../support/entities.ts'
import { oddRequest } from '../support/fuzz-bodies.ts'
import { oddFilter } from '../support/fuzz-filters.ts'
import { Source } from '../support/fuzz-source.ts'

const runs = Number(process.env['FUZZ_RUNS'] ?? 200_000)
const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
const document = (text: string): JsonObject => JSON.parse(text) as JsonObject

const address = { value: 'a', type: 'work', primary: true }
const person = document(
  renderPerson(makePerson({ attributes: { emails: [address, { value: 'b' }], title: 'x' } })),
)
const account = document(renderAccount(makeAccount()))
const group = document(renderGroup(makeGroup()))
const credential = document(renderCredential(makeCredential()))
const member: Member = { id: 'x', type: 'User', display: null }
const members = {
  among: (ids: readonly string[]) => Promise.resolve(ids.includes('x') ? [member] : []),
  async *all() {
    yield member
  },
}

/** All that reads a body, as the routes would call it, below HTTP and the database. */
async function read(method: string, path: string, value: unknown, dialect: Dialect) {
  if (path.endsWith('/Bulk')) {
    const { operations } = parseBulk(value)
    for (const step of planBulk(operations)) {
      const data = operations[step.index]!.data as JsonObject
      if (step.deferred.length === 0) continue
      withoutDeferred(data, step.deferred)
      completionOf(data, step.deferred)
    }
    return
  }
  if (method === 'PATCH') {
    if (path.includes('/Groups')) await readGroupPatch(value, group, members, { dialect })
    else {
      const isUser = path.includes('/Users')
      const schema = isUser ? userSchema : credentialSchema
      for (const before of isUser ? [person, account] : [credential]) {
        const { resource } = applyPatch(before, parsePatch(value, dialect), schema, { dialect })
        if (isUser) readUser(resource, { dialect })
        else readCredential(resource, { dialect })
      }
    }
    return
  }
  if (path.includes('/Groups')) readGroup(value, { dialect })
  else if (path.includes('/Credentials')) readCredential(value, { dialect })
  else readUser(value, { dialect })
}

/** What may be thrown is an error of the catalogue that blames the client. */
async function tolerated(act: () => unknown): Promise<boolean> {
  try {
    await act()
    return true
  } catch (error) {
    if (error instanceof AppError && error.status < 500) return false
    throw error
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

describe(`${runs} fuzzed inputs of each kind, seed ${seed}`, () => {
  const each = async (ask: (source: Source) => Promise<boolean>): Promise<number> => {
    let passed = 0
    for (let i = 0; i < runs; i++) {
      try {
        if (await ask(new Source(seed + i))) passed += 1
      } catch (cause) {
        throw new Error(`SEED=${seed + i} FUZZ_RUNS=1: ${(cause as Error).message}`, { cause })
      }
    }
    return passed
  }

  it('are read or refused: bodies', { timeout: 600_000 }, async () => {
    const pool = { Users: ['u'], Groups: ['g'], Credentials: ['c'] }
    const names = Reflect.ownKeys(Object.prototype)

    const passed = await each(async (source) => {
      const { method, path, body } = oddRequest(source, pool)
      const text = body?.toString() ?? ''
      const value = parsed(text)
      if (value === undefined || path.includes('.search')) return false
      // The shape is counted in text, before parsing, and may never be too small.
      const shape = shapeOf(text)
      if (shape.depth > jsonDepthMax) return false
      expect(shape.values).toBeGreaterThanOrEqual(countOf(value))
      return tolerated(() => read(method, path, value, source.pick(dialects)))
    })

    expect(Reflect.ownKeys(Object.prototype)).toEqual(names)
    expect(passed).toBeGreaterThan(runs / 50)
  })

  it('are bound or refused: filters', { timeout: 600_000 }, async () => {
    const passed = await each(async (source) => {
      const { path, body } = oddFilter(source)
      const text =
        body === null
          ? new URLSearchParams(path.slice(path.indexOf('?'))).get('filter')!
          : (JSON.parse(body.toString()) as { filter: string }).filter
      const dialect = source.pick(dialects)
      return tolerated(() => {
        const node = parseFilter(text, dialect)
        const again = printFilter(parseFilter(printFilter(node), dialect))
        expect(again).toBe(printFilter(node))
        const schema = source.pick(resourceSchemas)
        bindSort(text, schema, { dialect })
        const filter = bindFilter(node, schema, { dialect })
        for (const resource of [person, account, group, credential]) matchFilter(filter, resource)
      })
    })

    expect(passed).toBeGreaterThan(runs / 50)
  })
})

/** Values in a document, an object that is empty or not counting as one. */
function countOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1
  return Object.values(value).reduce<number>((sum, item) => sum + countOf(item), 0)
}
