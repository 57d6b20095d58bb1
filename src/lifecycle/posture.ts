import { setImmediate } from 'node:timers/promises'
import { isOpen } from '../domain/account.ts'
import type { BrakeName } from '../domain/brake.ts'
import type { CredentialStatus } from '../domain/credential.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, hour, secondsBetween } from '../domain/time.ts'
import { reportCountMax } from '../store/store.ts'
import { engagedBrakes } from './brakes.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { isWatched } from './shadow.ts'

/** A credential with the account that holds it, as a list of the worst names it. */
interface Named {
  readonly credential: string
  readonly account: string
  readonly userName: string
  readonly provider: string
}

export interface OldKey extends Named {
  readonly issuedAt: Instant
  readonly ageDays: number
}

export interface OverdueRotation extends Named {
  readonly rotateAfter: Instant
  readonly overdueDays: number
}

/** Revocations of one day: seconds from what caused each to the provider's refusal of its key. */
export interface RevocationDay {
  readonly day: string
  readonly count: number
  /** Null on a day without any. */
  readonly p50Seconds: number | null
  readonly p95Seconds: number | null
  readonly worstSeconds: number | null
}

export interface Posture {
  readonly at: Instant
  readonly accounts: {
    /** Those that are not retired. */
    readonly total: number
    /** Of all there ever were. */
    readonly byStatus: Readonly<Record<string, number>>
    /** Provisioning, active or orphaned: whose credentials are meant to work. */
    readonly open: number
    readonly withActiveOwner: number
    readonly orphaned: number
    readonly watched: number
  }
  /** `withActiveOwner` of `open`, from 0 to 1; null while nothing is open. */
  readonly coverage: number | null
  readonly credentials: {
    /** Those that are neither revoked nor handed back; likewise `byProvider`. */
    readonly total: number
    /** Of all there ever were. */
    readonly byStatus: Readonly<Record<string, number>>
    readonly byProvider: Readonly<Record<string, number>>
  }
  /** By the end of the day (UTC) so many days from now; a wider one holds the narrower ones. */
  readonly expiring: readonly {
    readonly withinDays: number
    readonly accounts: number
    readonly credentials: number
  }[]
  /** Accounts past their end: those that are closed for it, and those that are still up. */
  readonly expired: number
  readonly expiredStillUp: { readonly accounts: number; readonly credentials: number }
  readonly oldestActiveKeys: readonly OldKey[]
  readonly rotationsOverdue: { readonly count: number; readonly first: readonly OverdueRotation[] }
  readonly operations: {
    readonly queued: number
    readonly running: number
    readonly waiting: number
    readonly needsOperator: number
    readonly oldestWaiting: Instant | null
  }
  /** Each of the last 30 days, today the last one. */
  readonly revocations: readonly RevocationDay[]
  readonly brakes: readonly {
    readonly name: BrakeName
    readonly subject: string
    readonly since: Instant
  }[]
  readonly approvalsWaiting: number
  readonly restored: boolean
  /** Leavings of the last 30 days. */
  readonly leavers: { readonly open: number; readonly complete: number }
  /** Figures above that stop at a bound: there are at least so many. */
  readonly atLeast: readonly string[]
}

/** Of each list of the worst. */
const worstMax = 10
const lookBackDays = 30
const spans: readonly number[] = [7, 30, 90]
/** Keys that the latencies are made of. */
const revocationsMax = 20_000
/** Accounts that are asked one by one whether the policy only watches them. */
const watchedMax = 2_000
const pageSize = 200

/** What is late by less is on its way: the sweep has a pace of its own. */
const late = hour

/** How the tenant's accounts and credentials are at this moment. @throws forbidden */
export async function postureReport(life: Lifecycle, caller: Caller): Promise<Posture> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  const { tenant } = caller
  const { read } = life.store
  const at = life.clock.now()
  const since = addSeconds(at, -lookBackDays * day)
  const [states, ends, counts, revoked, leavers, brakes, watched, keys, overdue] =
    await Promise.all([
      read.stateCounts(tenant),
      read.endsByDay(tenant, dayOf(at), dayOf(addSeconds(at, (spans.at(-1)! + 1) * day))),
      read.reportCounts(tenant, at, addSeconds(at, 0 - late)),
      read.revokedSince(tenant, since, revocationsMax),
      read.leavingsSince(tenant, since),
      engagedBrakes(life),
      countWatched(life, caller),
      oldestKeys(life, caller, at),
      overdueRotations(life, caller, at),
    ])
  const byStatus = sums(states.accounts, ({ status }) => status)
  const open = sum(states.accounts.filter(({ status }) => isOpen(status)))
  const withActiveOwner = Math.max(0, open - counts.withoutOwner)
  const ours = brakes.filter((b) => b.tenant === null || b.tenant === tenant)
  const bounded: readonly (readonly [string, number])[] = [
    ['rotationsOverdue.count', counts.rotationsOverdue],
    ['expiredStillUp.accounts', counts.expiredAccounts],
    ['expiredStillUp.credentials', counts.expiredCredentials],
    ['approvalsWaiting', counts.approvalsWaiting],
    ...(['queued', 'running', 'waiting', 'needsOperator'] as const).map(
      (of) => [`operations.${of}`, counts.operations[of]] as const,
    ),
  ]
  return {
    at,
    accounts: {
      total: sum(states.accounts) - (byStatus['retired'] ?? 0),
      byStatus,
      open,
      withActiveOwner,
      orphaned: byStatus['orphaned'] ?? 0,
      watched: watched.count,
    },
    coverage: open === 0 ? null : withActiveOwner / open,
    credentials: {
      total: sum(states.credentials.filter(isCurrent)),
      byStatus: sums(states.credentials, ({ status }) => status),
      byProvider: sums(states.credentials.filter(isCurrent), ({ provider }) => provider),
    },
    expiring: spans.map((withinDays) => {
      const until = dayOf(addSeconds(at, withinDays * day))
      const within = ends.filter((end) => end.day <= until)
      return {
        withinDays,
        accounts: within.reduce((n, end) => n + end.accounts, 0),
        credentials: within.reduce((n, end) => n + end.credentials, 0),
      }
    }),
    expired: (byStatus['expired'] ?? 0) + counts.expiredAccounts,
    expiredStillUp: {
      accounts: counts.expiredAccounts,
      credentials: counts.expiredCredentials,
    },
    oldestActiveKeys: keys,
    rotationsOverdue: { count: counts.rotationsOverdue, first: overdue },
    operations: { ...counts.operations, oldestWaiting: counts.oldestWaitingAt },
    revocations: revocationDays(revoked, at),
    brakes: ours.map(({ name, subject, since: on }) => ({ name, subject, since: on })),
    approvalsWaiting: counts.approvalsWaiting,
    restored: ours.some(({ name }) => name === 'restored'),
    leavers,
    atLeast: [
      ...(watched.atLeast ? ['accounts.watched'] : []),
      ...bounded.filter(([, n]) => n >= reportCountMax).map(([name]) => name),
      ...(revoked.length >= revocationsMax ? ['revocations'] : []),
    ],
  }
}

/** The day of an instant, in UTC. */
export function dayOf(at: Instant): string {
  return at.slice(0, 10)
}

/** What is over is no credential at its provider any more. */
function isCurrent({ status }: { readonly status: CredentialStatus }): boolean {
  return status !== 'revoked' && status !== 'released'
}

const sum = (rows: readonly { readonly count: number }[]): number =>
  rows.reduce((n, { count }) => n + count, 0)

function sums<T extends { readonly count: number }>(
  rows: readonly T[],
  by: (row: T) => string,
): Readonly<Record<string, number>> {
  const found: Record<string, number> = {}
  for (const row of rows) found[by(row)] = (found[by(row)] ?? 0) + row.count
  return found
}

/** Which accounts are watched only the policy can say, one by one; it knows whom it need not be asked of. */
async function countWatched(
  life: Lifecycle,
  { tenant }: Caller,
): Promise<{ readonly count: number; readonly atLeast: boolean }> {
  const { watches } = life.policy()
  if (watches === 'none') return { count: 0, atLeast: false }
  const of = watches === 'any' ? 'all' : 'imported'
  let count = 0
  let after: string | null = null
  for (let looked = 0; looked < watchedMax; looked += pageSize) {
    const page = await life.store.read.openAccounts(tenant, of, after, pageSize)
    count += page.filter((account) => isWatched(life, account)).length
    if (page.length < pageSize) return { count, atLeast: false }
    after = page.at(-1)!.id
    await setImmediate()
  }
  return { count, atLeast: true }
}

async function oldestKeys(
  life: Lifecycle,
  { tenant }: Caller,
  now: Instant,
): Promise<readonly OldKey[]> {
  const { read } = life.store
  const keys = await read.oldestKeysOf(tenant, [...life.providers.keys()], worstMax)
  return Promise.all(
    keys.slice(0, worstMax).map(async ({ credential, account, provider, issuedAt }) => ({
      credential,
      account,
      userName: (await read.account(tenant, account))?.userName ?? '',
      provider,
      issuedAt,
      ageDays: daysBetween(issuedAt, now),
    })),
  )
}

async function overdueRotations(
  life: Lifecycle,
  { tenant }: Caller,
  now: Instant,
): Promise<readonly OverdueRotation[]> {
  const { read } = life.store
  const found = await read.overdueRotations(tenant, addSeconds(now, 0 - late), worstMax)
  return Promise.all(
    found.map(async ({ id, account, provider, rotateAfter }) => ({
      credential: id,
      account,
      userName: (await read.account(tenant, account))?.userName ?? '',
      provider,
      rotateAfter: rotateAfter!,
      overdueDays: daysBetween(rotateAfter!, now),
    })),
  )
}

function daysBetween(from: Instant, to: Instant): number {
  return Math.floor(secondsBetween(from, to) / day)
}

function revocationDays(
  revoked: readonly { readonly refusedAt: Instant; readonly causedAt: Instant }[],
  now: Instant,
): readonly RevocationDay[] {
  const days = new Map<string, number[]>()
  for (let back = lookBackDays - 1; back >= 0; back--) {
    days.set(dayOf(addSeconds(now, -back * day)), [])
  }
  for (const { refusedAt, causedAt } of revoked) {
    days.get(dayOf(refusedAt))?.push(secondsBetween(causedAt, refusedAt))
  }
  return [...days].map(([of, took]) => {
    const sorted = took.toSorted((a, b) => a - b)
    return {
      day: of,
      count: sorted.length,
      p50Seconds: percentile(sorted, 0.5),
      p95Seconds: percentile(sorted, 0.95),
      worstSeconds: sorted.at(-1) ?? null,
    }
  })
}

/** The nearest rank: a value that was measured, not one between two. */
function percentile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? null
}
