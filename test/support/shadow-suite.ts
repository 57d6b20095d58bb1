import * as fc from 'fast-check'
import type { AccountWrite } from '../../src/domain/want.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { ShadowAct } from '../../src/domain/shadow.ts'
import { AppError } from '../../src/domain/errors.ts'
import type { LifecyclePolicy } from '../../src/policy/lifecycle.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import type { TestEngine } from './engine.ts'
import { days, hours, startTestEngine, wants } from './engine.ts'

/** Short terms, so that some weeks hold every act several times. */
const text = (enforcement: string) => `
defaults:
  expiry: { default: P16D, cap: P30D }
  rotation: { every: P4DT3H, overlap: PT20H, soak: PT6H, maxAge: P20D }
  leaver:
    overlap: PT1H
    acceptWithin: P2DT3H
    backupMinAge: PT0S
    groupGrace: PT9H
    contain: false
    containFor: PT4H
    containWhenUsedWithin: PT24H
  hold: P5DT3H
  enforcement: ${enforcement}
`
export const shortPolicy = (enforcement: 'observe' | 'enforce'): LifecyclePolicy =>
  compileLifecycle(text(enforcement), 'lifecycle.yaml')

type Event =
  | { readonly do: 'leave' | 'comeBack'; readonly person: number }
  | { readonly do: 'empty' | 'fill' }
  | {
      readonly do: 'request'
      readonly owner: number
      readonly backup: number
      readonly ends: number
    }
  | { readonly do: 'transfer'; readonly account: number; readonly person: number }
  | { readonly do: 'certify' | 'disable' | 'rotate'; readonly account: number }

const people = 4
const person = fc.nat(people - 1)
const account = fc.nat(7)
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom('leave', 'comeBack'), person }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('empty', 'fill') }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('request'),
      owner: fc.nat(people),
      backup: fc.nat(people),
      ends: fc.integer({ min: 2, max: 28 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('transfer'), account, person }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('certify', 'disable', 'rotate'), account }),
  },
) as fc.Arbitrary<Event>

/** What happens in each stretch of `stepHours`. */
const traffic = (stretches: number): fc.Arbitrary<readonly (readonly Event[])[]> =>
  fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(event, { minLength: 1, maxLength: 2 }) },
    ),
    { minLength: stretches, maxLength: stretches },
  )

const stepHours = 6

interface World {
  readonly test: TestEngine
  readonly people: string[]
  readonly accounts: string[]
  group: string
}

const nobody = { id: undefined }

async function start(enforcement: 'observe' | 'enforce'): Promise<World> {
  const test = await startTestEngine({ policy: shortPolicy(enforcement) })
  return { test, people: [], accounts: [], group: '' }
}

async function populate(world: World): Promise<void> {
  const { test } = world
  world.people.splice(0)
  world.accounts.splice(0)
  for (let i = 0; i <= people; i++) world.people.push(await test.person())
  const { id } = await test.engine.createGroup(
    test.admin,
    { displayName: `group-${world.people[0]}`, externalId: null, attributes: { schemas: [] } },
    [{ id: world.people[people]!, type: undefined, display: null }],
    { keepsUnknown: true },
  )
  world.group = id
  for (let i = 0; i <= people; i++) {
    await happen(
      world,
      { do: 'request', owner: i, backup: (i + 1) % (people + 1), ends: 15 + i },
      i,
    )
  }
}

/** @returns whether it was taken */
async function happen(world: World, e: Event, name: number): Promise<boolean> {
  const { test } = world
  const { engine, admin } = test
  const id = 'account' in e ? (world.accounts[e.account] ?? '') : ''
  try {
    switch (e.do) {
      case 'leave':
        await test.leave(world.people[e.person]!)
        break
      case 'comeBack':
        await test.comeBack(world.people[e.person]!)
        break
      case 'empty':
      case 'fill': {
        const member = world.people[people]!
        const entry = { id: member, type: undefined, display: null }
        const change = e.do === 'empty' ? { remove: [member] } : { add: [entry] }
        await engine.updateGroup(
          admin,
          await engine.group(admin, world.group),
          { group: null, members: { replace: false, add: [], remove: [], ...change } },
          { exact: false, keepsUnknown: true },
        )
        break
      }
      case 'request': {
        const isGroup = e.owner === people
        const owner = isGroup ? world.group : world.people[e.owner]!
        const backup = e.backup === people ? nobody.id : world.people[e.backup]
        const want: Partial<AccountWrite> = {
          userName: `svc-${name}-${world.group.slice(-12)}`,
          expiresAt: addSeconds(test.clock.now(), days(e.ends)),
          owner: { type: isGroup ? 'Group' : 'User', id: owner },
          backupOwners: backup === undefined ? [] : [{ type: 'User', id: backup }],
          credentials: [
            wants.token(),
            wants.token({ expiresAt: addSeconds(test.clock.now(), days(e.ends / 2)) }),
          ],
        }
        world.accounts.push((await test.request(owner, want)).id)
        break
      }
      case 'transfer':
        await engine.transfer(admin, id, {
          owner: { type: 'User', id: world.people[e.person]! },
          atOnce: true,
          reason: null,
        })
        break
      case 'certify':
        await engine.certify(admin, id, { extend: true, reason: null })
        break
      case 'disable':
        await engine.switchAccount(admin, id, 'disable', null)
        break
      case 'rotate': {
        const [first] = await test.credentials(id)
        await engine.rotateCredential(admin, first?.id ?? '')
        break
      }
    }
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
  await test.pass(2)
  return true
}

async function sweeps({ test }: World): Promise<void> {
  for (const sweep of ['orphans', 'expiry', 'rotation'] as const) {
    for (const { error } of await test.engine.runSweep(test.admin, sweep)) {
      if (error !== null) throw new Error(`${sweep}: ${error}`)
    }
    await test.pass(2)
  }
}

/** One act: its hour since the start, behind everything else that two worlds must agree on. */
export interface Seen {
  readonly what: string
  readonly hour: number
}

async function watchedActs({ test, accounts }: World, from: string): Promise<readonly Seen[]> {
  const { store, admin } = test
  const rows: ShadowAct[] = []
  for (;;) {
    const page = await store.read.shadowActs({
      tenant: admin.tenant,
      from: from as ShadowAct['at'],
      until: test.clock.now(),
      after: rows.at(-1)?.id ?? null,
      limit: 50,
    })
    rows.push(...page)
    if (page.length < 50) break
  }
  // What was there before this traffic lives on in the same database.
  const own = rows.filter((row) => accounts.includes(row.account))
  const lines = own.map(async (row) => {
    const all = await test.credentials(row.account)
    const place = row.credential === null ? '' : all.findIndex((c) => c.id === row.credential)
    return line(accounts.indexOf(row.account), row.act, row.rule, place, from, row.at)
  })
  return inOrder(await Promise.all(lines))
}

const acted = new Set(['rotate', 'disable', 'revoke', 'delete'])

async function enforcedActs({ test, accounts }: World, from: string): Promise<readonly Seen[]> {
  const lines: Seen[] = []
  for (const [i, id] of accounts.entries()) {
    const credentials = await test.credentials(id)
    const of = { account: id as Parameters<typeof test.store.read.credentialsOf>[1] }
    const operations = await test.store.read.operations({
      tenant: test.admin.tenant,
      ...of,
      after: null,
      limit: 500,
    })
    const audit = await test.store.read.audit(test.admin.tenant, {
      target: id,
      after: null,
      limit: 500,
    })
    const decisions = audit.filter((row) => row.action === 'account.leaverDecided')
    for (const { at, facts } of decisions) {
      const isOffer = facts['decision'] === 'offer' && facts['rule'] !== 'notAccepted'
      if (isOffer) lines.push(line(i, 'offer', facts['rule'] as string, '', from, at))
    }
    for (const o of operations) {
      if (!acted.has(o.kind) || o.actor.type === 'client') continue
      const place =
        o.subjectType === 'account' ? '' : credentials.findIndex((c) => c.id === o.subject)
      const decision = decisions.find((row) => row.facts['cause'] === o.cause)
      const reason = o.memo['reason'] as string
      const rule =
        o.kind === 'delete' ? 'held' : ((decision?.facts['rule'] as string | undefined) ?? reason)
      lines.push(line(i, o.kind, rule, place, from, o.createdAt))
    }
  }
  return inOrder(lines)
}

function line(
  account: number,
  act: string,
  rule: string,
  credential: string | number,
  from: string,
  at: string,
): Seen {
  const hour = (Date.parse(at) - Date.parse(from)) / 3_600_000
  return { what: `${account} ${act} ${rule} ${credential}`, hour }
}

function inOrder(seen: readonly Seen[]): readonly Seen[] {
  return seen.toSorted((a, b) => (a.what === b.what ? a.hour - b.hour : a.what < b.what ? -1 : 1))
}

/** What the two worlds do not agree on; a sweep later or earlier is the same. */
export function differences({ watched, enforced }: Comparison): readonly string[] {
  const rest = [...enforced]
  const odd = watched.filter(({ what, hour }) => {
    const i = rest.findIndex((r) => r.what === what && Math.abs(r.hour - hour) <= stepHours)
    if (i >= 0) rest.splice(i, 1)
    return i < 0
  })
  const told = (world: string) => (s: Seen) => `${world}: ${s.what} +${Math.round(s.hour)}h`
  return [...odd.map(told('would have')), ...rest.map(told('enforced'))]
}

export interface Comparison {
  readonly events: readonly string[]
  readonly watched: readonly Seen[]
  readonly enforced: readonly Seen[]
  /** What the watched world's accounts are, all of which the directory alone has touched. */
  readonly touched: readonly string[]
}

/** Two installations that differ in `enforcement` alone, to be played the same traffic. */
export async function startWorlds(): Promise<{
  play(seed: number, stretches: number): Promise<Comparison>
  close(): Promise<void>
}> {
  const [watched, enforced] = await Promise.all([start('observe'), start('enforce')])
  return {
    async play(seed, stretches) {
      const now = [watched.test.clock.now(), enforced.test.clock.now()].sort().at(-1)!
      for (const { test } of [watched, enforced]) test.clock.set(now)
      await Promise.all([populate(watched), populate(enforced)])
      const [plan] = fc.sample(traffic(stretches), { seed, numRuns: 1 })
      const events: string[] = []
      let name = 100
      for (const [stretch, happening] of plan!.entries()) {
        for (const world of [watched, enforced]) {
          world.test.clock.set(addSeconds(now, hours(stretch * stepHours) + 1_800))
          await world.test.worker.drain()
          await sweeps(world)
        }
        for (const e of happening) {
          // What enforcing refuses is no input that both have.
          const taken = await happen(enforced, e, ++name)
          const same = taken && (await happen(watched, e, name))
          if (taken)
            events.push(`+${stretch * stepHours}h ${JSON.stringify(e)} ${same ? '' : 'refused'}`)
        }
      }
      const operations = await Promise.all(
        watched.accounts.map((id) => watched.test.operations(id)),
      )
      return {
        events,
        watched: await watchedActs(watched, now),
        enforced: await enforcedActs(enforced, now),
        touched: operations
          .flat()
          .filter((o) => o.actor.type !== 'client')
          .map((o) => o.kind),
      }
    },
    async close() {
      await Promise.all([watched.test.close(), enforced.test.close()])
    },
  }
}
