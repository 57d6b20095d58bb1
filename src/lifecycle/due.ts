import { setImmediate } from 'node:timers/promises'
import { defaultTenant } from '../domain/ids.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds, day, seconds } from '../domain/time.ts'
import type { Due, DuePage, Reads } from '../store/store.ts'

export type SweepName = 'orphans' | 'expiry' | 'rotation' | 'reconcile'
export const sweepNames: readonly SweepName[] = ['orphans', 'expiry', 'rotation', 'reconcile']

/** What a sweep found due. It carries ids only: whoever acts reads the rows again and decides anew. */
export interface Proposal {
  readonly act:
    | 'offboard'
    /** Somebody is no longer among those who may read something; `id` is `member group`. */
    | 'depart'
    /** Somebody's leave date is near, or has come. */
    | 'leaveDate'
    | 'expire'
    | 'expireCredential'
    | 'delete'
    | 'warn'
    | 'warnCredential'
    | 'replan'
    | 'rotate'
    | 'rescope'
    | 'reconcile'
    /** What enforcing would do by now to an account that is watched. */
    | 'shadow'
  readonly tenant: string
  readonly id: string
}

/** How much a sweep looks at; plain data, since it goes to the sweep's thread. */
export interface Scope {
  /** Only owners who changed since then; null = every account. */
  readonly changedSince: Instant | null
  /** The shortest and the longest time that the policy gives a group without an active member. */
  readonly groupGrace: { readonly least: Seconds; readonly most: Seconds }
  /** The longest time that it lets somebody's leaving rest; omitted = none does. */
  readonly leaveGrace?: Seconds
  /** Whose leave date is no further away is looked at; omitted: 14 days. */
  readonly planAhead?: Seconds
  /** The policy has changed: all rotations are dated anew first. */
  readonly replan: boolean
  /** Those whose inventory can be taken: a reading thread has none. */
  readonly providers?: readonly string[]
}

/** Proposals per message to the main thread. */
export const sweepBatchMax = 200

/** Rows that one statement looks at: 1 000 open accounts and their owners take some 1.5 ms. */
const stretch = 1_000
const pageSize = 1_000

/** Days before its end at which an account or credential is told of (R89); the last one first. */
export const warningDays: readonly number[] = [1, 7, 14, 30]

/**
 * Reads what is due, in batches, from any handle: a sweep's own thread or the main one. It writes
 * nothing and calls no provider; after each page others have their turn.
 */
export async function* findDue(
  read: Reads,
  sweep: SweepName,
  now: Instant,
  scope: Scope,
): AsyncGenerator<readonly Proposal[]> {
  switch (sweep) {
    case 'orphans':
      yield* pages('leaveDate', (after) =>
        read.leaving(addSeconds(now, scope.planAhead ?? seconds(14 * day)), after, pageSize),
      )
      yield* pages('depart', (after) => read.departuresDue(now, after, pageSize))
      if (scope.changedSince === null) {
        yield* pages('offboard', (after) => read.orphans(now, after, stretch))
      } else {
        yield* changed(read, now, scope.changedSince, scope)
      }
      yield* pages('shadow', (after) => read.shadowsDue(now, after, pageSize))
      return
    case 'expiry':
      yield* pages('expire', (after) => read.expired(now, after, pageSize))
      yield* pages('expireCredential', (after) => read.expiredCredentials(now, after, pageSize))
      yield* pages('delete', (after) => read.deletable(now, after, pageSize))
      yield* expiring(read, now)
      return
    case 'rotation':
      if (scope.replan) yield* pages('replan', (after) => read.planned(after, pageSize))
      yield* pages('rotate', (after) => read.rotationDue(now, after, pageSize))
      yield* pages('rotate', (after) => read.leftBehind(now, after, pageSize))
      yield* pages('rescope', (after) => read.groupGranted(after, pageSize))
      return
    case 'reconcile':
      yield (scope.providers ?? []).map((id) => ({ act: 'reconcile', id, tenant: defaultTenant }))
  }
}

/**
 * What the full look would find among accounts whose owner, or whose heir while they wait for one,
 * has left since: the rest of a million cannot have become an orphan meanwhile.
 */
async function* changed(
  read: Reads,
  now: Instant,
  since: Instant,
  { groupGrace: grace, leaveGrace = seconds(0) }: Scope,
): AsyncGenerator<readonly Proposal[]> {
  yield* pages('offboard', (after) => read.overdue(now, after, pageSize))
  const ranges = [
    // Who is written while gone is due again when the grace of what was said is over.
    ['people', { from: addSeconds(since, 0 - leaveGrace), until: now }],
    // A group counts as gone once its grace is over, so those whose grace ends in this time are due.
    [
      'groups',
      { from: addSeconds(since, 0 - grace.most), until: addSeconds(now, 0 - grace.least) },
    ],
  ] as const
  for (const [of, range] of ranges) {
    let after: string | null = null
    do {
      const gone: DuePage = await read.gone(of, range, after, pageSize)
      for (const [tenant, owners] of byTenant(gone.rows)) {
        for (const link of ['ownedBy', 'waitingFor'] as const) {
          yield* pages('offboard', (from) =>
            read.accountsOf(link, tenant, stillAfter(owners, from), from, pageSize),
          )
        }
      }
      after = gone.next
      await setImmediate()
    } while (after !== null)
  }
}

/** Owners whose accounts all stand before the cursor, which begins with an owner, need no look. */
function stillAfter(owners: readonly string[], cursor: string | null): readonly string[] {
  const [owner] = cursor?.split(' ') ?? []
  return owner === undefined ? owners : owners.filter((id) => id >= owner)
}

function byTenant(rows: readonly Due[]): ReadonlyMap<Due['tenant'], readonly string[]> {
  const found = new Map<Due['tenant'], string[]>()
  for (const { tenant, id } of rows) {
    const ids = found.get(tenant)
    if (ids) ids.push(id)
    else found.set(tenant, [id])
  }
  return found
}

/** Each range holds what one warning is due for and nothing else: what was warned of is not in it. */
async function* expiring(read: Reads, now: Instant): AsyncGenerator<readonly Proposal[]> {
  let from = now
  for (const [i, days] of warningDays.entries()) {
    const range = { from, until: addSeconds(now, days * day) }
    from = range.until
    // Warned of earlier, or never: of several that were missed, only the nearest is told.
    for (const warned of [...warningDays.slice(i + 1), null]) {
      const of = (what: 'account' | 'credential') => (after: string | null) =>
        read.expiring({ of: what, warned, ...range }, after, pageSize)
      yield* pages('warn', of('account'))
      yield* pages('warnCredential', of('credential'))
    }
  }
}

async function* pages(
  act: Proposal['act'],
  read: (after: string | null) => Promise<DuePage>,
): AsyncGenerator<readonly Proposal[]> {
  let after: string | null = null
  do {
    const page = await read(after)
    for (let i = 0; i < page.rows.length; i += sweepBatchMax) {
      yield page.rows.slice(i, i + sweepBatchMax).map(({ id, tenant }) => ({ act, id, tenant }))
    }
    after = page.next
    if (after !== null) await setImmediate()
  } while (after !== null)
}
