import { anyone } from '../../domain/consumer.ts'
import type { IssuedKey } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, earlier, seconds } from '../../domain/time.ts'
import type { Change } from '../../store/store.ts'
import { termsOf } from '../credential-terms.ts'
import { ownerState } from '../people.ts'
import { askPerson, withdrawDecision } from '../tasks.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { audit, memoOf } from './step.ts'

/** So many reminders to one rank; the next one goes a rank higher. */
const remindersPerRank = 2
const decideWithin = seconds(7 * 86_400)

/** Why an old key goes on working after its overlap. */
export interface Blocked {
  readonly key: IssuedKey
  /** The use that is too recent; null when only evidence of the new key's adoption is missing. */
  readonly lastUsedAt: Instant | null
  readonly quietFor: string
  readonly behind: readonly string[]
  /** When the key reaches its maximum age. */
  readonly endsAt: Instant
  readonly isOverage: boolean
  readonly atMaxAge: 'ask' | 'end'
  readonly lookAt: Instant
}

/**
 * The old key goes on working. Those who could move its consumers are reminded, a rank higher after
 * every second time; at the key's maximum age one task asks security to decide. Nothing is ended.
 */
export async function keepWaiting(
  ctx: StepContext,
  subject: Subject,
  blocked: Blocked,
): Promise<StepResult> {
  const { life, operation } = ctx
  const { account, credential } = subject
  const now = life.clock.now()
  const { remindEvery } = termsOf(life, account, credential).rotation
  const since = memoOf<Instant>(ctx, 'stillUsedSince')
  const reminded = memoOf<number>(ctx, 'reminders') ?? 0
  const lastly = memoOf<Instant>(ctx, 'remindedAt') ?? since ?? now
  const changes: Change[] = []
  const target = { type: 'credential', id: credential.id }
  const { key, behind, lastUsedAt, endsAt } = blocked
  const facts = { keyId: key.keyId, lastUsedAt, behind, endsAt }
  if (since === null) {
    changes.push(
      audit(ctx, lastUsedAt === null ? 'key.consumersBehind' : 'key.stillUsed', target, facts),
    )
  }
  const isDue = since !== null && addSeconds(lastly, remindEvery) <= now
  if (isDue) {
    const to = await rankOf(ctx, subject, reminded)
    const told = { ...facts, ...to, reminder: reminded + 1, operation: operation.id }
    changes.push(audit(ctx, 'consumer.reminded', target, told))
  }
  const asked = memoOf<string>(ctx, 'askedTask')
  const task = blocked.isOverage ? (asked ?? (await askSecurity(ctx, subject, blocked))) : asked
  const remindAt = addSeconds(isDue ? now : lastly, remindEvery)
  const wake = [blocked.lookAt, remindAt, ...(blocked.isOverage ? [] : [endsAt])]
  return {
    go: 'wait',
    until: wake.reduce((a, b) => earlier(a, b)),
    memo: {
      stillUsedSince: since ?? now,
      ...(isDue ? { remindedAt: now, reminders: reminded + 1 } : {}),
      ...(task === null ? {} : { askedTask: task }),
    },
    failure: why(subject, blocked),
    ...(changes.length === 0 ? {} : { changes }),
  }
}

function why(subject: Subject, blocked: Blocked) {
  const { key, behind, lastUsedAt, quietFor, endsAt, isOverage, atMaxAge } = blocked
  const names = behind.map((name) => `"${name}"`).join(', ')
  const { generation } = subject.credential
  const blocker =
    behind.length === 0
      ? ''
      : behind[0] === anyone
        ? 'nobody has been seen to use the new key, and the account names no consumer'
        : `no sign that ${names} ${behind.length === 1 ? 'has' : 'have'} generation ${generation}`
  const then =
    atMaxAge === 'end'
      ? `it is retired at ${endsAt} at the latest`
      : isOverage
        ? `it is over its maximum age since ${endsAt} and goes on working until a person decides`
        : 'it goes on working until then'
  if (lastUsedAt !== null && !isOverage) {
    const also = blocker === '' ? '' : `; ${blocker}`
    const message = `the old key ${key.keyId} was last used at ${lastUsedAt}; move its consumers: it is retired once it was quiet for ${quietFor}${also}; ${then}`
    return { code: 'oldKeyInUse', message }
  }
  const use = lastUsedAt === null ? '' : `it was last used at ${lastUsedAt}; `
  const hint = 'report "custody consumer seen", or waive with "custody operation waive"'
  const message = `the old key ${key.keyId} waits: ${use}${blocker === '' ? '' : `${blocker}; `}${hint}; ${then}`
  return { code: 'consumersBehind', message }
}

/** Whom a reminder is for: the owner, then the heirs or the manager, then security. */
async function rankOf(ctx: StepContext, { account }: Subject, reminded: number) {
  const rank = Math.floor(reminded / remindersPerRank)
  if (rank === 0) return { rank: 'owner', to: [account.owner.id] }
  if (rank > 1) return { rank: 'security', to: ['security'] }
  const backups = account.backups.map((b) => b.id)
  const owner = await ownerState(ctx.life, account.tenant, account.owner)
  const manager = owner?.manager ?? null
  return { rank: 'heirs', to: backups.length > 0 ? backups : manager === null ? [] : [manager] }
}

async function askSecurity(ctx: StepContext, subject: Subject, blocked: Blocked) {
  const { account, credential } = subject
  const { message } = why(subject, blocked)
  const task = await askPerson(ctx.life, {
    tenant: account.tenant,
    provider: credential.provider,
    account: account.id,
    credential: credential.id,
    keyId: blocked.key.keyId,
    action: 'decide',
    assignee: 'security',
    instructions: `Decide about the rotation of credential ${credential.id} of ${account.userName}: ${message}. Move the consumers, or waive them one by one with a reason.`,
    due: decideWithin,
    operation: ctx.operation.id,
  })
  return task.id
}

/** The old keys may go: nobody has to decide any more. */
export async function goOn(ctx: StepContext, old: readonly IssuedKey[]): Promise<null> {
  if (memoOf(ctx, 'askedTask') === null) return null
  for (const key of old) await withdrawDecision(ctx.life, key)
  return null
}
