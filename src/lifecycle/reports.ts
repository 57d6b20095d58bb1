import { setImmediate } from 'node:timers/promises'
import type { ServiceAccount } from '../domain/account.ts'
import { consumersOf, movedAfter } from '../domain/consumer.ts'
import { isHandedBack } from '../domain/account.ts'
import type { Credential, IssuedKey, ProbeOutcome } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import { secondsBetween } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { LeaveClass, LeaveNotice, Person } from '../domain/owner.ts'
import { termsOf } from './credential-terms.ts'
import { lastUseOf } from './credentials.ts'
import type { KeyEvidence } from './evidence.ts'
import { evidenceOf } from './evidence.ts'
import { servedBefore } from './leaver.ts'
import { verdictOn } from './offboard.ts'
import type { KeyByHand } from './handwork.ts'
import { handwork } from './handwork.ts'
import type { Removal, Removals } from './steps/remove-person.ts'
import { visibleOwner } from './visible.ts'

const pageSize = 100

/** What leaving would do to one account, credential by credential, and by which rule. */
export interface ImpactRow {
  readonly account: string
  readonly userName: string
  readonly status: ServiceAccount['status']
  readonly environment: string | null
  readonly decision: 'none' | 'offer' | 'disable'
  readonly rule: string
  /** Until when nothing is decided, since the policy lets this sort of leaving rest; else null. */
  readonly graceUntil: Instant | null
  readonly offeredTo: string | null
  /** Whom it waits for now, where it was put on offer ahead of a leave date. */
  readonly plannedOffer: string | null
  readonly disableAt: Instant | null
  /** Consumers that cache for longer than the old keys live beside the new ones. */
  readonly stillCachedBy: readonly string[]
  readonly lastUsedAt: Instant | null
  /** Of an owner who is held, or in grace: what follows when that ends, as of now; else null. */
  readonly whenReleased: { readonly decision: string; readonly rule: string } | null
  readonly credentials: readonly {
    readonly id: string
    readonly provider: string
    readonly kind: string
    readonly status: string
    readonly lastUsedAt: Instant | null
  }[]
}

/** Accounts looked at before others have their turn: each takes some 60 µs. */
const turnEvery = 20

/**
 * Exactly what the engine would decide now: it asks the deciding function itself (contract §5).
 * @param page by account id; everything when omitted
 */
export async function impactOf(
  life: Lifecycle,
  caller: Caller,
  id: string,
  page: { readonly after: string | null; readonly limit: number } = {
    after: null,
    limit: Infinity,
  },
): Promise<readonly ImpactRow[]> {
  const person = await visibleOwner(life, caller, id)
  authorise(life, caller, 'owner.impact', { type: 'person', id, directory: person.directory })
  const rows: ImpactRow[] = []
  for await (const account of accountsOf(life, person, page.after)) {
    if (rows.length >= page.limit) break
    const { decision, credentials } = await verdictOn(life, account, { assumeLeft: true })
    const offer = decision.action === 'offer' ? decision : null
    const released =
      decision.rule === 'held' || decision.rule === 'grace'
        ? (await verdictOn(life, account, { assumeReleased: true })).decision
        : null
    rows.push({
      account: account.id,
      userName: account.userName,
      status: account.status,
      environment: account.environment,
      decision: decision.action,
      rule: decision.rule,
      graceUntil: 'until' in decision ? decision.until : null,
      offeredTo: offer?.to?.id ?? null,
      plannedOffer: account.plannedFor ? (account.pendingOwner?.id ?? null) : null,
      disableAt: offer?.disableAt ?? null,
      stillCachedBy: offer ? outlasting(life, account) : [],
      lastUsedAt: lastUseOf(credentials),
      whenReleased: released && { decision: released.action, rule: released.rule },
      credentials: credentials.map(({ id, provider, kind, status, lastUsedAt }) => ({
        id,
        provider,
        kind,
        status,
        lastUsedAt,
      })),
    })
  }
  return rows
}

/** Consumers that may still hold the old key when a leaver's overlap is over. */
function outlasting(life: Lifecycle, account: ServiceAccount): readonly string[] {
  const { overlap } = termsOf(life, account).leaver
  return consumersOf(account)
    .filter((consumer) => (movedAfter(consumer) ?? Infinity) > overlap)
    .map(({ name }) => name)
}

async function* accountsOf(
  life: Lifecycle,
  person: Person,
  from: string | null = null,
): AsyncGenerator<ServiceAccount> {
  let after = from
  for (;;) {
    const page: readonly ServiceAccount[] = await life.store.read.accountsOwnedBy(
      person.tenant,
      person.id,
      after,
      pageSize,
    )
    for (const [i, account] of page.entries()) {
      if (i % turnEvery === 0) await setImmediate()
      yield account
    }
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.id
  }
}

/** What is still in that person's name, and what the leaving acted on and an heir holds by now. */
async function* accountsAtLeaving(life: Lifecycle, person: Person): AsyncGenerator<ServiceAccount> {
  const seen = new Set<string>()
  for await (const account of accountsOf(life, person)) {
    seen.add(account.id)
    yield account
  }
  let after: string | null = null
  for (;;) {
    const page: readonly Operation[] =
      person.leftCause === null
        ? []
        : await life.store.read.operations({
            tenant: person.tenant,
            cause: person.leftCause,
            after,
            limit: pageSize,
          })
    for (const [i, { account: id }] of page.entries()) {
      if (i % turnEvery === 0) await setImmediate()
      if (id === null || seen.has(id)) continue
      seen.add(id)
      const account = await life.store.read.account(person.tenant, id)
      if (account) yield account
    }
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.id
  }
}

/** One key the leaver may have known, and what became of it. Durations are seconds since `receivedAt`. */
export interface OffboardingKey {
  readonly credential: string
  readonly account: string
  readonly userName: string
  readonly provider: string
  readonly kind: string
  readonly generation: number
  readonly keyId: string
  readonly receivedAt: Instant
  /** When its secret was used and accepted, before consumers got it; null where that cannot be tried. */
  readonly acceptedAt: Instant | null
  readonly switchedOffAt: Instant | null
  readonly refusedAt: Instant | null
  readonly settledAt: Instant | null
  readonly outcome: ProbeOutcome | null
  /** Refusals in a row that prove it dead; null when it was not tried. */
  readonly tries: number | null
  readonly switchedOffSeconds: number | null
  readonly provenDeadSeconds: number | null
  /** Where only a person could end it: not provable by us until they showed evidence. */
  readonly byHand: KeyByHand | null
}

/** How old the word was when it came, where whoever declared the leaving said since when it is true. */
export interface LeaveSignal {
  readonly receivedAt: Instant
  readonly sentAt: Instant
  readonly ageSeconds: number
}

/** What a provider ended of the person's own there. */
export interface OffboardingRemoval extends Removal {
  readonly provider: string
}

export interface OffboardingReport {
  readonly owner: string
  readonly userName: string
  readonly receivedAt: Instant | null
  /** What the latest word was; every word with its time is in `notices`. */
  readonly leftClass: LeaveClass | null
  readonly notices: readonly LeaveNotice[]
  /** null from a directory: SCIM says what is, not since when. */
  readonly signal: LeaveSignal | null
  /** Set when the mass-leave brake held the leaving: who held it, and when it was let through. */
  readonly heldBy: string | null
  readonly releasedAt: Instant | null
  readonly keys: readonly OffboardingKey[]
  /** What the person held at providers themselves: memberships, grants of personal tokens. */
  readonly removals: readonly OffboardingRemoval[]
  /** Accounts that left Custody with their keys: nothing here says what became of them. */
  readonly handedBack: readonly {
    readonly account: string
    readonly userName: string
    readonly at: Instant | null
  }[]
  /** Keys of the leaver that are not proven dead: neither refused when tried nor absent. */
  readonly open: number
  readonly verdict: 'complete' | 'incomplete' | 'notLeft' | 'held'
}

/** The evidence that somebody is gone: every key that person's accounts had when they left. */
export async function offboardingReport(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<OffboardingReport> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  // A deleted person is exactly who an auditor asks about, so SCIM's 404 does not apply here.
  const person = await life.store.read.person(caller.tenant, id)
  if (!person) throw errors.notFound({ what: 'Owner', id })
  const receivedAt = person.leftAt
  const keys: OffboardingKey[] = []
  if (receivedAt !== null) {
    for await (const account of accountsAtLeaving(life, person)) {
      const credentials = await life.store.read.credentialsOf(person.tenant, account.id)
      const byHand = await handwork(life, account)
      for (const credential of credentials) {
        const issued = await life.store.read.keysOf(person.tenant, credential.id)
        const known = issued.filter((k) => knownToLeaver(k, receivedAt))
        if (known.length === 0) continue
        const evidence = await evidenceOf(life, credential)
        for (const key of known) {
          const row = rowOf(account, credential, key, receivedAt, evidence(key.keyId))
          keys.push({ ...row, ...byHand(key) })
        }
      }
    }
  }
  const open = keys.filter(isOpenKey).length
  const leaving = await leavingOf(life, person)
  const removals = removalsOf(leaving)
  return {
    owner: person.id,
    userName: person.userName,
    receivedAt,
    leftClass: person.leftClass ?? null,
    notices: person.notices ?? [],
    signal: signalOf(leaving),
    heldBy: person.heldBy,
    releasedAt: person.releasedAt,
    keys,
    removals,
    handedBack: await handedBackOf(life, person),
    open,
    verdict: verdictOf(person, open + removals.filter(({ done }) => !done).length),
  }
}

async function handedBackOf(
  { store }: Lifecycle,
  { tenant, id }: Person,
): Promise<OffboardingReport['handedBack']> {
  const found: ServiceAccount[] = []
  for (let after: string | null = null; ;) {
    const page: readonly ServiceAccount[] = await store.read.retiredAccountsOf(
      tenant,
      id,
      after,
      pageSize,
    )
    found.push(...page.filter(isHandedBack))
    if (page.length < pageSize) break
    after = page.at(-1)!.id
  }
  return found.map(({ id: account, userName, retiredAt: at }) => ({ account, userName, at }))
}

/** Neither refused, nor absent, nor shown to be over by whoever had to end it by hand. */
function isOpenKey({ outcome, byHand }: OffboardingKey): boolean {
  if (outcome === 'refused' || outcome === 'absent') return false
  return outcome !== 'untestable' || byHand?.status !== 'done'
}

/** The operation that handles the leaving; null while there is none. */
async function leavingOf(
  life: Lifecycle,
  { tenant, leftAt, leftCause }: Person,
): Promise<Operation | null> {
  if (leftAt === null || leftCause === null) return null
  // A stronger word in the grace of the first has an operation of its own, and the same cause.
  const query = { tenant, cause: leftCause, kind: 'leave', after: null, limit: 1 } as const
  const [latest] = await life.store.read.operations(query)
  return latest ?? null
}

function signalOf(leaving: Operation | null): LeaveSignal | null {
  const sentAt = (leaving?.memo['since'] ?? null) as Instant | null
  if (!leaving || sentAt === null) return null
  const receivedAt = leaving.createdAt
  return { receivedAt, sentAt, ageSeconds: secondsBetween(sentAt, receivedAt) }
}

function removalsOf(leaving: Operation | null): readonly OffboardingRemoval[] {
  const removals = (leaving?.memo['removals'] ?? {}) as unknown as Removals
  return Object.entries(removals).map(([provider, removal]) => ({ provider, ...removal }))
}

function verdictOf(person: Person, left: number): OffboardingReport['verdict'] {
  if (person.leftAt === null) return 'notLeft'
  if (person.heldBy !== null) return 'held'
  return left === 0 ? 'complete' : 'incomplete'
}

/** Alive at the moment of leaving: there before, and not dead by then. */
function knownToLeaver(key: IssuedKey, leftAt: Instant): boolean {
  return (
    key.status !== 'failed' &&
    (key.issuedAt < leftAt || servedBefore(leftAt, key, key.issuedAt)) &&
    (key.disabledAt === null || key.disabledAt >= leftAt)
  )
}

function rowOf(
  account: ServiceAccount,
  credential: Credential,
  key: IssuedKey,
  receivedAt: Instant,
  { acceptedAt, tries }: KeyEvidence,
): OffboardingKey {
  const provenAt =
    key.outcome === 'refused'
      ? key.refusedAt
      : key.outcome === 'absent'
        ? (key.settledAt ?? key.deletedAt)
        : null
  return {
    credential: credential.id,
    account: account.id,
    userName: account.userName,
    provider: key.provider,
    kind: credential.kind,
    generation: key.generation,
    keyId: key.keyId,
    receivedAt,
    acceptedAt,
    switchedOffAt: key.disabledAt,
    refusedAt: key.refusedAt,
    settledAt: key.settledAt,
    outcome: key.outcome,
    tries,
    switchedOffSeconds: key.disabledAt === null ? null : secondsBetween(receivedAt, key.disabledAt),
    provenDeadSeconds: provenAt === null ? null : secondsBetween(receivedAt, provenAt),
    byHand: null,
  }
}
