import { isJsonObject, type Json } from '../../domain/json.ts'
import type { Person } from '../../domain/owner.ts'
import type { LeftPerson, Provider } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { NotNow } from '../bulkhead.ts'
import { waitForBrake } from './braked.ts'
import type { Step, StepContext } from './step.ts'
import { Preempted, audit, memoOf } from './step.ts'

/** By provider: what was ended there, and whether nothing is left. Kept for the offboarding report. */
export interface Removal {
  readonly lines: readonly string[]
  readonly done: boolean
  /** Why it is not; null while nobody knows of a reason. */
  readonly reason: string | null
}

export type Removals = Readonly<Record<string, Removal>>

/**
 * Ends what a person who left holds at providers themselves, where a provider is configured to. Comes
 * behind the fan-out: the accounts are on their way whatever happens here, and what fails here is
 * tried again until it is done. One provider that fails keeps no other from being asked.
 */
export const removePerson: Step = async (ctx) => {
  const { life, operation } = ctx
  const person = await life.store.read.person(operation.tenant, operation.subject)
  // Came back meanwhile, or left again and is held: what was ended before, the directory gives again.
  if (!person || person.active || person.heldBy) return { go: 'done' }
  const braked = await waitForBrake(ctx, 'offboard')
  if (braked) return braked

  const left = leftPerson(person)
  const failures: string[] = []
  for (const provider of life.providers.values()) {
    if (!provider.removePerson || removalsOf(ctx)[provider.name]?.done) continue
    const reason = await removeAt(ctx, provider, left)
    if (reason !== null) failures.push(`${provider.name}: ${reason}`)
  }
  if (failures.length === 0) return { go: 'next' }
  const message = `${person.userName} is not fully removed: ${failures.join(' ')}`
  return { go: 'retry', failure: { code: 'revokeBlocked', message }, after: null }
}

/** Asked again after what was ended: then nothing may be left, or the reason comes out. */
const askedMax = 3

/** @returns why it is not done; null when it is */
async function removeAt(
  ctx: StepContext,
  provider: Provider,
  left: LeftPerson,
): Promise<string | null> {
  for (let asked = 1; asked <= askedMax; asked++) {
    const known = removalsOf(ctx)[provider.name]?.lines ?? []
    try {
      const lines = await provider.removePerson!(left, ctx.call())
      const news = lines.filter((line) => !known.includes(line))
      const removal = { lines: [...known, ...news], done: lines.length === 0, reason: null }
      await note(ctx, provider, removal, news)
      if (removal.done) return null
    } catch (error) {
      if (error instanceof Preempted) throw error
      const reason = sentenceOf(error)
      await note(ctx, provider, { lines: known, done: false, reason }, [])
      return reason
    }
  }
  return 'what was ended there is still listed.'
}

/** Only what is new becomes a row of the audit, so that an attempt every few minutes says nothing. */
async function note(
  ctx: StepContext,
  provider: Provider,
  removal: Removal,
  news: readonly string[],
): Promise<void> {
  const removals = { ...removalsOf(ctx), [provider.name]: removal }
  const target = { type: 'person', id: ctx.operation.subject }
  const facts = { provider: provider.name, lines: news }
  await ctx.checkpoint(
    { removals: removals as unknown as Json },
    news.length > 0 ? [audit(ctx, 'person.removedAt', target, facts)] : [],
  )
}

function removalsOf(ctx: StepContext): Removals {
  return memoOf<Removals>(ctx, 'removals') ?? {}
}

function sentenceOf(error: unknown): string {
  if (error instanceof ProviderError || error instanceof NotNow) return error.message
  // Its text may quote anything.
  const name = error instanceof Error ? error.name : 'unknown'
  return `the provider failed inside Custody (${name}).`
}

function leftPerson({ id, userName, externalId, attributes }: Person): LeftPerson {
  const listed = attributes['emails']
  const emails = (Array.isArray(listed) ? listed : []).flatMap((email: unknown) =>
    isJsonObject(email) && typeof email['value'] === 'string'
      ? [{ value: email['value'], first: email['primary'] === true }]
      : [],
  )
  return {
    id,
    userName,
    externalId,
    emails: emails.toSorted((a, b) => Number(b.first) - Number(a.first)).map((e) => e.value),
  }
}
