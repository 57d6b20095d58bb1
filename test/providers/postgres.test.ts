import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { postgres } from '../../providers/postgres/index.ts'
import { needsTls } from '../../providers/postgres/server.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import type { HostContext, Provider, WantedCredential } from '../../src/provider/contract.ts'
import {
  callWith,
  providerConformance,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'
import { refusalOf } from '../conformance/sink.ts'

const superuser = { user: 'custody', password: 'custody' }
/** As an operator would set it up: may create roles and end sessions, and is no superuser. */
const manager = { user: `manager_${process.pid}`, password: 'manager' }
const reader = `reader_${process.pid}`
const other = `writer_${process.pid}`
let place: { readonly host: string; readonly port: number; readonly database: string }
let admin: Client
let made = 0

beforeAll(async () => {
  const url = new URL(await (await fetch(inject('postgres'))).text())
  place = { host: url.hostname, port: Number(url.port), database: `target_${process.pid}` }
  const first = new Client({ ...place, ...superuser, database: 'postgres' })
  await first.connect()
  await first.query(`create database ${place.database}`)
  await first.end()
  admin = new Client({ ...place, ...superuser })
  await admin.connect()
  await admin.query(`create role ${manager.user} login createrole password '${manager.password}';
    create role ${reader} nologin; create role ${other} nologin;
    grant ${reader}, ${other} to ${manager.user} with admin option;
    grant pg_signal_backend to ${manager.user};
    grant create on schema public to ${other};
    create table stock (name text); grant select on stock to ${reader}`)
})

afterAll(async () => {
  const { rows } = await admin.query<{ name: string }>(
    `select rolname as name from pg_roles where rolname ~ '^t${process.pid}'
      or rolname in ('${manager.user}', '${reader}', '${other}')`,
  )
  for (const { name } of rows) await admin.query(`drop owned by ${name} cascade`)
  for (const { name } of rows) await admin.query(`drop role ${name}`)
  await admin.end()
  const last = new Client({ ...place, ...superuser, database: 'postgres' })
  await last.connect()
  await last.query(`drop database ${place.database} with (force)`)
  await last.end()
})

function hostOf(): HostContext {
  return {
    name: 'pg',
    clock: systemClock,
    random: randomBytes,
    resolvePath: (file) => file,
    tokens: null as never,
    pepper: Secret.ofText('unused'),
  }
}

function connect(config: Readonly<Record<string, unknown>> = {}): Provider {
  const prefix = `t${process.pid}_${++made}_`
  return postgres.create(hostOf(), {
    ...place,
    ...manager,
    prefix,
    allowedRoles: [reader, other],
    ...config,
  })
}

providerConformance('postgres', async () => ({
  provider: connect(),
  kind: 'password',
  clock: systemClock,
  scopes: [`role:${reader}`],
  otherScopes: [`role:${other}`],
  plantDrift: async ({ keyId }) => {
    await admin.query(`alter role ${keyId} connection limit 3;
      revoke ${reader} from ${keyId.replace(/_g1$/, '')} granted by ${manager.user}`)
  },
  refusedScope: 'role:pg_execute_server_program',
  isUsable: async (secret) => (await login(secret)) !== 'refused',
  dispose: () => Promise.resolve(),
}))

interface Login {
  readonly username: string
  readonly password: string
}
const readLogin = (secret: Secret) =>
  secret.use((bytes) => JSON.parse(bytes.toString()) as Login & Record<string, unknown>)

/** A session of a consumer; the caller ends it. */
async function session(secret: Secret): Promise<Client> {
  const { username: user, password } = readLogin(secret)
  const client = new Client({ ...place, user, password })
  client.on('error', () => undefined)
  await client.connect()
  return client
}

async function login(secret: Secret): Promise<'accepted' | 'refused'> {
  try {
    await (await session(secret)).end()
    return 'accepted'
  } catch {
    return 'refused'
  }
}

describe('postgres', () => {
  let provider: Provider
  beforeAll(() => {
    provider = connect()
  })
  afterAll(() => provider.close())

  async function mint(overrides: Partial<WantedCredential> = {}) {
    const person = wantPrincipal(systemClock)
    const { external } = await provider.ensurePrincipal(person, callWith())
    const base = wantCredential(person, 'password', systemClock, {
      scopes: [`role:${reader}`],
      ...overrides,
    })
    return { external, ...(await next(external, base)) }
  }
  async function next(external: string, base: WantedCredential) {
    const prepared = provider.prepare!(base)
    const want = { ...base, publicPart: prepared.publicPart }
    const { keyId } = await provider.issue(external, want, callWith())
    return { want, keyId, secret: prepared.secret, prepared }
  }

  it('changes what an open session may do, in place, and leaves what somebody else granted', async () => {
    const { external, want, keyId, secret } = await mint()
    const consumer = await session(secret)
    await consumer.query('select * from stock')
    const [{ group }] = (await consumer.query<{ group: string }>('select current_user as group'))
      .rows as [{ group: string }]
    await admin.query(`grant pg_read_all_stats to ${group}`)
    const rescope = (scopes: readonly string[]) =>
      provider.rescope!(external, { ...want, keyId, scopes }, callWith())

    await rescope([`role:${other}`])
    const refused = await consumer
      .query('select * from stock')
      .catch((error: Error) => error.message)
    const { rows } = await consumer.query(
      `select pg_has_role('${other}', 'usage') as now, pg_has_role('pg_read_all_stats', 'usage') as foreign`,
    )
    await rescope([`role:${reader}`])
    const again = await consumer.query('select * from stock').catch((error: Error) => error)
    await consumer.end()

    expect(refused).toMatch(/permission denied for table stock/)
    expect(rows).toEqual([{ now: true, foreign: true }])
    expect(again).not.toBeInstanceOf(Error)
  })

  it('tells what of a login and its grants was changed by hand, and puts it back', async () => {
    const { external, want, keyId, secret } = await mint()
    const consumer = await session(secret)
    const [{ group }] = (await consumer.query<{ group: string }>('select current_user as group'))
      .rows as [{ group: string }]
    await consumer.end()
    const wanted = [{ ...want, keyId }]
    const drifts = async () => (await provider.driftOf!(external, wanted, callWith())).items
    const before = await drifts()
    await admin.query(`alter role ${keyId} createdb connection limit 3;
      grant pg_read_all_stats to ${keyId}; grant ${other} to ${group} granted by ${manager.user};
      revoke ${reader} from ${group} granted by ${manager.user}`)
    await admin.query(`alter role ${manager.user} createdb;
      grant pg_read_all_stats to ${manager.user} with admin option`)
    await admin.query(`revoke pg_read_all_stats from ${keyId};
      grant pg_read_all_stats to ${keyId} granted by ${manager.user}`)

    const found = await drifts()

    expect(before).toEqual([])
    expect(found.map(({ what, name, reach }) => [what, name, reach])).toEqual([
      ['attribute', `CREATEDB of ${keyId}`, 'more'],
      ['membership', `pg_read_all_stats of ${keyId}`, 'more'],
      ['connectionLimit', keyId, 'less'],
      ['grant', other, 'more'],
      ['grant', reader, 'less'],
    ])
    for (const drift of found) {
      const done = await provider.revertDrift!(external, wanted, drift, callWith())
      expect(done).toHaveLength(1)
    }
    expect(await drifts()).toEqual([])
  })

  it('delivers what a consumer needs to sign in, the way managed databases write it', async () => {
    const { secret, keyId } = await mint()

    expect(readLogin(secret)).toEqual({
      engine: 'postgres',
      host: place.host,
      port: place.port,
      dbname: place.database,
      username: keyId,
      password: expect.stringMatching(/^[\w-]{43}$/),
    })
  })

  it('never lets the server see a password', async () => {
    const { prepared, secret } = await mint()
    const { password } = readLogin(secret)

    expect(prepared.publicPart).not.toContain(password)
    const { rows } = await admin.query<{ rolpassword: string }>(
      'select rolpassword from pg_authid where rolname = $1',
      [readLogin(secret).username],
    )
    expect(rows[0]!.rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/)
    // What every login may read is no help to whoever wants to pass for the server.
    const told = await admin.query<{ comment: string }>(
      `select shobj_description(oid, 'pg_authid') as comment from pg_roles where rolname = $1`,
      [readLogin(secret).username],
    )
    expect(told.rows[0]!.comment).toContain('custody {')
    expect(told.rows[0]!.comment).not.toContain('SCRAM')
  })

  it('grants exactly the roles asked for, also when the next generation asks for others', async () => {
    const { external, want, secret } = await mint()

    const first = await session(secret)
    const read = await first.query('select count(*)::int as n from stock')
    const refused = await first
      .query(`insert into stock values ('x')`)
      .catch((e: Error) => e.message)
    await first.end()
    const second = await next(external, { ...want, generation: 2, scopes: [`role:${other}`] })
    const later = await session(second.secret)
    const unread = await later.query('select 1 from stock').catch((e: Error) => e.message)
    await later.end()

    expect([read.rows, refused, unread]).toEqual([
      [{ n: 0 }],
      'permission denied for table stock',
      'permission denied for table stock',
    ])
  })

  it('keeps what a login made for the next generation, and for the heir at the end', async () => {
    const { external, want, keyId, secret } = await mint({ scopes: [`role:${other}`] })
    const table = `made_${made}_${keyId.slice(-6)}`
    const first = await session(secret)
    await first.query(`create table public.${table} (n int); insert into ${table} values (7)`)
    // Somebody may act as the login itself as well.
    await first.query('reset role')
    await first.query(`create table public.${table}_own (n int)`)
    await first.end()
    const second = await next(external, { ...want, generation: 2 })

    await provider.revoke(external, keyId, callWith())
    const later = await session(second.secret)
    const { rows } = await later.query(`select n from ${table}`)
    await later.query(`insert into ${table}_own values (8)`)
    await later.end()
    await provider.deletePrincipal(external, callWith())

    const owners = await admin.query(
      `select distinct tableowner from pg_tables where tablename like '${table}%'`,
    )
    expect(rows).toEqual([{ n: 7 }])
    expect(owners.rows).toEqual([{ tableowner: manager.user }])
  })

  it('is handed back by its comments alone: the login goes on, and is nobody’s of ours', async () => {
    const { external, keyId, secret } = await mint()

    const first = await provider.release!(external, callWith())
    const second = await provider.release!(external, callWith())

    expect([first.removed.length, second.removed]).toEqual([2, []])
    const consumer = await session(secret)
    expect((await consumer.query('select current_setting($1) as ok', ['role'])).rows).toHaveLength(
      1,
    )
    await consumer.end()
    expect((await provider.list(external, callWith())).items).toEqual([])
    const { rows } = await admin.query('select 1 from pg_roles where rolname = $1', [keyId])
    expect(rows).toHaveLength(1)
  })

  it('ends open sessions when a login is switched off, and counts them as use before', async () => {
    const { external, keyId, secret } = await mint()
    const consumer = await session(secret)
    const ended = new Promise((resolve) => consumer.once('end', resolve))

    const [used] = (await provider.list(external, callWith())).items
    await provider.disable(external, keyId, callWith())
    await ended
    const [unused] = (await provider.list(external, callWith())).items

    expect(used?.lastUsedAt).not.toBeNull()
    expect(unused).toMatchObject({ keyId, active: false, lastUsedAt: null })
  })

  it('is ended by PostgreSQL itself when its time is over', async () => {
    const { external, keyId, secret } = await mint({ expiresAt: addSeconds(systemClock.now(), -1) })

    expect(await provider.probe(secret, 'password', callWith())).toBe('refused')
    expect((await provider.list(external, callWith())).items).toMatchObject([
      { keyId, active: false },
    ])
  })

  it('finds a login that was renamed, and leaves one alone that lost its mark', async () => {
    const { external, keyId } = await mint()
    await admin.query(`alter role ${keyId} rename to ${keyId}x`)

    const renamed = (await provider.list(external, callWith())).items
    await provider.disable(external, keyId, callWith())
    await admin.query(`alter role ${keyId}x rename to ${keyId}; comment on role ${keyId} is 'mine'`)
    const refusal = await refusalOf(provider.revoke(external, keyId, callWith()))

    expect(renamed).toMatchObject([{ keyId, active: true }])
    expect(refusal).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
    expect(
      (await admin.query('select rolcanlogin from pg_roles where rolname = $1', [keyId])).rows,
    ).toEqual([{ rolcanlogin: false }])
  })

  it('takes no role over that somebody else made under the name', async () => {
    const person = wantPrincipal(systemClock)
    const base = wantCredential(person, 'password', systemClock)
    const { publicPart } = provider.prepare!(base)
    const want = { ...base, publicPart }
    const made = await provider.issue(person.account, want, callWith())
    await admin.query(`comment on role ${made.keyId} is null`)

    const refusal = await refusalOf(provider.issue(person.account, want, callWith()))

    expect(refusal).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
  })

  it('names its probes after the operation', async () => {
    const { secret } = await mint()
    const log: string[] = []
    const watch = setInterval(() => {
      void admin
        .query(`select application_name as name from pg_stat_activity`)
        .then(({ rows }) => log.push(...(rows as { name: string }[]).map((row) => row.name)))
    }, 1)

    for (let i = 0; i < 20 && !log.includes('custody-probe/op-1'); i++) {
      await provider.probe(secret, 'password', callWith({ operation: 'op-1' }))
    }
    clearInterval(watch)

    expect(log).toContain('custody-probe/op-1')
  })

  it.each([
    ['a wrong password', { password: 'wrong' }, 'denied', 'check the user and password'],
    ['a server that is not there', { port: 1 }, 'unavailable', 'ECONNREFUSED'],
    ['a database that is not there', { database: 'nowhere' }, 'notFound', 'database'],
    ['a server without TLS', { tls: 'verify-full' }, 'unavailable', 'connection'],
  ] as const)('says what is wrong with %s', async (_, config, kind, words) => {
    const wrong = connect(config)
    const refusal = await refusalOf(wrong.ensurePrincipal(wantPrincipal(systemClock), callWith()))
    const report = await wrong.check!(callWith())
    await wrong.close()

    expect(refusal).toMatchObject({ kind, outcome: 'notApplied' })
    expect(refusal.message).toContain(words)
    expect(report.findings).toMatchObject([{ name: 'credentials', state: 'failed' }])
    expect(inspect([refusal, report])).not.toContain('wrong-password')
  })

  it('finds nothing to complain about when it was given what it needs', async () => {
    const { findings, leastPolicy } = await provider.check!(callWith())

    expect(findings.filter((f) => f.state !== 'ok')).toEqual([])
    expect(leastPolicy).toContain(`grant "${reader}" to`)
  })

  it('names each right that is missing, with the statement that grants it', async () => {
    await admin.query(`create role t${process.pid}_weak login password 'weak'`)
    const weak = connect({ user: `t${process.pid}_weak`, password: 'weak', heir: 'nobody' })

    const { findings } = await weak.check!(callWith())
    const refusal = await refusalOf(
      weak.issue('a', { ...(await mint()).want, credential: randomId() as never }, callWith()),
    )
    await weak.close()

    const failed = findings.filter((f) => f.state === 'failed')
    expect(failed.map((f) => f.name)).toEqual([
      'createrole',
      `role:${reader}`,
      `role:${other}`,
      'sessions',
      'heir',
    ])
    expect(failed.every((f) => f.remedy !== null)).toBe(true)
    expect(refusal).toMatchObject({ kind: 'denied', outcome: 'notApplied' })
  })
})

const randomId = () => crypto.randomUUID()

describe('reading of this week', () => {
  it('goes on behind a role whose mark is damaged, and counts only whole pages as the end', async () => {
    const prefix = `t${process.pid}_page_`
    const provider = connect({ prefix })
    await admin.query(`do $$ begin for i in 1000..1101 loop
      execute format('create role ${prefix}%s nologin', i);
      execute format('comment on role ${prefix}%s is %L', i, 'custody ' || case when i = 1050
        then '{"key":"${prefix}1050", damaged'
        else json_build_object('key', '${prefix}' || i, 'account', 'a', 'tenant', 't',
          'credential', 'c', 'operation', 'o')::text end);
    end loop; end $$`)
    await admin.query(
      `do $$ declare d record; begin for d in select r.rolname, s.description from pg_roles r
        join pg_shdescription s on s.objoid = r.oid and r.rolname like '${prefix}%' loop
        execute format('comment on role %I is %L', d.rolname, replace(d.description, '" : "', '":"'));
      end loop; end $$`,
    )

    const first = await provider.inventory!(null, callWith())
    const second = await provider.inventory!(first.next, callWith())

    expect(first.entries).toHaveLength(99)
    expect(first.next).not.toBeNull()
    expect(second.entries.map((entry) => entry.name)).toEqual([`${prefix}1100`, `${prefix}1101`])
    expect(second.next).toBeNull()
    await provider.close()
  })

  it.each([
    ['127.evil.example', true],
    ['127.0.0.1', false],
    ['127.12.0.9', false],
    ['localhost', false],
  ])('asks %s for TLS: %s', (host, isAsked) => {
    expect(needsTls(host)).toBe(isAsked)
  })
})
