import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { DirectoryMove, Moved, MoveStage } from '../domain/directory-move.ts'
import { errors } from '../domain/errors.ts'
import type { Group, Member } from '../domain/group.ts'
import type { GroupId } from '../domain/ids.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, replanned, save } from './context.ts'
import { visibleMove } from './directory-move.ts'
import { deleteGroup, membersOf } from './groups.ts'

/** Looked at in one request. */
const pageSize = 200
const membersMax = 500

const following: Readonly<Record<MoveStage, MoveStage>> = {
  groups: 'accounts',
  accounts: 'credentials',
  credentials: 'doubles',
  doubles: 'done',
  done: 'done',
}

interface Work {
  readonly life: Lifecycle
  readonly caller: Caller
  readonly move: DirectoryMove
  /** From the old id to the new one, of people and groups. */
  readonly twins: ReadonlyMap<string, string>
}

/**
 * Does one page of what is left of a move, and remembers where it stands: whoever was there twice
 * hands what hangs on the old one to the new one. May be repeated at any point.
 * @throws notFound, forbidden
 */
export async function advanceMove(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<DirectoryMove> {
  authorise(life, caller, 'directory.move', { type: 'tenant', id: caller.tenant })
  const move = await visibleMove(life, caller, id)
  if (move.status !== 'open' || move.stage === 'done') return move
  const rows = await twinRows(life, move)
  const twins = new Map(rows.map(({ subject, twin }) => [subject as string, twin!]))
  const work: Work = { life, caller, move, twins }
  const after = twins.size === 0 ? null : await pageOf(work, rows)
  const next: DirectoryMove =
    after === null ? { ...move, stage: following[move.stage], after: null } : { ...move, after }
  const from = { stage: move.stage, after: move.after }
  // Lost to another one who works on it: what was done is done, and they stand further.
  await life.store.commit([{ type: 'moveAdvanced', move: next, from }])
  return visibleMove(life, caller, id)
}

async function twinRows(life: Lifecycle, move: DirectoryMove): Promise<readonly Moved[]> {
  const rows: Moved[] = []
  for (let after: string | null = null; ;) {
    const page: readonly Moved[] = await life.store.read.movedAfter(
      move.tenant,
      move.id,
      after,
      1_000,
    )
    rows.push(...page.filter((row) => row.twin !== null))
    if (page.length < 1_000) return rows
    after = page.at(-1)!.subject
  }
}

/** @returns where the next page starts; null when the stage is over */
async function pageOf(work: Work, rows: readonly Moved[]): Promise<string | null> {
  const { life, move } = work
  const { tenant, after } = move
  if (move.stage === 'accounts') {
    const page = await life.store.read.accountsAfter(tenant, after, pageSize)
    for (const account of page) await repoint(work, account)
    return page.length < pageSize ? null : page.at(-1)!.id
  }
  if (move.stage === 'credentials') {
    const page = await life.store.read.credentialsAfter(tenant, after, pageSize)
    for (const credential of page) await reread(work, credential)
    return page.length < pageSize ? null : page.at(-1)!.id
  }
  const some = rows.filter((row) => after === null || row.subject > after).slice(0, pageSize)
  if (move.stage === 'groups') await nest(work, some)
  for (const row of some) {
    await (move.stage === 'groups' ? join(work, row) : endDouble(work, row))
  }
  return some.length < pageSize ? null : some.at(-1)!.subject
}

const additionTo = (
  { tenant }: DirectoryMove,
  group: string,
  add: readonly Member[],
  at: Instant,
): Change => ({
  type: 'members',
  tenant,
  group: group as GroupId,
  expectedVersion: null,
  replace: false,
  add,
  remove: [],
  at,
})

/** A group that is there only once, around one that goes: without the new one it would be empty. */
async function nest({ life, move, twins }: Work, rows: readonly Moved[]): Promise<void> {
  const { tenant, to } = move
  const old = rows.filter((row) => row.type === 'Group').map((row) => row.subject)
  if (old.length === 0) return
  for (let after: string | null = null; ;) {
    const page: readonly Group[] = await life.store.read.groupsOfDirectory(
      tenant,
      to,
      after,
      pageSize,
    )
    for (const { id } of page) {
      const inside = await life.store.read.membersAmong(tenant, id, old)
      const add = inside.map((member) => ({ ...member, id: twins.get(member.id)! }))
      if (add.length === 0) continue
      const change = additionTo(move, id, add, life.clock.now())
      await save(life, [change], { what: 'Group', id })
    }
    if (page.length < pageSize) return
    after = page.at(-1)!.id
  }
}

/** The new one is wherever the old one was, so that no group is empty in between. */
async function join({ life, move, twins }: Work, { type, subject, twin }: Moved): Promise<void> {
  const { tenant } = move
  const at = life.clock.now()
  const put = (group: string, add: readonly Member[]) => additionTo(move, group, add, at)
  const changes: Change[] = []
  if (type === 'User') {
    const member: Member = { id: twin!, type: 'User', display: null }
    for (const group of await life.store.read.groupsOf(tenant, subject)) {
      changes.push(put(group.id, [member]))
    }
  } else {
    const old = await life.store.read.group(tenant, subject)
    if (!old || old.deletedAt !== null) return
    let add: Member[] = []
    for await (const member of membersOf(life, old)) {
      add.push({ ...member, id: twins.get(member.id) ?? member.id })
      if (add.length === membersMax) changes.push(put(twin!, add.splice(0)))
    }
    if (add.length > 0) changes.push(put(twin!, add))
  }
  for (const change of changes) await save(life, [change], { what: 'Group', id: subject })
}

async function repoint(work: Work, seen: ServiceAccount): Promise<void> {
  const { life, caller, move, twins } = work
  const { tenant, id } = seen
  const other = <T extends OwnerRef>(ref: T): T => {
    const twin = twins.get(ref.id)
    return twin === undefined ? ref : { ...ref, id: twin }
  }
  const moved = (account: ServiceAccount): ServiceAccount => ({
    ...account,
    owner: other(account.owner),
    pendingOwner: account.pendingOwner && other(account.pendingOwner),
    backups: account.backups.map(other),
  })
  await replanned(async () => {
    const account = await life.store.read.account(tenant, id)
    if (!account) return
    const next = moved(account)
    if (JSON.stringify(next) === JSON.stringify(account)) return
    await save(
      life,
      [
        {
          type: 'account',
          account: { ...next, updatedAt: life.clock.now() },
          expectedVersion: account.version,
        },
        auditRow(life, {
          tenant,
          actor: caller.actor,
          action: 'account.ownerMoved',
          target: { type: 'account', id },
          facts: { move: move.id, from: account.owner.id, to: next.owner.id },
        }),
      ],
      { what: 'Account', id },
    )
  })
}

async function reread({ life, twins }: Work, seen: Credential): Promise<void> {
  const named = [...seen.readers, ...seen.scopesFrom.map(({ group }) => group)]
  if (!named.some((id) => twins.has(id))) return
  await replanned(async () => {
    const credential = await life.store.read.credential(seen.tenant, seen.id)
    if (!credential) return
    const readers = credential.readers.map((id) => twins.get(id) ?? id)
    // Or the end of the old group would take what it grants, and with it what consumers may do.
    const scopesFrom = credential.scopesFrom.map((grant) => {
      return { ...grant, group: twins.get(grant.group) ?? grant.group }
    })
    const next = { ...credential, readers, scopesFrom, updatedAt: life.clock.now() }
    await save(
      life,
      [{ type: 'credential', credential: next, expectedVersion: credential.version }],
      { what: 'Credential', id: seen.id },
    )
  })
}

/** Nothing hangs on the old one any more: it goes, and nobody has left. */
async function endDouble(
  { life, caller, move }: Work,
  { type, subject, twin }: Moved,
): Promise<void> {
  const { tenant } = move
  const [owned] = await life.store.read.accountsOwnedBy(tenant, subject, null, 1)
  if (owned) {
    const status = 'still owned by somebody who is there twice'
    throw errors.wrongState({ what: 'Account', id: owned.id, status, action: 'left behind' })
  }
  if (type === 'Group') {
    const group = await life.store.read.group(tenant, subject)
    if (group && group.deletedAt === null) await deleteGroup(life, caller, group)
    return
  }
  await replanned(async () => {
    const person = await life.store.read.person(tenant, subject)
    if (!person || person.deletedAt !== null) return
    const now = life.clock.now()
    const gone = { active: false, leftAt: person.leftAt ?? now, deletedAt: now, updatedAt: now }
    await save(
      life,
      [
        { type: 'person', person: { ...person, ...gone }, expectedVersion: person.version },
        { type: 'memberSwitched', tenant, member: subject, gone: true, at: now },
        auditRow(life, {
          tenant,
          actor: caller.actor,
          action: 'person.merged',
          target: { type: 'person', id: subject },
          facts: { move: move.id, into: twin },
        }),
      ],
      { what: 'User', id: subject },
    )
  })
}

export interface MoveEnd {
  readonly move: DirectoryMove
  /** Of whom the new directory has said nothing, owners first counted. */
  readonly waiting: number
  readonly waitingOwners: readonly string[]
}

/**
 * Ends a move: from now on nobody is recognised any more. Who was never confirmed stays as they are;
 * the old directory has no word any more and the new one had none, so a person has to look.
 * @throws notFound, forbidden, wrongState before it is done, or when owners wait and `force` is not set
 */
export async function finishMove(
  life: Lifecycle,
  caller: Caller,
  id: string,
  { force }: { readonly force: boolean },
): Promise<MoveEnd> {
  const { tenant, actor } = caller
  const target = { type: 'tenant', id: tenant } as const
  const decision = authorise(life, caller, 'directory.move', target)
  const move = await visibleMove(life, caller, id)
  const { waiting, confirmed, owners } = await tally(life, move)
  if (move.status === 'finished') return { move, waiting, waitingOwners: owners }
  const refuse = (status: string) =>
    errors.wrongState({ what: 'Directory move', id, status, action: 'finished' })
  if (move.stage !== 'done') throw refuse(`at its stage "${move.stage}"`)
  if (owners.length > 0 && !force) {
    throw refuse(
      `waiting for ${owners.length} owner(s) of whom "${move.to}" has said nothing (send force: true to leave them as they are)`,
    )
  }
  const finished: DirectoryMove = {
    ...move,
    status: 'finished',
    facts: { ...move.facts, confirmed, waiting, waitingOwners: owners.length },
    finishedAt: life.clock.now(),
  }
  await save(
    life,
    [
      { type: 'moveAdvanced', move: finished, from: { stage: 'done', after: move.after } },
      auditRow(life, {
        tenant,
        actor,
        decision,
        action: 'directory.moveFinished',
        target,
        facts: { move: id, confirmed, waiting, waitingOwners: owners },
      }),
    ],
    { what: 'Directory move', id },
  )
  return { move: finished, waiting, waitingOwners: owners }
}

async function tally({ store }: Lifecycle, move: DirectoryMove) {
  const owners: string[] = []
  let [waiting, confirmed] = [0, 0]
  for (let after: string | null = null; ;) {
    const page: readonly Moved[] = await store.read.movedAfter(move.tenant, move.id, after, 1_000)
    for (const { type, twin, state, subject } of page) {
      if (type === 'Group' || twin !== null) continue
      if (state !== 'waiting') {
        confirmed++
        continue
      }
      const person = await store.read.person(move.tenant, subject)
      // Who had left before has nothing to be confirmed.
      if (!person?.active) continue
      waiting++
      const owned = await store.read.accountsOwnedBy(move.tenant, subject, null, 1)
      if (owned.length > 0) owners.push(subject)
    }
    if (page.length < 1_000) return { waiting, confirmed, owners }
    after = page.at(-1)!.subject
  }
}
