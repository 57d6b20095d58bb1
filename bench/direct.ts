import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { ServiceAccount } from '../src/domain/account.ts'
import { createIdSource, defaultTenant } from '../src/domain/ids.ts'
import type { JsonObject } from '../src/domain/json.ts'
import type { OperationId } from '../src/domain/ids.ts'
import type { Operation } from '../src/domain/operation.ts'
import { systemClock } from '../src/host/clock.ts'
import { auditRow, systemActor } from '../src/lifecycle/engine.ts'
import { documentCodec } from '../src/scim/codec.ts'
import {
  bindFilter,
  filterDepthMax,
  filterLengthMax,
  filterTermsMax,
  matchFilter,
  parseFilter,
} from '../src/scim/filter.ts'
import { userSchema } from '../src/scim/schema.ts'
import { sqliteDialect } from '../src/store/dialect.ts'
import { documentRoom } from '../src/store/documents.ts'
import { openStore } from '../src/store/open.ts'
import type { Query } from '../src/store/sql.ts'
import { Connection } from '../src/store/sqlite-connection.ts'
import type { Change } from '../src/store/store.ts'
import { accountAt, nhiUrn, personAt, textAt } from './fixtures.ts'
import { spread } from './measure.ts'
import type { Spread } from './measure.ts'

/** What is measured in this process, without HTTP. */
export interface Direct {
  readonly name: string
  readonly unit: string
  readonly value: Spread
}

const typical = [
  'userName eq "service.000000042@bench.example"',
  `${nhiUrn}:owner.value eq "019b7400-0000-7000-8000-000000000000"`,
  `userName sw "service." and ${nhiUrn}:status eq "active" and meta.lastModified gt "2026-01-01T00:00:00Z"`,
]

/** Filters as dear as the limits allow, each in its own way. */
function worst(): readonly string[] {
  const terms = (term: (i: number) => string, joint = ' or '): string => {
    let text = term(0)
    for (let i = 1; i < filterTermsMax; i++) {
      const next = `${text}${joint}${term(i)}`
      if (next.length > filterLengthMax) break
      text = next
    }
    return text
  }
  const nested = (open: string, inner: string, depth: number): string =>
    `${open.repeat(depth)}${inner}${')'.repeat(depth)}`
  const valuePath = (i: number): string => `emails[type eq "${i}" and not (value co "x")]`
  const filters = [
    `userName eq "${'x'.repeat(filterLengthMax - 14)}"`,
    `userName co "${'é'.repeat(filterLengthMax / 2 - 7)}"`,
    terms((i) => `userName co "${i}"`),
    terms((i) => `userName ne "${i}"`, ' and '),
    terms((i) => `title eq "${i}"`),
    terms((i) => `emails.value co "${i}"`),
    terms((i) => `emails ne "${i}"`, ' and '),
    terms((i) => `not (emails.type ne "${i}")`, ' and '),
    terms((i) => `${nhiUrn}:owner.value eq "${i}"`),
    terms(() => `${nhiUrn} pr`),
    terms((i) => `meta.created gt "20${10 + (i % 80)}-01-01T00:00:00Z"`),
    nested('not (', valuePath(0), filterDepthMax - 4),
    nested(
      '(',
      terms((i) => `groups.value eq "${i}"`),
      filterDepthMax - 2,
    ),
    `not (${halved(terms(valuePath), 45)})`,
    `not (${halved(
      terms((i) => `addresses[not (locality eq "${i}" or country ne "x")]`),
      30,
    )})`,
    `not (${halved(
      terms((i) => `${nhiUrn}:credentials[status ne "${i}"]`),
      45,
    )})`,
  ]
  // Throws where one is not within the limits after all.
  filters.forEach(bound)
  return filters
}

/** The first so many alternatives of a list of them. */
function halved(text: string, count: number): string {
  return text.split(' or ').slice(0, count).join(' or ')
}

const bound = (text: string) =>
  bindFilter(parseFilter(text, 'lenient'), userSchema, { dialect: 'lenient' })

const repeats = 12

/**
 * For how long a filter holds the event loop at a time (a list runs two statements, one after the
 * other); where no index serves it, its statements are prepared by the
 * reading thread, which is told apart. The best of some repeats counts: a cold or disturbed one says
 * nothing about the filter. Statements that were compiled before are not used again.
 */
export async function measureFilters(): Promise<readonly Direct[]> {
  for (let i = 0; i < 3_000; i++) for (const text of typical) bound(text)
  const parse = typical.map((text) => {
    const thousand = (): void => {
      for (let i = 0; i < 1_000; i++) bound(text)
    }
    // Milliseconds for a thousand are microseconds for one.
    return Math.min(...Array.from({ length: repeats }, () => time(thousand)))
  })
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-bench-filter-'))
  const file = path.join(directory, 'custody.db')
  await (await openStore({ url: `sqlite:${file}`, codec: documentCodec })).close()
  const { db } = new Connection(file, { readonly: true })
  const documents = [0, 1].map((index) => JSON.parse(textAt(index)) as JsonObject)
  const filters = worst()
  const [loop, thread, match]: [number[], number[], number[]] = [[], [], []]
  for (const text of filters) {
    const [loops, threads, matches]: [number[], number[], number[]] = [[], [], []]
    for (let i = 0; i < repeats; i++) {
      const room = documentRoom({ db: sqliteDialect.compiler(), dialect: sqliteDialect })
      let prepared = 0
      let longest = 0
      let since = performance.now()
      const query: Query = (statement, _args, cost) => {
        const compiled = performance.now() - since
        const took = time(() => db.prepare(statement.text))
        if (cost === 'heavy') prepared += took
        longest = Math.max(longest, cost === 'heavy' ? compiled : compiled + took)
        since = performance.now()
        // One row more than the page holds: then the total is asked for, too.
        return Promise.resolve(statement.text.includes(' as total') ? [{ total: 2 }] : [{}, {}])
      }
      await room.listUsers(query, { ...everything, filter: bound(text) })
      loops.push(longest)
      threads.push(prepared)
      const filter = bound(text)
      matches.push(Math.max(...documents.map((d) => time(() => matchFilter(filter, d)))))
    }
    loop.push(Math.min(...loops))
    thread.push(Math.min(...threads))
    match.push(Math.min(...matches))
  }
  db.close()
  await rm(directory, { recursive: true })
  const direct = (name: string, values: readonly number[], unit = 'ms'): Direct => ({
    name: `filter, ${name}`,
    unit,
    value: spread(values),
  })
  return [
    direct('typical: parse + bind', parse, 'µs'),
    direct(`worst of ${filters.length}: holds the event loop`, loop),
    direct(`worst of ${filters.length}: match in memory`, match),
    direct(`prepared by the reading thread`, thread),
  ]
}

function time(work: () => unknown): number {
  const since = performance.now()
  work()
  return performance.now() - since
}

const everything = {
  tenant: defaultTenant,
  visibility: { people: 'all', accounts: 'all' },
  startIndex: 1,
  count: 1,
} as const

const writers = 50
const ids = createIdSource(systemClock, (length) => crypto.getRandomValues(new Uint8Array(length)))

/** Commits per second of an account, an operation and an audit row, each with one fsync or in groups. */
export async function measureCommits(rounds: number, milliseconds: number): Promise<Direct[]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-bench-commit-'))
  const store = await openStore({
    url: `sqlite:${path.join(directory, 'custody.db')}`,
    codec: documentCodec,
  })
  const rate = async (concurrency: number): Promise<number> => {
    const end = performance.now() + milliseconds
    const since = performance.now()
    let count = 0
    const write = async (): Promise<void> => {
      while (performance.now() < end) {
        const result = await store.commit(requested())
        if (result !== 'saved') throw new Error(JSON.stringify(result))
        count += 1
      }
    }
    await Promise.all(Array.from({ length: concurrency }, write))
    return (count / (performance.now() - since)) * 1_000
  }
  try {
    await store.commit([{ type: 'person', person: personAt(0), expectedVersion: null }])
    await rate(writers)
    const pairs: { readonly grouped: number; readonly single: number }[] = []
    for (let i = 0; i < rounds; i++) {
      pairs.push({ grouped: await rate(writers), single: await rate(1) })
    }
    return [
      {
        name: `store: commits of ${writers} writers in groups`,
        unit: '/s',
        value: spread(pairs.map((p) => p.grouped)),
      },
      {
        name: 'store: commits one after the other',
        unit: '/s',
        value: spread(pairs.map((p) => p.single)),
      },
      {
        name: 'store: grouped / one after the other',
        unit: '×',
        value: spread(pairs.map((p) => p.grouped / p.single)),
      },
    ]
  } finally {
    await store.close()
    await rm(directory, { recursive: true })
  }
}

function requested(): Change[] {
  const id = ids.next()
  const now = systemClock.now()
  const account: ServiceAccount = {
    ...accountAt(1),
    id: id as ServiceAccount['id'],
    userName: id,
    externalId: id,
    createdAt: now,
    updatedAt: now,
  }
  const operation: Operation = {
    tenant: defaultTenant,
    id: ids.next() as OperationId,
    kind: 'disable',
    subjectType: 'account',
    subject: id,
    account: account.id,
    provider: null,
    steps: ['shut-off', 'disable-keys', 'prove-dead', 'settle'],
    cursor: 0,
    attempt: 0,
    status: 'queued',
    runAt: now,
    leaseWorker: null,
    leaseUntil: null,
    fence: 0,
    memo: {},
    actor: systemActor,
    cause: id,
    failure: null,
    createdAt: now,
    updatedAt: now,
    finishedAt: null,
  }
  const audit = auditRow(
    { ids, clock: systemClock },
    {
      tenant: defaultTenant,
      actor: systemActor,
      action: 'account.requested',
      target: { type: 'account', id },
    },
  )
  return [
    { type: 'account', account, expectedVersion: null },
    { type: 'enqueue', operation, preempt: false },
    audit,
  ]
}
