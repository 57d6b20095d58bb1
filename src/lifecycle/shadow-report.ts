import { errors } from '../domain/errors.ts'
import { assertNever } from '../domain/json.ts'
import type { ShadowAct, ShadowActKind, ShadowCount } from '../domain/shadow.ts'
import { shadowActKinds } from '../domain/shadow.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'

export interface ShadowReport {
  readonly days: number
  readonly from: Instant
  readonly until: Instant
  /** What enforcing would have done in the whole window, whatever page this is. */
  readonly counts: Readonly<Record<ShadowActKind, Omit<ShadowCount, 'act'>>>
  /** The same in words. */
  readonly summary: readonly string[]
  /** Newest first. */
  readonly items: readonly Omit<ShadowAct, 'tenant'>[]
}

/** Days that one report looks back. */
export const shadowDays = { standard: 14, most: 366 }

/**
 * What enforcing would have done to the accounts that are only watched.
 * @throws forbidden, invalidValue
 */
export async function shadowReport(
  life: Lifecycle,
  caller: Caller,
  want: { readonly days: number; readonly after: string | null; readonly limit: number },
): Promise<ShadowReport> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  const { days, after, limit } = want
  if (!Number.isInteger(days) || days < 1 || days > shadowDays.most) {
    const reason = `must be a whole number from 1 to ${shadowDays.most}.`
    throw errors.invalidValue({ path: 'days', reason })
  }
  const until = life.clock.now()
  const from = addSeconds(until, -days * day)
  const { read } = life.store
  const [found, rows] = await Promise.all([
    read.shadowCounts(caller.tenant, from, until),
    read.shadowActs({ tenant: caller.tenant, from, until, after, limit }),
  ])
  const of = (act: ShadowActKind) => found.find((c) => c.act === act) ?? { acts: 0, accounts: 0 }
  const counts = Object.fromEntries(
    shadowActKinds.map((act) => [act, { acts: of(act).acts, accounts: of(act).accounts }]),
  ) as ShadowReport['counts']
  return {
    days,
    from,
    until,
    counts,
    summary: shadowActKinds
      .filter((act) => counts[act].acts > 0)
      .map((act) => sentence(act, counts[act])),
    items: rows.map(({ tenant: _tenant, ...row }) => row),
  }
}

function sentence(act: ShadowActKind, { acts, accounts }: Omit<ShadowCount, 'act'>): string {
  const some = (n: number, one: string, many: string) => `${n} ${n === 1 ? one : many}`
  const on = `of ${some(accounts, 'account', 'accounts')}`
  switch (act) {
    case 'offer':
      return `offered ${some(accounts, 'account', 'accounts')} to an heir`
    case 'disable':
      return `disabled ${some(accounts, 'account', 'accounts')}`
    case 'rotate':
      return `rotated ${some(acts, 'key', 'keys')} ${on}`
    case 'revoke':
      return `revoked ${some(acts, 'credential', 'credentials')} ${on}`
    case 'delete':
      return `deleted ${some(accounts, 'account', 'accounts')} after the hold`
    case 'rearm':
      return `switched off ${some(acts, 'key', 'keys')} again that had come back to life`
    default:
      return assertNever(act)
  }
}
