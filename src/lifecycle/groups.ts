import { setImmediate } from 'node:timers/promises'
import { errors } from '../domain/errors.ts'
import type { Group, Member } from '../domain/group.ts'
import type { GroupId } from '../domain/ids.ts'
import { sameJson } from '../domain/json.ts'
import type { GroupWrite, MembersWrite, MemberWish } from '../domain/want.ts'
import type { Decision } from '../domain/audit.ts'
import { addSeconds } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save, visibilityOf } from './context.ts'
import { regrouped } from './scopes.ts'

/** Members per page when all of them have to be looked at, and ids per audit row. */
const pageSize = 500

/**
 * Members that come or go in one commit: 50 000 rows deleted at once would hold SQLite's writer, and
 * so everybody, for 160 ms, 5 000 added ones for 60.
 */
const movedMax = 1_000

export interface MemberOptions {
  /** Members that lead nowhere, or are of another type than said, are kept as they were sent. */
  readonly keepsUnknown: boolean
}

/** @throws notFound also when the caller may not see the group's directory (contract §6) */
export async function visibleGroup(life: Lifecycle, caller: Caller, id: string): Promise<Group> {
  const group = await life.store.read.group(caller.tenant, id)
  const { people } = visibilityOf(caller)
  const visible =
    group !== null &&
    group.deletedAt === null &&
    (people === 'all' || (people !== 'none' && people.directory === group.directory))
  if (!visible) throw errors.notFound({ what: 'Group', id })
  return group
}

/** @throws forbidden, displayNameTaken, externalIdTaken, memberUnknown */
export async function createGroup(
  life: Lifecycle,
  caller: Caller,
  want: GroupWrite,
  members: readonly MemberWish[],
  options: MemberOptions,
): Promise<Group> {
  const id = life.ids.next() as GroupId
  const directory = caller.client.directory ?? 'default'
  const decision = authorise(life, caller, 'group.create', { type: 'group', id, directory })
  const now = life.clock.now()
  const group: Group = {
    tenant: caller.tenant,
    id,
    directory,
    client: caller.client.id,
    displayName: want.displayName,
    externalId: want.externalId,
    emptiedAt: now,
    deletedAt: null,
    attributes: want.attributes,
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
  const add = await resolved(life, group, members, options.keepsUnknown)
  await save(
    life,
    [
      { type: 'group', group, expectedVersion: null },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'group.created',
        target: { type: 'group', id },
        decision,
        facts: { displayName: group.displayName, members: add.length },
      }),
      ...memberChanges(life, caller, group, decision, { expectedVersion: null, add, remove: [] }),
    ],
    { what: 'Group', id },
  )
  return group
}

/**
 * Writes a group's name and members, each only as far as it differs from what is there; a write that
 * changes nothing writes nothing, not even `lastModified`.
 * @param want.group null leaves everything but the members as it is
 * @param options.exact the caller decided on `current` (If-Match), so nobody may have written since
 * @returns whether anything was written
 * @throws forbidden, displayNameTaken, externalIdTaken, memberUnknown, changedMeanwhile
 */
export async function updateGroup(
  life: Lifecycle,
  caller: Caller,
  current: Group,
  want: { readonly group: GroupWrite | null; readonly members: MembersWrite },
  options: MemberOptions & { readonly exact: boolean },
): Promise<boolean> {
  const decision = authorise(life, caller, 'group.update', groupResource(current))
  const next: Group = { ...current, ...want.group }
  const changed = (['displayName', 'externalId', 'attributes'] as const).filter(
    (name) => !sameJson(current[name], next[name]),
  )
  const difference = await differenceOf(life, current, want.members, options)
  const renamed = changed.length > 0
  const moved = difference.add.length + difference.remove.length > 0
  if (!renamed && !moved) return false

  const changes: Change[] = []
  if (renamed) {
    changes.push(
      {
        type: 'group',
        group: { ...next, updatedAt: life.clock.now() },
        expectedVersion: current.version,
      },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'group.updated',
        target: { type: 'group', id: current.id },
        decision,
        facts: { changed, displayName: next.displayName },
      }),
    )
  }
  if (moved) {
    // A replacement was worked out against the members as read; an addition stands by itself.
    const guarded = !renamed && (options.exact || want.members.replace)
    changes.push(
      ...memberChanges(life, caller, current, decision, {
        ...part(difference, 0),
        expectedVersion: guarded ? current.version : null,
      }),
      ...(await regrouped(life, caller.tenant, current.id, caller.actor)),
    )
  }
  await save(life, changes, { what: 'Group', id: current.id })
  // What can be refused stood in the first commit; the rest can only meet another writer. To go on
  // with a replacement then would leave a mixture of two, so it is planned anew.
  const longest = Math.max(difference.add.length, difference.remove.length)
  let version = current.version + (renamed ? 2 : 1)
  for (let at = movedMax; at < longest; at += movedMax) {
    await setImmediate()
    const expectedVersion = want.members.replace ? version++ : null
    const rest = { ...part(difference, at), expectedVersion }
    const changes = [
      ...memberChanges(life, caller, current, decision, rest),
      ...(await regrouped(life, caller.tenant, current.id, caller.actor)),
    ]
    await save(life, changes, { what: 'Group', id: current.id })
  }
  return true
}

/**
 * DELETE: gone from SCIM at once. To the accounts it owns it is a group that has turned empty: they
 * have the policy's grace, and a group of the same name is another group.
 */
export async function deleteGroup(life: Lifecycle, caller: Caller, current: Group): Promise<void> {
  const decision = authorise(life, caller, 'group.delete', groupResource(current))
  const now = life.clock.now()
  const { tenant, id } = current
  const leaves = (remove: readonly string[]): Change => ({
    type: 'members',
    tenant,
    group: id,
    expectedVersion: null,
    replace: false,
    add: [],
    remove,
    at: now,
  })
  const leaving = async (): Promise<readonly string[]> =>
    (await life.store.read.members(tenant, id, null, movedMax)).map((member) => member.id)
  const first = await leaving()
  // Before it goes: around a group that is gone is nothing that anybody could read through it.
  for await (const some of pagesOf(membersOf(life, current))) {
    await save(life, [departed(life, current, some)], { what: 'Group', id })
  }
  await save(
    life,
    [
      {
        type: 'group',
        group: { ...current, deletedAt: now, updatedAt: now },
        expectedVersion: current.version,
      },
      leaves(first),
      { type: 'memberSwitched', tenant, member: id, gone: true, at: now },
      auditRow(life, {
        tenant,
        actor: caller.actor,
        action: 'group.deleted',
        target: { type: 'group', id },
        decision,
        facts: { displayName: current.displayName },
      }),
      ...(await regrouped(life, tenant, id, caller.actor)),
    ],
    { what: 'Group', id },
  )
  // Rows of a deleted group mean nothing to anybody; they go a part at a time.
  for (let rest = first; rest.length > 0;) {
    await setImmediate()
    rest = await leaving()
    if (rest.length > 0) await save(life, [leaves(rest)], { what: 'Group', id })
  }
}

function groupResource(group: Group) {
  return { type: 'group', id: group.id, directory: group.directory } as const
}

interface Difference {
  readonly add: readonly Member[]
  readonly remove: readonly string[]
}

const part = ({ add, remove }: Difference, at: number): Difference => ({
  add: add.slice(at, at + movedMax),
  remove: remove.slice(at, at + movedMax),
})

/** What has to be written to get there from the members as they are. */
async function differenceOf(
  life: Lifecycle,
  group: Group,
  want: MembersWrite,
  { keepsUnknown }: MemberOptions,
): Promise<Difference> {
  if (!want.replace) {
    const ids = [...want.add.map((m) => m.id), ...want.remove]
    const known = await life.store.read.membersAmong(group.tenant, group.id, ids)
    const there = new Set(known.map((m) => m.id))
    return {
      add: await resolved(
        life,
        group,
        want.add.filter((m) => !there.has(m.id)),
        keepsUnknown,
      ),
      remove: want.remove.filter((id) => there.has(id)),
    }
  }
  const wanted = new Map(want.add.map((m) => [m.id, m]))
  const gone: string[] = []
  for await (const member of membersOf(life, group)) {
    if (!wanted.delete(member.id)) gone.push(member.id)
  }
  return { add: await resolved(life, group, [...wanted.values()], keepsUnknown), remove: gone }
}

/** All members in order of id, a page at a time. */
export async function* membersOf(
  life: Pick<Lifecycle, 'store'>,
  group: Pick<Group, 'tenant' | 'id'>,
): AsyncGenerator<Member> {
  let after: string | null = null
  for (;;) {
    const page: readonly Member[] = await life.store.read.members(
      group.tenant,
      group.id,
      after,
      pageSize,
    )
    yield* page
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.id
    // A page is read at once: without a turn in between, 50 000 members would stop everybody else.
    await setImmediate()
  }
}

/**
 * Finds out what each member is. People and groups of another directory are unknown here, as
 * everywhere else to its clients.
 * @param keepsUnknown whether what is not known is kept as it was sent
 * @throws memberUnknown, invalidValue
 */
async function resolved(
  life: Lifecycle,
  group: Pick<Group, 'tenant' | 'directory'>,
  members: readonly MemberWish[],
  keepsUnknown: boolean,
): Promise<readonly Member[]> {
  const targets = await life.store.read.memberTargets(
    group.tenant,
    members.map((m) => m.id),
  )
  const known = new Map(
    targets
      .filter((t) => t.directory === null || t.directory === group.directory)
      .map((t) => [t.id, t.type]),
  )
  return members.map(({ id, type, display }) => {
    const found = known.get(id)
    if (found === undefined && !keepsUnknown) throw errors.memberUnknown({ member: id })
    if (found !== undefined && type !== undefined && type !== found && !keepsUnknown) {
      throw errors.invalidValue({ path: 'members.type', reason: `"${id}" is a ${found}.` })
    }
    return { id, type: found ?? type ?? 'User', display }
  })
}

/** The rows and the audit of them; who came to own what through a group must be found again. */
function memberChanges(
  life: Lifecycle,
  caller: Caller,
  group: Group,
  decision: Decision,
  change: Difference & { readonly expectedVersion: number | null },
): readonly Change[] {
  const { add, remove } = change
  if (add.length + remove.length === 0) return []
  const rows: Change[] = []
  const ids = [
    ...add.map((m) => ['added', m.id] as const),
    ...remove.map((id) => ['removed', id] as const),
  ]
  for (let at = 0; at < ids.length; at += pageSize) {
    const some = ids.slice(at, at + pageSize)
    const of = (what: string) => some.filter(([which]) => which === what).map(([, id]) => id)
    rows.push(
      auditRow(life, {
        tenant: group.tenant,
        actor: caller.actor,
        action: 'group.membersChanged',
        target: { type: 'group', id: group.id },
        decision,
        facts: { added: of('added'), removed: of('removed') },
      }),
    )
  }
  const at = life.clock.now()
  return [
    ...(remove.length === 0 ? [] : [departed(life, group, remove)]),
    {
      type: 'members',
      tenant: group.tenant,
      group: group.id,
      replace: false,
      ...change,
      at,
    },
    ...rows,
  ]
}

/** Of the policy's spans the shortest: whoever looks then decides for each account. */
function departed(
  life: Lifecycle,
  { tenant, id }: Pick<Group, 'tenant' | 'id'>,
  members: readonly string[],
): Change {
  const at = life.clock.now()
  const dueAt = addSeconds(at, life.policy().moverDebounce)
  return { type: 'departed', tenant, members, from: id, at, dueAt }
}

async function* pagesOf(members: AsyncIterable<Member>): AsyncGenerator<readonly string[]> {
  let page: string[] = []
  for await (const { id } of members) {
    page.push(id)
    if (page.length === movedMax) yield page.splice(0)
  }
  if (page.length > 0) yield page
}
