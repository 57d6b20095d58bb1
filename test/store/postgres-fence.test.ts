import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultTenant, type TenantId } from '../../src/domain/ids.ts'
import { postgresDialect } from '../../src/store/dialect-postgres.ts'
import { documentRoom } from '../../src/store/documents.ts'
import { everyTenant, noTenant, scopeOf, type Scope } from '../../src/store/fence.ts'
import { migrations } from '../../src/store/migrations/migrations.ts'
import { buildStore, openStore } from '../../src/store/open.ts'
import { PostgresDatabase } from '../../src/store/postgres.ts'
import { scopeOfCommit } from '../../src/store/reach.ts'
import { run, type Database, type Query, type Statement } from '../../src/store/sql.ts'
import type { Change, Reads, Store } from '../../src/store/store.ts'
import { attribute, bound, compare } from '../conformance/store-filters.ts'
import * as make from '../support/entities.ts'
import { jsonCodec as codec } from '../support/json-codec.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

const ours = defaultTenant
const theirs = 'other' as TenantId

let database: TestDatabase
let fenced: PostgresDatabase
let store: Store
let administrator: Client
beforeAll(async () => {
  database = await createDatabase()
  fenced = await PostgresDatabase.open(database.url, {
    readonly: false,
    migrations,
    connections: 3,
  })
  store = buildStore(fenced, postgresDialect, codec)
  administrator = new Client({ connectionString: database.url })
  await administrator.connect()
  for (const { changes } of [mine, foreign]) {
    if ((await store.commit(changes)) !== 'saved') throw new Error('the worlds are not there')
  }
})
afterAll(async () => {
  await administrator.end()
  await fenced.close()
  await database.drop()
})

/** One of everything, under the same names in each tenant. */
function worldOf(tenant: TenantId) {
  const person = make.makePerson({ tenant, userName: 'ada', attributes: { title: tenant } })
  const group = make.makeGroup({ tenant, displayName: 'team' })
  const owner = { type: 'User', id: person.id } as const
  const account = make.makeAccount({ tenant, userName: 'bot', owner, disableAt: make.t0 })
  const credential = make.makeCredential({ tenant, account: account.id })
  const key = make.makeKey(credential)
  const client = make.makeClient({ tenant })
  const token = make.makeClientToken(client)
  const issued = make.makeIssuedToken(credential)
  const operation = make.makeOperation({ tenant, account: account.id, subject: credential.id })
  const audit = make.makeAudit({ tenant, target: account.id })
  const fresh = { expectedVersion: null }
  const changes: readonly Change[] = [
    { type: 'person', person, ...fresh },
    { type: 'group', group, ...fresh },
    {
      type: 'members',
      tenant,
      group: group.id,
      ...fresh,
      replace: false,
      add: [{ id: person.id, type: 'User', display: null }],
      remove: [],
      at: make.t0,
    },
    { type: 'account', account, ...fresh },
    { type: 'credential', credential, ...fresh },
    { type: 'key', key },
    { type: 'principal', principal: make.makePrincipal(account) },
    { type: 'client', client },
    { type: 'clientToken', token },
    { type: 'issuedToken', token: issued },
    { type: 'enqueue', operation, preempt: false },
    { type: 'audit', row: audit },
  ]
  return { tenant, person, group, account, credential, key, client, operation, audit, changes }
}
type World = ReturnType<typeof worldOf>
const mine = worldOf(ours)
const foreign = worldOf(theirs)

const everything = { people: 'all', accounts: 'all' } as const
const page = { after: null, limit: 100 } as const
const list = { visibility: everything, filter: null, startIndex: 1, count: 100 } as const

/** Reads in the scope of one tenant that name the other's ids, or everybody's. */
const reads: Readonly<Record<string, (read: Reads, of: World) => Promise<unknown>>> = {
  person: (read, of) => read.person(ours, of.person.id),
  account: (read, of) => read.account(ours, of.account.id),
  credential: (read, of) => read.credential(ours, of.credential.id),
  credentialsOf: (read, of) => read.credentialsOf(ours, of.account.id),
  keysOf: (read, of) => read.keysOf(ours, of.credential.id),
  keysOfAccount: (read, of) => read.keysOfAccount(ours, of.account.id),
  principal: (read, of) => read.principal(ours, of.account.id, 'tokens'),
  principalsOf: (read, of) => read.principalsOf(ours, of.account.id),
  accountsOwnedBy: (read, of) => read.accountsOwnedBy(ours, of.person.id, null, 100),
  accountsAfter: (read) => read.accountsAfter(ours, null, 100),
  credentialsAfter: (read) => read.credentialsAfter(ours, null, 100),
  peopleAfter: (read) => read.peopleAfter(ours, null, 100),
  userDocument: (read, of) => read.userDocument(ours, of.person.id),
  credentialDocument: (read, of) => read.credentialDocument(ours, of.credential.id),
  listUsers: (read) => read.listUsers({ tenant: ours, ...list }),
  'listUsers by name': (read) =>
    read.listUsers({ tenant: ours, ...list, filter: bound(compare('userName', 'eq', 'ada')) }),
  'listUsers by a JSON value': (read) =>
    read.listUsers({
      tenant: ours,
      ...list,
      filter: bound(compare(attribute('title', { caseExact: true }), 'sw', '')),
    }),
  listCredentials: (read) => read.listCredentials({ tenant: ours, ...list }),
  listGroups: (read) => read.listGroups({ tenant: ours, ...list, members: true }),
  group: (read, of) => read.group(ours, of.group.id),
  groupDocument: (read, of) => read.groupDocument(ours, of.group.id, { members: true }),
  members: (read, of) => read.members(ours, of.group.id, null, 100),
  memberTargets: (read, of) => read.memberTargets(ours, [of.person.id, of.account.id]),
  groupsOf: (read, of) => read.groupsOf(ours, of.person.id),
  groupsAround: (read, of) => read.groupsAround(ours, of.person.id),
  operation: (read, of) => read.operation(ours, of.operation.id),
  operations: (read) => read.operations({ tenant: ours, ...page }),
  openOperations: (read, of) => read.openOperations(ours, of.account.id),
  clients: (read) => read.clients(ours),
  audit: (read) => read.audit(ours, page),
  auditUnsequenced: (read) => read.auditUnsequenced(ours, 100),
  peopleNamed: (read) => read.peopleNamed(ours, ['ada']),
}

/** The statements of the store as they would be had nobody thought of tenants. */
function forgetful(inner: Database): Database {
  const forget = ({ text, parameters }: Statement): Statement => ({
    text: text.replace(/(?:"?\w+"?\.)?"?tenant"? = \$(\d+)/g, 'cast($$$1 as text) is not null'),
    parameters,
  })
  return {
    facts: inner.facts,
    within: (scope) => (statement, args, cost) =>
      inner.within(scope)(forget(statement), args, cost),
    write: (...of) => inner.write(...of),
    time: () => inner.time(),
    close: () => inner.close(),
  }
}

/** How many of the reads showed anything of the other tenant. */
async function leaksOf(read: Reads): Promise<readonly string[]> {
  const ids = [foreign.person, foreign.group, foreign.account, foreign.credential, foreign.client]
  const marks = [...ids, foreign.operation, foreign.audit].map(({ id }) => id)
  const leaks: string[] = []
  for (const [name, ask] of Object.entries(reads)) {
    const shown = JSON.stringify([await ask(read, mine), await ask(read, foreign)])
    if ([...marks, foreign.key.keyId].some((mark) => shown.includes(mark))) leaks.push(name)
  }
  return leaks
}

describe('statements that forgot the tenant', () => {
  it('show nothing of another one behind the fence', async () => {
    const { read } = buildStore(forgetful(fenced), postgresDialect, codec)

    expect(await leaksOf(read)).toEqual([])
    expect(await read.person(ours, mine.person.id)).toEqual(mine.person)
  })

  it('would show it, each of them, without the fence', async () => {
    const open = await PostgresDatabase.open(database.superuserUrl, { readonly: true, migrations })
    const { read } = buildStore(forgetful(open), postgresDialect, codec)

    const leaks = await leaksOf(read)
    await open.close()

    expect(leaks).toEqual(Object.keys(reads))
  })

  it.each([
    ['row of another tenant', `insert into brake values ('other', 'n', 's', 't', '{}')`],
    ['row of the whole installation', `insert into brake values ('', 'n', 's', 't', '{}')`],
    ['row that changes tenants', `update resource set tenant = 'other' where type = 'account'`],
  ])('write no %s', async (_, text) => {
    await expect(write(ours, text)).rejects.toMatchObject({ code: '42501' })
  })

  it('change and delete only rows of their own', async () => {
    expect(await write(ours, 'update resource set active = active')).toBe(2)
    expect(await write(ours, 'delete from audit where seq = -1 or true', false)).toBe(1)
    expect(await write(everyTenant, 'update resource set active = active')).toBe(4)
  })
})

async function write(scope: Scope, text: string, keep = true): Promise<number> {
  const steps = function* () {
    return (yield* run({ text, parameters: [] }, {})).changes
  }
  return fenced.write(scope, steps, () => keep)
}

const seen: Statement = {
  text: 'select tenant, count(*) as rows from resource group by tenant order by tenant',
  parameters: [],
}
async function tenantsSeen(query: Query, cost?: 'heavy'): Promise<string> {
  return (await query(seen, {}, cost)).map((row) => row['tenant']).join()
}

describe('the scope of a connection', () => {
  it('is nothing until somebody says one, and cannot be said by a tenant', async () => {
    expect(await tenantsSeen(fenced.within(noTenant as Scope))).toBe('')
    for (const word of ['', noTenant, everyTenant]) {
      expect(() => scopeOf(word as TenantId)).toThrow('cannot be a tenant')
    }
  })

  it('never serves whoever has the connection next', async () => {
    const fail: Statement = { text: 'select 1 / 0 as n', parameters: [] }
    const scopes: readonly Scope[] = [ours, theirs, everyTenant]
    const failed = (work: Promise<unknown>): Promise<string> => work.then(String, () => 'failed')
    const expected: string[] = []
    const asked = Array.from({ length: 240 }, (_, n) => {
      const scope = scopes[(n * 7 + (n >> 3)) % 3]!
      switch (n % 8) {
        case 3:
          expected.push('failed')
          return failed(fenced.within(scope)(fail, {}, n % 16 === 3 ? 'heavy' : 'light'))
        case 4:
          expected.push('failed')
          return failed(write(scope, 'insert into meta values (null, null)'))
        case 5:
          expected.push('failed')
          return failed(write(scope, `set local statement_timeout = 1; select pg_sleep(1)`))
        case 6:
          expected.push(scope === everyTenant ? '4' : '2')
          return failed(write(scope, 'update resource set active = active', false))
        default:
          expected.push(scope === everyTenant ? `${ours},${theirs}` : scope)
          return tenantsSeen(fenced.within(scope), n % 8 === 7 ? 'heavy' : undefined)
      }
    })

    expect(await Promise.all(asked)).toEqual(expected)
  })

  it('is everything for a connection that never heard of it, as of the version before', async () => {
    expect((await administrator.query(seen.text)).rows).toHaveLength(2)
    await administrator.query(`set custody.tenant = 'other'`)
    expect((await administrator.query(seen.text)).rows).toMatchObject([{ tenant: theirs }])
    await administrator.query('reset custody.tenant')
    expect((await administrator.query(seen.text)).rows).toHaveLength(2)
  })

  it.each<readonly [string, readonly Change[], Scope]>([
    ['its tenant for a commit of one', mine.changes, ours],
    ['all tenants for a commit of two', [...mine.changes, ...foreign.changes], everyTenant],
    ['all tenants for what has none', [{ type: 'meta', key: 'k', value: 'v' }], everyTenant],
    [
      'all tenants for what forgets rows of all',
      [mine.changes[0]!, { type: 'sealedSwept', before: make.t0 }],
      everyTenant,
    ],
  ])('is %s', (_, changes, scope) => {
    expect(scopeOfCommit(changes)).toBe(scope)
  })

  it('keeps what names a row by its id alone to the tenant of its commit', async () => {
    const { operation } = foreign
    const advance: Change = {
      type: 'advance',
      id: operation.id,
      fence: 0,
      set: { attempt: 1 },
      release: false,
      at: make.t0,
    }
    const row = make.makeAudit({ tenant: ours })

    const result = await store.commit([advance, { type: 'audit', row }])

    expect(result).toMatchObject({ change: 0, reason: 'missing' })
    expect(await store.read.operation(theirs, operation.id)).toEqual(operation)
  })
})

describe('whether the fence stands', () => {
  it('is known of a store that is open', async () => {
    const sqlite = await openStore({ url: 'sqlite::memory:', codec })
    const all = await openStore({ url: database.superuserUrl, codec, readonly: true })

    expect(store.facts()).toMatchObject({ engine: 'PostgreSQL', fence: { state: 'on' } })
    expect(sqlite.facts().fence.state).toBe('off')
    expect(all.facts().fence).toMatchObject({
      state: 'off',
      reason: expect.stringContaining('superuser') as string,
    })
    await sqlite.close()
    await all.close()
  })

  it('depends on every table with a tenant', async () => {
    await administrator.query('create table lately (tenant text)')
    const opened = await openStore({ url: database.url, codec, readonly: true })
    await administrator.query('drop table lately')

    expect(opened.facts().fence).toEqual({
      state: 'off',
      reason: 'row security is off for lately',
    })
    await opened.close()
  })
})

describe('query plans behind the fence', () => {
  beforeAll(async () => {
    const { rows } = await administrator.query<{ columns: string }>(
      `select string_agg(column_name, ', ') as columns from information_schema.columns
        where table_name = 'resource' and column_name not in ('id', 'user_name_norm', 'external_id')`,
    )
    const { columns } = rows[0]!
    await administrator.query(
      `insert into resource (id, user_name_norm, external_id, ${columns})
        select gen_random_uuid(), n, n, ${columns} from resource, generate_series(1, 500) as n
        where type = 'person'`,
    )
    await administrator.query('analyze resource')
  })

  it.each([
    ['userName eq', compare('userName', 'eq', 'a'), 'user_name_norm'],
    ['userName sw', compare('userName', 'sw', 'a'), 'user_name_norm'],
    ['externalId eq', compare(attribute('externalId', { caseExact: true }), 'eq', 'a'), 'external'],
    ['id eq', compare('id', 'eq', make.makeId()), 'id'],
  ])('find users by %s through an index', async (_, root, column) => {
    const url = new URL(database.url)
    url.searchParams.set('options', '-c enable_seqscan=off')
    const planner = await PostgresDatabase.open(url.href, { readonly: true, migrations })
    const plans: string[] = []
    const explain: Query = async ({ text, parameters }, args) => {
      const rows = await planner.within(ours)({ text: `explain ${text}`, parameters }, args)
      plans.push(rows.map((row) => row['QUERY PLAN']).join('\n'))
      return text.includes(' as total') ? [{ total: 1 }] : []
    }

    const rooms = documentRoom({ db: postgresDialect.compiler(), dialect: postgresDialect })
    await rooms.listUsers(explain, { tenant: ours, ...list, filter: bound(root) })
    await planner.close()

    // A condition whose operator could leak a row it sees would come after the policy, as a filter.
    for (const plan of plans) expect(plan).toMatch(new RegExp(`Index Cond: .*${column}`))
    expect(plans.join()).toContain('COALESCE(')
  })
})
