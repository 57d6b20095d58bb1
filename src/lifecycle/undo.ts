import type { ServiceAccount, StatusReason } from '../domain/account.ts'
import { isHandedBack } from '../domain/account.ts'
import type { Credential, IssuedKey } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Operation } from '../domain/operation.ts'
import type { Person } from '../domain/owner.ts'
import { noNotices } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, replanned, save } from './context.ts'
import { capabilitiesOf } from './credential-terms.ts'
import { ownerState, planSave } from './people.ts'
import { reconcileActor } from './reconcile-findings.ts'

/** What comes back of one account, or why nothing of it does. */
export interface UndoItem {
  readonly account: string
  readonly userName: string
  /** `enable`: its keys work again; `withdraw`: the offer to an heir is taken back, keys stay. */
  readonly act: 'enable' | 'withdraw' | 'none' | 'cannot'
  /** One sentence for an operator; null when everything comes back. */
  readonly why: string | null
  readonly keys: readonly {
    readonly credential: string
    readonly keyId: string | null
    /** False: the key is gone, and a new one is issued in its place. */
    readonly same: boolean
  }[]
}

export interface UndoPlan {
  readonly cause: string
  readonly kind: Operation['kind']
  readonly person: { readonly id: string; readonly userName: string } | null
  readonly items: readonly UndoItem[]
}

export interface Undone {
  readonly plan: UndoPlan
  /** null for a dry run, and when there is nothing to take back. */
  readonly operation: Operation | null
}

interface Cause {
  /** The operation that began it: a leaving, or the switching off of one account. */
  readonly root: Operation
  readonly person: Person | null
  readonly accounts: readonly ServiceAccount[]
}

const accountsMax = 10_000
const pageSize = 200

/**
 * Takes back what one event did: the owner counts as there again, the keys that were switched off are
 * switched on, offers are withdrawn. The directory's next word counts again. Within the hold; what is
 * gone for good is listed. Repeating it changes nothing.
 * @param id a leaving or switching off (its operation), an entry of the feed or the audit, or anything
 *   that was done because of it
 * @throws forbidden, notFound, notUndoable
 */
export async function undoEvent(
  life: Lifecycle,
  caller: Caller,
  id: string,
  wish: { readonly reason: string | null; readonly dryRun: boolean },
): Promise<Undone> {
  const target = { type: 'tenant', id: caller.tenant } as const
  const decision = authorise(life, caller, 'event.undo', target)
  return replanned(async () => {
    const cause = await causeOf(life, caller, id)
    const plan = await planUndo(life, cause)
    if (wish.dryRun) return { plan, operation: null }
    if (!wish.reason) throw errors.reasonRequired({ action: 'undo an event' })
    const { root, person, accounts } = cause
    const isGone = person !== null && !person.active
    const isIdle = plan.items.every((item) => item.act === 'none')
    if (isIdle && !isGone) return { plan, operation: null }
    const lost = plan.items.filter((item) => item.act === 'cannot')
    if (lost.length > 0 && lost.length === plan.items.length) {
      const reason = lost.map((item) => `${item.userName}: ${item.why}`).join(' ')
      throw errors.notUndoable({ id, reason: reason.slice(0, 2_000) })
    }
    const operation = planOperation(life, {
      tenant: caller.tenant,
      kind: 'undo',
      subjectType: 'event',
      subject: root.id,
      account: null,
      provider: null,
      actor: caller.actor,
      memo: {
        cause: root.id,
        since: root.createdAt,
        reason: root.memo['reason'] ?? null,
        person: person?.id ?? null,
        accounts: person === null ? accounts.map((account) => account.id) : null,
      },
    })
    const facts: JsonObject = { cause: root.id, reason: wish.reason, accounts: plan.items.length }
    const changes: Change[] = [
      { type: 'enqueue', operation, preempt: false },
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'event.undone',
        target: { type: 'operation', id: root.id },
        decision,
        operation: operation.id,
        facts,
      }),
      ...stopped(life, root),
      ...(isGone ? revived(life, caller, person, { decision, facts }) : []),
    ]
    await save(life, changes, { what: 'Event', id: root.id })
    return { plan, operation }
  })
}

/** A fan-out that is still under way would go on closing accounts. */
function stopped(life: Lifecycle, root: Operation): readonly Change[] {
  if (root.kind !== 'leave' || root.finishedAt !== null) return []
  const now = life.clock.now()
  const failure = { code: 'preempted', message: 'the leaving was undone' }
  return [
    {
      type: 'advance',
      id: root.id,
      fence: root.fence,
      set: { status: 'cancelled', failure, finishedAt: now },
      release: true,
      at: now,
    },
  ]
}

function revived(
  life: Lifecycle,
  caller: Caller,
  person: Person,
  { decision, facts }: { readonly decision: ReturnType<typeof authorise>; facts: JsonObject },
): readonly Change[] {
  const now = life.clock.now()
  const { leavesAt = null } = person
  const next: Person = {
    ...person,
    ...noNotices,
    active: true,
    // One that has passed would let the next sweep, or write, do it all again.
    leavesAt: leavesAt !== null && leavesAt <= now ? null : leavesAt,
    leftAt: null,
    leftCause: null,
    releasedAt: null,
    deletedAt: null,
    updatedAt: now,
  }
  const write = { current: person, next, action: 'person.returned', decision }
  return planSave(life, caller, { ...write, operation: null, facts, more: [] }).changes
}

/** @throws notFound, notUndoable */
async function causeOf(life: Lifecycle, caller: Caller, id: string): Promise<Cause> {
  const { read } = life.store
  const { tenant } = caller
  const root = await rootOf(life, caller, id)
  if (root === null) throw errors.notFound({ what: 'Event', id })
  if (root.kind === 'disable') {
    const account = root.account === null ? null : await read.account(tenant, root.account)
    return { root, person: null, accounts: account ? [account] : [] }
  }
  if (root.kind !== 'leave') {
    const reason =
      root.kind === 'revoke' || root.kind === 'retire' || root.kind === 'delete'
        ? 'what was ended for good stays ended; request it anew.'
        : `it was of the kind "${root.kind}", which switched nothing off.`
    throw errors.notUndoable({ id, reason })
  }
  const person = await read.person(tenant, root.subject)
  if (person?.heldBy) {
    const reason = `the leaving is held by approval ${person.heldBy}; deny that instead.`
    throw errors.notUndoable({ id, reason })
  }
  // Who left a second time did so for a newer reason than this one.
  const isLater = person !== null && !person.active && person.leftCause !== root.id
  if (!person || isLater) {
    const reason = isLater
      ? `the person left again later; undo that: ${person.leftCause ?? 'it was never acted on'}.`
      : 'the person is not known any more.'
    throw errors.notUndoable({ id, reason })
  }
  const owned = await ownedBy(life, person)
  const known = new Set(owned.map((account) => account.id))
  return { root, person, accounts: [...owned, ...(await alsoTouched(life, root, known))] }
}

async function ownedBy({ store }: Lifecycle, person: Person): Promise<readonly ServiceAccount[]> {
  const accounts: ServiceAccount[] = []
  for (let after: string | null = null; accounts.length < accountsMax;) {
    const page: readonly ServiceAccount[] = await store.read.accountsOwnedBy(
      person.tenant,
      person.id,
      after,
      pageSize,
    )
    accounts.push(...page)
    if (page.length < pageSize) return accounts
    after = page.at(-1)!.id
  }
  return accounts
}

/** What changed hands, or was retired, since. */
export async function alsoTouched(
  { store }: Pick<Lifecycle, 'store'>,
  { tenant, id: cause }: Pick<Operation, 'tenant'> & { readonly id: string },
  known: ReadonlySet<string>,
): Promise<readonly ServiceAccount[]> {
  const ids = new Set<string>()
  for (let after: string | null = null; ;) {
    const page: readonly Operation[] = await store.read.operations({
      tenant,
      cause,
      after,
      limit: pageSize,
    })
    for (const { account } of page) if (account !== null && !known.has(account)) ids.add(account)
    if (page.length < pageSize) break
    after = page.at(-1)!.id
  }
  const accounts: ServiceAccount[] = []
  for (const id of ids) {
    const account = await store.read.account(tenant, id)
    if (account) accounts.push(account)
  }
  return accounts
}

/** The operation that an id of any sort leads to. */
async function rootOf({ store }: Lifecycle, caller: Caller, id: string): Promise<Operation | null> {
  const { read } = store
  const { tenant } = caller
  let at: string | null = id
  // A feed entry names an operation, which names its cause: two steps, and no circle.
  for (let step = 0; step < 4 && at !== null; step++) {
    const operation: Operation | null = await read.operation(tenant, at)
    if (operation) {
      if (operation.cause === operation.id) return operation
      const cause = await read.operation(tenant, operation.cause)
      return cause ?? operation
    }
    const entry: Awaited<ReturnType<typeof read.auditEntry>> = await read.auditEntry(tenant, at)
    const named: unknown = entry?.row.facts['cause']
    at = entry?.row.operation ?? (typeof named === 'string' ? named : null)
  }
  return null
}

async function planUndo(life: Lifecycle, { root, person, accounts }: Cause): Promise<UndoPlan> {
  const items: UndoItem[] = []
  for (const account of accounts) {
    const isOwned = person !== null && account.owner.id === person.id
    items.push(await itemOf(life, account, root, isOwned))
  }
  return {
    cause: root.id,
    kind: root.kind,
    person: person && { id: person.id, userName: person.userName },
    items,
  }
}

/** Why an account is off, when a leaving switched it off. */
const byLeaving: ReadonlySet<StatusReason | null> = new Set(['ownerLeft', 'ownerMissing'])

/**
 * What an undo does to one account as it is now.
 * @param returns whether its owner comes back with this undo
 */
export async function itemOf(
  life: Lifecycle,
  account: ServiceAccount,
  root: Pick<Operation, 'kind' | 'memo'> & { readonly id: string },
  returns: boolean,
): Promise<UndoItem> {
  const about = { account: account.id, userName: account.userName }
  const cannot = (why: string): UndoItem => ({ ...about, act: 'cannot', why, keys: [] })
  const now = life.clock.now()
  switch (account.status) {
    case 'requested':
    case 'provisioning':
    case 'active':
    case 'failed':
      return { ...about, act: 'none', why: null, keys: [] }
    case 'retiring':
    case 'retired':
      return cannot(
        isHandedBack(account) ? 'it was handed back since.' : 'it was retired for good.',
      )
    case 'orphaned':
      // Of another owner by now: then it is their leaving that offers it.
      return root.kind === 'leave' && returns
        ? { ...about, act: 'withdraw', why: null, keys: [] }
        : { ...about, act: 'none', why: null, keys: [] }
    case 'disabling':
    case 'disabled':
    case 'expired':
      break
  }
  const wanted = root.kind === 'leave' ? null : ((root.memo['reason'] ?? null) as StatusReason)
  const isOurs =
    wanted === null ? byLeaving.has(account.statusReason) : account.statusReason === wanted
  if (!isOurs) return cannot(`it is off for another reason (${account.statusReason ?? 'none'}).`)
  const last = await lastClosing(life, account)
  if (wanted === null && last !== null && !byLeaving.has(reasonOf(last))) {
    return cannot('somebody had switched it off by hand; enable it for new keys.')
  }
  if (wanted !== null && last !== null && last.id > root.id) {
    return cannot(`it was switched off again since; undo that: ${last.id}.`)
  }
  if (byLeaving.has(wanted) && (await ownerAtLeaving(life, account)) !== account.owner.id) {
    return cannot('whoever had it then is gone and knows its keys; enable it for new keys.')
  }
  if (wanted === 'leak') return cannot('its keys were found outside; enable it for new ones.')
  if (account.deleteAt !== null && account.deleteAt <= now) {
    return cannot(`the hold was over at ${account.deleteAt}.`)
  }
  if (account.expiresAt <= now) {
    return cannot(`its end date ${account.expiresAt} has come; move it and enable the account.`)
  }
  if (!returns && !(await ownerState(life, account.tenant, account.owner))?.active) {
    return cannot('its owner is gone; transfer it first.')
  }
  const keys = await keysOf(life, account)
  const replaced = keys.filter((key) => !key.same).length
  const why = replaced === 0 ? null : `${replaced} of ${keys.length} keys are gone and made anew.`
  return { ...about, act: 'enable', why, keys }
}

const reasonOf = ({ memo }: Operation) => (memo['reason'] ?? null) as StatusReason | null

/** Enough to look past what reconcile closed once more, which is nobody's decision. */
const closingsMax = 20

/**
 * A leaving marks what an operator has switched off as known to the leaver (`markPaused`), so the
 * account's own reason does not tell who closed it: what closed it last does.
 */
async function lastClosing({ store }: Lifecycle, { tenant, id }: ServiceAccount) {
  const query = { tenant, account: id, kind: 'disable', after: null, limit: closingsMax } as const
  const closings = await store.read.operations(query)
  return closings.find(({ actor }) => actor.id !== reconcileActor.id) ?? null
}

/** Who had the account when a leaving closed it; null when no entry tells. */
async function ownerAtLeaving({ store }: Lifecycle, { tenant, id }: ServiceAccount) {
  let owner: unknown = null
  for (let after: string | null = null; ;) {
    const query = { target: id, action: 'account.leaverDecided', after, limit: pageSize }
    const rows = await store.read.audit(tenant, query)
    owner = rows.at(-1)?.facts['owner'] ?? owner
    if (rows.length < pageSize) return owner
    after = rows.at(-1)!.id
  }
}

async function keysOf(life: Lifecycle, account: ServiceAccount): Promise<UndoItem['keys']> {
  const { read } = life.store
  const credentials = await read.credentialsOf(account.tenant, account.id)
  const keys = await read.keysOfAccount(account.tenant, account.id)
  return credentials
    .filter(({ status }) => status !== 'revoked' && status !== 'revoking' && status !== 'failed')
    .map((credential) => ({
      credential: credential.id,
      keyId: credential.keyId,
      same: comesBack(life, credential, keys),
    }))
}

function comesBack(life: Lifecycle, credential: Credential, keys: readonly IssuedKey[]): boolean {
  const key = keys.find(
    (k) => k.credential === credential.id && k.generation === credential.generation,
  )
  const isThere = key !== undefined && key.deletedAt === null && key.status !== 'revoked'
  return isThere && capabilitiesOf(life, credential)?.canDisable === true
}

/** Whether a key was switched off by what is being undone, and not by a rotation before it. */
export function endedSince(key: IssuedKey, since: Instant): boolean {
  return (
    key.status === 'disabled' &&
    key.deletedAt === null &&
    key.supersededAt !== null &&
    key.disabledAt !== null &&
    key.disabledAt >= since
  )
}
