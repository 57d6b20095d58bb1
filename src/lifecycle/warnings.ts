import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { Actor } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import { warningDays } from './due.ts'
import type { Plan } from './shadow.ts'

/**
 * Tells that something ends soon, once for each number of days and each end; of several that were
 * missed, the nearest (R89). Also where nothing will be done about it: `observe`, `protected`.
 */
export function warn(
  life: Lifecycle,
  subjectType: 'account' | 'credential',
  subject: ServiceAccount | Credential,
  account: ServiceAccount,
  actor: Actor,
): Plan | null {
  const days = daysLeft(life, subject.expiresAt)
  if (days === null) return null
  const { tenant, id, expiresAt } = subject
  return {
    operations: [],
    changes: [
      { type: 'expiryWarned', tenant, subjectType, id, expiresAt, days },
      auditRow(life, {
        tenant,
        actor,
        action: `${subjectType}.expiresSoon`,
        target: { type: subjectType, id },
        facts: { days, expiresAt, owner: account.owner.id },
      }),
    ],
  }
}

/** The least of the numbers of days to warn of that is not over yet. */
export function daysLeft(life: Lifecycle, expiresAt: Instant): number | null {
  const now = life.clock.now()
  if (expiresAt <= now) return null
  return warningDays.find((days) => expiresAt <= addSeconds(now, days * day)) ?? null
}
