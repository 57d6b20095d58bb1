import { errors } from '../domain/errors.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, parseInstant } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { dayOf } from './posture.ts'

export interface ExpiryReport {
  /** Days are those of UTC, `YYYY-MM-DD`; `until` is not among them. */
  readonly from: string
  readonly until: string
  readonly days: number
  /** What of all this falls into the time. */
  readonly total: { readonly accounts: number; readonly credentials: number }
  /** Of what is up, the days on which anything ends, in order. */
  readonly items: readonly {
    readonly day: string
    readonly accounts: number
    readonly credentials: number
  }[]
}

/** A heat map of 52 weeks, and how much further one may look. */
export const expiryDays = { standard: 364, most: 732 }

/**
 * What ends on which day. @param want.from a day; today when null
 * @throws forbidden, invalidValue
 */
export async function expiryReport(
  life: Lifecycle,
  caller: Caller,
  want: { readonly from: string | null; readonly days: number },
): Promise<ExpiryReport> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  const { days } = want
  if (!Number.isInteger(days) || days < 1 || days > expiryDays.most) {
    const reason = `must be a whole number from 1 to ${expiryDays.most}.`
    throw errors.invalidValue({ path: 'days', reason })
  }
  const first = startOf(want.from ?? dayOf(life.clock.now()))
  if (first === null) {
    throw errors.invalidValue({ path: 'from', reason: 'must be a day such as 2027-01-31.' })
  }
  const from = dayOf(first)
  const end = addSeconds(first, days * day)
  if (end.startsWith('+')) {
    throw errors.invalidValue({ path: 'from', reason: 'with its days must end before year 10000.' })
  }
  const until = dayOf(end)
  const items = await life.store.read.endsByDay(caller.tenant, from, until)
  const total = items.reduce(
    (all, { accounts, credentials }) => ({
      accounts: all.accounts + accounts,
      credentials: all.credentials + credentials,
    }),
    { accounts: 0, credentials: 0 },
  )
  return { from, until, days, total, items }
}

function startOf(text: string): Instant | null {
  return /^\d{4}-\d\d-\d\d$/.test(text) ? parseInstant(`${text}T00:00:00Z`) : null
}
