import type { DirectoryMove, MatchKey, Moved } from '../domain/directory-move.ts'
import { matchKeyOf } from '../domain/directory-move.ts'
import { errors } from '../domain/errors.ts'
import type { Group } from '../domain/group.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import { engagedBrakes } from './brakes.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'

const pageSize = 500
/** Of what a plan lists, so many are named; the counts are of all. */
const namedMax = 100

export interface MoveWish {
  readonly from: string
  readonly to: string
  readonly match: MatchKey
}

/** What a move would do, and whom it could not recognise. Nothing is written. */
export interface MovePlan extends MoveWish {
  readonly people: number
  readonly groups: number
  /** There in both directories already: what hangs on the old one goes over to the new one. */
  readonly twins: number
  readonly groupTwins: number
  /** Several in one directory with the same key: nobody is recognised by it. */
  readonly ambiguous: readonly { readonly key: string; readonly people: readonly string[] }[]
  /** Without a key: recognised by userName alone, when the new directory asks for that. */
  readonly keyless: { readonly count: number; readonly people: readonly string[] }
}

interface Read {
  readonly plan: MovePlan
  readonly people: readonly { readonly person: Person; readonly key: string | null }[]
  readonly twinOf: ReadonlyMap<string, string>
  readonly groups: readonly Group[]
}

/** @throws forbidden, invalidValue, wrongState while a brake holds leavings of either */
export async function planMove(life: Lifecycle, caller: Caller, wish: MoveWish): Promise<MovePlan> {
  authorise(life, caller, 'directory.move', { type: 'tenant', id: caller.tenant })
  return (await readBoth(life, caller.tenant, wish)).plan
}

/**
 * All people and groups of one directory become another's in one commit, with their ids: whoever owns
 * an account owns it still. From then on the old directory's clients see none of them, so that what
 * they still send ends nothing; whoever the new one creates is recognised by the key.
 * @throws forbidden, invalidValue, wrongState, busy while another move is open
 */
export async function openMove(
  life: Lifecycle,
  caller: Caller,
  wish: MoveWish,
): Promise<DirectoryMove> {
  const { tenant, actor } = caller
  const target = { type: 'tenant', id: tenant } as const
  const decision = authorise(life, caller, 'directory.move', target)
  const { plan, people, groups, twinOf } = await readBoth(life, tenant, wish)
  const { from, to, match, ambiguous: _, keyless: __, ...counts } = plan
  if (people.length + groups.length === 0) {
    const reason = `nobody is in "${from}"; nothing was moved.`
    throw errors.invalidValue({ path: 'from', reason })
  }
  const id = life.ids.next()
  const move: DirectoryMove = {
    tenant,
    id,
    from,
    to,
    match,
    status: 'open',
    stage: 'groups',
    after: null,
    facts: counts,
    openedAt: life.clock.now(),
    openedBy: actor.name,
    finishedAt: null,
  }
  const rowOf = (type: Moved['type'], subject: string, key: string | null): Moved => ({
    tenant,
    move: id,
    type,
    subject: subject as Moved['subject'],
    key,
    state: 'waiting',
    twin: twinOf.get(subject) ?? null,
    oldWordAt: null,
  })
  const rows = [
    ...people.map(({ person, key }) => rowOf('User', person.id, key)),
    ...groups.map((group) => rowOf('Group', group.id, null)),
  ]
  // Before it opens: nobody may arrive and not be recognised.
  for (let at = 0; at < rows.length; at += pageSize) {
    const moved = rows.slice(at, at + pageSize)
    await save(life, [{ type: 'moved', moved }], { what: 'Directory', id: from })
  }
  const except = groups.filter((group) => twinOf.has(group.id)).map((group) => group.id)
  await save(
    life,
    [
      { type: 'moveOpened', move, except },
      auditRow(life, {
        tenant,
        actor,
        decision,
        action: 'directory.moveOpened',
        target,
        facts: { move: id, from, to, match, ...counts },
      }),
    ],
    { what: 'Directory', id: from },
  )
  return move
}

async function readBoth(life: Lifecycle, tenant: TenantId, wish: MoveWish): Promise<Read> {
  const { from, to, match } = wish
  const other = await life.store.read.openMove(tenant)
  if (other) {
    const status = `being moved to "${other.to}" (move ${other.id})`
    throw errors.wrongState({ what: 'Directory', id: other.from, status, action: 'moved' })
  }
  if (from === to) throw errors.invalidValue({ path: 'to', reason: 'is the same as "from".' })
  const held = (await engagedBrakes(life)).find(
    (b) => b.tenant === tenant && b.name === 'leavers' && (b.subject === from || b.subject === to),
  )
  if (held) {
    const status = 'holding leavings that nobody has decided on'
    throw errors.wrongState({ what: 'Directory', id: held.subject, status, action: 'moved' })
  }
  const [old, there] = [
    await keyed(life, tenant, from, match),
    await keyed(life, tenant, to, match),
  ]
  const ambiguous = [...old.byKey, ...there.byKey].filter(([, people]) => people.length > 1)
  const shared = new Set(ambiguous.map(([key]) => key))
  const people = old.people.map(({ person, key }) => ({
    person,
    key: key === null || shared.has(key) ? null : key,
  }))
  const twinOf = new Map<string, string>()
  for (const { person, key } of people) {
    const twin = key === null ? undefined : there.byKey.get(key)?.[0]
    if (twin !== undefined) twinOf.set(person.id, twin)
  }
  const [groups, others] = [await groupsIn(life, tenant, from), await groupsIn(life, tenant, to)]
  const named = new Map(others.map((group) => [group.displayName.toLowerCase(), group.id]))
  for (const group of groups) {
    const twin = named.get(group.displayName.toLowerCase())
    if (twin !== undefined) twinOf.set(group.id, twin)
  }
  const groupTwins = groups.filter((group) => twinOf.has(group.id)).length
  const keyless = old.people.filter(({ key }) => key === null)
  return {
    people,
    groups,
    twinOf,
    plan: {
      from,
      to,
      match,
      people: people.length,
      groups: groups.length,
      groupTwins,
      twins: twinOf.size - groupTwins,
      ambiguous: ambiguous.slice(0, namedMax).map(([key, ids]) => ({ key, people: ids })),
      keyless: {
        count: keyless.length,
        people: keyless.slice(0, namedMax).map(({ person }) => person.id),
      },
    },
  }
}

async function keyed({ store }: Lifecycle, tenant: TenantId, directory: string, match: MatchKey) {
  const people: { readonly person: Person; readonly key: string | null }[] = []
  const byKey = new Map<string, string[]>()
  for (let after: string | null = null; ;) {
    const page: readonly Person[] = await store.read.peopleOfDirectory(
      tenant,
      directory,
      after,
      pageSize,
    )
    for (const person of page) {
      const key = matchKeyOf(person, match)
      people.push({ person, key })
      if (key !== null) byKey.set(key, [...(byKey.get(key) ?? []), person.id])
    }
    if (page.length < pageSize) return { people, byKey }
    after = page.at(-1)!.id
  }
}

async function groupsIn({ store }: Lifecycle, tenant: TenantId, directory: string) {
  const groups: Group[] = []
  for (let after: string | null = null; ;) {
    const page: readonly Group[] = await store.read.groupsOfDirectory(
      tenant,
      directory,
      after,
      pageSize,
    )
    groups.push(...page)
    if (page.length < pageSize) return groups
    after = page.at(-1)!.id
  }
}

/** @throws notFound */
export async function visibleMove(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<DirectoryMove> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  const move = await life.store.read.move(caller.tenant, id)
  if (!move) throw errors.notFound({ what: 'Directory move', id })
  return move
}

/**
 * Who arrives while a move to their directory is open, and was in the old one: the same person, with
 * everything they own. null when nobody is recognised.
 */
export async function recognised(
  { store }: Pick<Lifecycle, 'store'>,
  tenant: TenantId,
  directory: string,
  want: Pick<Person, 'userName' | 'attributes'>,
): Promise<{ readonly person: Person; readonly move: string } | null> {
  const move = await store.read.openMove(tenant)
  if (move?.to !== directory) return null
  const key = matchKeyOf(want, move.match)
  const row = key === null ? null : await store.read.movedByKey(tenant, move.id, key)
  if (!row || row.twin !== null) return null
  const person = await store.read.person(tenant, row.subject)
  const isThere = person !== null && person.deletedAt === null && person.directory === directory
  return isThere ? { person, move: move.id } : null
}

/** The move that somebody's new directory has spoken in; null when none is open or it is not theirs. */
export async function confirmedBy(
  { store }: Pick<Lifecycle, 'store'>,
  caller: Caller,
  person: Person,
): Promise<{ readonly move: string; readonly waits: boolean } | null> {
  const move = await store.read.openMove(caller.tenant)
  if (move?.to !== person.directory || caller.client.directory !== move.to) return null
  const row = await store.read.movedOne(caller.tenant, move.id, person.id)
  return row && { move: move.id, waits: row.state === 'waiting' }
}

/**
 * A client of the old directory wrote somebody whom it does not see any more. Nothing comes of it,
 * but whoever finishes the move learns that it spoke.
 */
export async function heardFromOld(
  life: Lifecycle,
  caller: Caller,
  id: string,
  method: string,
): Promise<void> {
  const { tenant, client } = caller
  if (client.role !== 'directory') return
  const move = await life.store.read.openMove(tenant)
  if (move?.from !== client.directory) return
  if (!(await life.store.read.movedOne(tenant, move.id, id))) return
  await life.store.commit([
    { type: 'movedOldWord', tenant, move: move.id, subject: id, at: life.clock.now() },
    auditRow(life, {
      tenant,
      actor: caller.actor,
      action: 'person.oldDirectoryWrote',
      target: { type: 'person', id },
      facts: { move: move.id, method },
    }),
  ])
}
