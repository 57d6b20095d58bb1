import type { ServiceAccount } from '../domain/account.ts'
import { isOpen } from '../domain/account.ts'
import type { Brake } from '../domain/brake.ts'
import type { Credential } from '../domain/credential.ts'
import type { Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, later } from '../domain/time.ts'
import { brakeOn, engagedBrakes, nameOf } from './brakes.ts'
import type { Lifecycle } from './context.ts'
import { termsOf } from './credential-terms.ts'
import type { Proposal } from './due.ts'
import { warningDays } from './due.ts'
import { isOverdue, verdictOn } from './offboard.ts'
import type { Plan } from './shadow.ts'
import { brakedAct, foresee } from './sweeps.ts'
import { frozenAccount, frozenCredential } from './windows.ts'

/** Something that time alone will bring about, were all else to stay as it is now. */
export interface NextEvent {
  readonly at: Instant
  readonly act:
    | 'notice'
    | 'rotate'
    | 'expire'
    | 'disable'
    | 'delete'
    | 'decide'
    | 'ownerLeaves'
    | 'certify'
    | 'continue'
  /** In words. */
  readonly what: string
  /** The clause that decides it. */
  readonly rule: string
  readonly subject: { readonly type: 'account' | 'credential' | 'operation'; readonly id: string }
  /** `says`: protected, so that it is told and not done. `watches`: the policy only observes it. */
  readonly effect: 'does' | 'says' | 'watches'
  /** The brake that stops it at present. */
  readonly heldBy: string | null
}

interface Looked {
  readonly life: Lifecycle
  readonly account: ServiceAccount
  readonly now: Instant
  readonly brakes: readonly Brake[]
}

/** What comes next for an account and its credentials, the first first. */
export async function nextOf(
  life: Lifecycle,
  account: ServiceAccount,
  credentials: readonly Credential[],
): Promise<readonly NextEvent[]> {
  const [brakes, open] = await Promise.all([
    engagedBrakes(life),
    life.store.read.openOperations(account.tenant, account.id),
  ])
  const looked: Looked = { life, account, now: life.clock.now(), brakes }
  const found = await Promise.all([
    ends(looked),
    deletion(looked),
    ofOwner(looked),
    ...credentials.map((credential) => ofCredential(looked, credential)),
  ])
  return [...found.flat(), ...certification(looked), ...underWay(open)].sort((a, b) =>
    a.at < b.at ? -1 : a.at > b.at ? 1 : 0,
  )
}

/** By another clock, what decides decides as it will then. */
function lifeAt(life: Lifecycle, at: Instant): Lifecycle {
  const { clock } = life
  return {
    ...life,
    clock: {
      now: () => at,
      monotonic: () => clock.monotonic(),
      after: (milliseconds, act) => clock.after(milliseconds, act),
    },
  }
}

/** Asks the sweep's own function what it would plan then; null = nothing. */
async function foreseen(
  { life, account, now, brakes }: Looked,
  act: 'expire' | 'delete' | 'expireCredential' | 'rotate',
  id: string,
  date: Instant,
): Promise<Pick<NextEvent, 'at' | 'effect' | 'heldBy'> | null> {
  const at = later(date, now)
  const plan = await foresee(lifeAt(life, at), { act, tenant: account.tenant, id })
  if (plan === null) return null
  return { at, effect: effectOf(plan), heldBy: heldBy(brakes, act, account) }
}

function effectOf({ operations, changes }: Plan): NextEvent['effect'] {
  if (operations.length > 0) return 'does'
  return changes.some(({ type }) => type === 'shadowAct') ? 'watches' : 'says'
}

function heldBy(
  brakes: readonly Brake[],
  act: Proposal['act'],
  { tenant }: ServiceAccount,
): string | null {
  const braked = brakedAct[act]
  const brake = braked === null ? null : brakeOn(brakes, braked, tenant)
  return brake === null ? null : nameOf(brake)
}

/** Its end, the notice before and the deletion after it. */
async function ends(looked: Looked): Promise<readonly NextEvent[]> {
  const { life, account, now } = looked
  if (!isOpen(account.status)) return []
  const subject = { type: 'account', id: account.id } as const
  const events: NextEvent[] = []
  const coming = warningDays.findLast((n) => addSeconds(account.expiresAt, -n * day) > now)
  if (coming !== undefined) {
    events.push({
      at: addSeconds(account.expiresAt, -coming * day),
      act: 'notice',
      what: `its owner is told that it ends within ${coming} day${coming === 1 ? '' : 's'}`,
      rule: 'expiresSoon',
      subject,
      effect: 'does',
      heldBy: null,
    })
  }
  const end = await foreseen(looked, 'expire', account.id, account.expiresAt)
  if (end === null) return events
  events.push({
    ...end,
    act: 'expire',
    what: 'its end date comes: its credentials are switched off',
    rule: 'expired',
    subject,
  })
  if (end.effect === 'does') {
    events.push({
      ...end,
      at: addSeconds(end.at, termsOf(life, account).hold),
      act: 'delete',
      what: 'the hold after its end is over: it is deleted at its providers',
      rule: 'hold',
      subject,
      heldBy: heldBy(looked.brakes, 'delete', account),
    })
  }
  return events
}

/** Of what was switched off. */
async function deletion(looked: Looked): Promise<readonly NextEvent[]> {
  const { life, account, now } = looked
  if (account.deleteAt === null || isOpen(account.status)) return []
  const due = later(account.deleteAt, now)
  const frozen = frozenAccount(lifeAt(life, due), account)
  const at = frozen === null ? due : frozen.until
  const found = await foreseen(looked, 'delete', account.id, at)
  if (found === null) return []
  return [
    {
      ...found,
      act: 'delete',
      what: 'the hold is over: it is deleted at its providers',
      rule: frozen === null ? 'hold' : `hold, freeze "${frozen.window}"`,
      subject: { type: 'account', id: account.id },
    },
  ]
}

/** What the owner's leaving brings, by the leaver decision itself. */
async function ofOwner(looked: Looked): Promise<readonly NextEvent[]> {
  const { life, account, now, brakes } = looked
  if (!isOpen(account.status)) return []
  const { tenant, disableAt } = account
  const subject = { type: 'account', id: account.id } as const
  const deadline = brakeOn(brakes, 'deadline', tenant)
  const held = deadline === null ? null : nameOf(deadline)
  const events: NextEvent[] = []
  if (disableAt !== null && isOverdue(account, disableAt)) {
    events.push({
      at: later(disableAt, now),
      act: 'disable',
      what: 'it is switched off unless somebody has accepted it',
      rule: 'notAccepted',
      subject,
      effect: 'does',
      heldBy: held,
    })
  }
  const { decision } = await verdictOn(life, account)
  if (decision.action === 'none' && 'until' in decision && decision.until !== null) {
    const { decision: then } = await verdictOn(lifeAt(life, decision.until), account)
    events.push({
      at: decision.until,
      act: 'decide',
      what: `the grace of its owner's leaving is over: ${verdictIn(then.rule === 'observed' ? then.would.action : then.action)}`,
      rule: then.rule,
      subject,
      effect: then.rule === 'observed' ? 'watches' : 'does',
      heldBy: held,
    })
  }
  if (decision.rule === 'ownerActive' && account.owner.type === 'User') {
    const owner = await life.store.read.person(tenant, account.owner.id)
    const leavesAt = owner?.leavesAt ?? null
    if (leavesAt !== null) {
      const { decision: then } = await verdictOn(lifeAt(life, later(leavesAt, now)), account, {
        assumeLeft: true,
      })
      events.push({
        at: leavesAt,
        act: 'ownerLeaves',
        what: `its owner leaves: ${verdictIn(then.rule === 'observed' ? then.would.action : then.action)}`,
        rule: then.rule,
        subject,
        effect: then.rule === 'observed' ? 'watches' : 'does',
        heldBy: held,
      })
    }
  }
  return events
}

function verdictIn(action: 'none' | 'offer' | 'disable'): string {
  switch (action) {
    case 'offer':
      return 'it is offered to an heir with new keys'
    case 'disable':
      return 'it is switched off'
    case 'none':
      return 'nothing is done yet'
  }
}

async function ofCredential(looked: Looked, credential: Credential): Promise<readonly NextEvent[]> {
  const { life, account, now } = looked
  const { id, rotateAfter, expiresAt, status } = credential
  const subject = { type: 'credential', id } as const
  const events: NextEvent[] = []
  if (status === 'active' && rotateAfter !== null && isOpen(account.status)) {
    const due = later(rotateAfter, now)
    const frozen = frozenCredential(lifeAt(life, due), account, credential)
    const found = await foreseen(looked, 'rotate', id, frozen?.until ?? due)
    // Nothing but another date is written: the policy's period has changed, and the sweep comes soon.
    if (found !== null && found.effect !== 'says') {
      const rule = frozen === null ? 'scheduled' : `scheduled, freeze "${frozen.window}"`
      events.push({ ...found, act: 'rotate', what: 'it gets a new key', rule, subject })
    }
  }
  // What ends with its account is told once.
  if (expiresAt < account.expiresAt) {
    const found = await foreseen(looked, 'expireCredential', id, expiresAt)
    if (found !== null) {
      const what = 'its own end date comes: its keys are ended'
      events.push({ ...found, act: 'expire', what, rule: 'expired', subject })
    }
  }
  return events
}

function certification({ account }: Looked): readonly NextEvent[] {
  if (account.certifyBy === null || !isOpen(account.status)) return []
  return [
    {
      at: account.certifyBy,
      act: 'certify',
      what: 'its owner has to say by then that it is still needed',
      rule: 'certifyBy',
      subject: { type: 'account', id: account.id },
      effect: 'says',
      heldBy: null,
    },
  ]
}

/** Work that has begun and waits for its next step. */
function underWay(open: readonly Operation[]): readonly NextEvent[] {
  return open
    .filter(({ status }) => status === 'waiting' || status === 'queued')
    .map(({ id, kind, steps, cursor, runAt }) => ({
      at: runAt,
      act: 'continue' as const,
      what: `the ${kind} under way goes on with ${steps[cursor] ?? 'its end'}`,
      rule: steps[cursor] ?? kind,
      subject: { type: 'operation' as const, id },
      effect: 'does' as const,
      heldBy: null,
    }))
}
