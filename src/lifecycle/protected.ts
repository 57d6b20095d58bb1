import type { ServiceAccount } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import type { Actor } from '../domain/operation.ts'
import type { Consent } from '../domain/shadow.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow } from './context.ts'
import type { Plan } from './shadow.ts'
import { blankShadow } from './shadow.ts'

/** How long the first word counts. */
const consentSeconds = day

/**
 * What takes a protected account down, or its protection off, needs two different people. The first
 * one's word is kept and answered with an error; the second one's, about the same, does it.
 * @returns what the act's commit has to hold besides; nothing for an account that is not protected
 * @throws secondPersonNeeded, forbidden for other roles than admin and security
 */
export async function secondWord(
  life: Lifecycle,
  caller: Caller,
  account: ServiceAccount,
  act: Consent['act'],
  reason: string | null,
): Promise<readonly Change[]> {
  if (!account.protected) return []
  const { client, tenant } = caller
  if (client.role !== 'admin' && client.role !== 'security') {
    const why = 'a protected account is for two people of the roles admin and security.'
    throw errors.forbidden({ action: `account.${act}`, role: client.role, reason: why })
  }
  if (caller.isRerun) {
    const why = 'a request that is run again is nobody’s word about a protected account.'
    throw errors.forbidden({ action: `account.${act}`, role: client.role, reason: why })
  }
  const now = life.clock.now()
  const before = await life.store.read.consent(tenant, account.id, act)
  const first = before !== null && before.expiresAt > now ? before : null
  if (first && isAnother(caller, first)) {
    const facts = { act, first: first.clientName, firstReason: first.reason, reason }
    return [
      { type: 'consentUsed', consent: first },
      row(life, account, 'account.secondWord', facts, caller.actor),
    ]
  }
  const consent: Consent = first ?? {
    tenant,
    account: account.id,
    act,
    client: client.id,
    clientName: client.name,
    person: client.person,
    reason,
    at: now,
    expiresAt: addSeconds(now, consentSeconds),
  }
  if (!first) {
    const facts = { act, reason, expiresAt: consent.expiresAt, owner: account.owner.id }
    const said = await life.store.commit([
      { type: 'consent', consent },
      row(life, account, 'account.secondWordNeeded', facts, caller.actor),
    ])
    // Somebody else was first, this moment: theirs counts, and ours is the second.
    if (said !== 'saved') return secondWord(life, caller, account, act, reason)
  }
  const { clientName: by, expiresAt: until } = consent
  throw errors.secondPersonNeeded({ id: account.id, act, by, until })
}

/** The first words that count now: what was asked, by whom, and until when. */
export async function asked(life: Pick<Lifecycle, 'store' | 'clock'>, account: ServiceAccount) {
  if (!account.protected) return []
  const { tenant, id } = account
  const acts = ['disable', 'retire', 'unprotect'] as const
  const words = await Promise.all(acts.map((act) => life.store.read.consent(tenant, id, act)))
  const now = life.clock.now()
  return words.flatMap((word) => {
    if (word === null || word.expiresAt <= now) return []
    const { act, clientName: by, reason, at, expiresAt } = word
    return [{ act, by, reason, at, expiresAt }]
  })
}

/** Two clients of one person are one person. */
function isAnother({ client }: Caller, first: Consent): boolean {
  if (client.id === first.client) return false
  return client.person === null || client.person !== first.person
}

/**
 * What time would end is protected: it goes on, and that is said instead, again each day.
 * @param due what is over since when
 */
export async function protectedDue(
  life: Lifecycle,
  account: ServiceAccount,
  due: {
    readonly subjectType: 'account' | 'credential'
    readonly id: string
    readonly rule: 'expired' | 'held'
    readonly since: Instant
  },
  actor: Actor,
): Promise<Plan | null> {
  const { subjectType, id, rule, since } = due
  const now = life.clock.now()
  const known = await life.store.read.shadow(account.tenant, account.id)
  const told = known?.told?.[id]
  if (told !== undefined && addSeconds(told, day) > now) return null
  const shadow = { ...(known ?? blankShadow(account, now)), told: { ...known?.told, [id]: now } }
  return {
    operations: [],
    changes: [
      { type: 'shadow', shadow, expectedVersion: known?.version ?? null },
      auditRow(life, {
        tenant: account.tenant,
        actor,
        action: `${subjectType}.protectedDue`,
        target: { type: subjectType, id },
        facts: { rule, since, owner: account.owner.id },
      }),
    ],
  }
}

function row(
  life: Lifecycle,
  account: ServiceAccount,
  action: string,
  facts: Parameters<typeof auditRow>[1]['facts'] & object,
  actor: Actor,
): Change {
  const target = { type: 'account', id: account.id }
  return auditRow(life, { tenant: account.tenant, actor, action, target, facts })
}
