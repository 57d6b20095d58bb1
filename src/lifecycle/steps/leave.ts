import { setImmediate } from 'node:timers/promises'
import type { ServiceAccount } from '../../domain/account.ts'
import type { Operation } from '../../domain/operation.ts'
import type { OwnerState } from '../../domain/owner.ts'
import { ownerStateOf } from '../../domain/owner.ts'
import type { Instant } from '../../domain/time.ts'
import { earlier } from '../../domain/time.ts'
import type { LifecycleTerms } from '../../policy/lifecycle.ts'
import type { Lifecycle } from '../context.ts'
import { systemActor } from '../context.ts'
import { termsOf } from '../credential-terms.ts'
import { actOnDeparture } from '../departures.ts'
import { isInGrace, leftAtOf } from '../leaver.ts'
import { actOnLeaver } from '../offboard.ts'
import { LastUse } from './last-use.ts'
import type { Step, StepContext } from './step.ts'
import { Preempted, audit, memoOf } from './step.ts'

/** Accounts per checkpoint: so many are looked at again when the process dies. */
const pageSize = 50
/** Accounts that share a commit: they hold the event loop for some 4 ms. */
const togetherMax = 10
/**
 * Pages per claim. What they start is begun after them: 1 000 accounts are closed to introspection
 * and minting within half a second, where calls to providers in between would make it two.
 */
const pagesMax = 20

/**
 * Pages through what the person owned and acts on each account. The owner's row has already
 * switched everything off that asks it; this makes it true at the providers. An account that cannot
 * be acted on holds up no other; the pages are gone through again for it (R30).
 */
export const fanOut: Step = async (ctx) => {
  const { life, operation } = ctx
  const person = await life.store.read.person(operation.tenant, operation.subject)
  // Came back before we got here, or left again and is held: it would be "none" for every account.
  if (person?.active || person?.heldBy) return { go: 'done' }
  const done = {
    after: memoOf<string>(ctx, 'after'),
    accounts: memoOf<number>(ctx, 'accounts') ?? 0,
    operations: memoOf<number>(ctx, 'operations') ?? 0,
    failed: memoOf<number>(ctx, 'failed') ?? 0,
    graceUntil: memoOf<string>(ctx, 'after') === null ? null : memoOf<Instant>(ctx, 'graceUntil'),
  }
  const owner = person && ownerStateOf(person)
  const lastUse = new LastUse(ctx)
  for (let page = 1; ; page++) {
    const owned = await life.store.read.accountsOwnedBy(
      operation.tenant,
      operation.subject,
      done.after,
      pageSize,
    )
    await setImmediate()
    const ripe: ServiceAccount[] = []
    for (const account of owned) {
      const end = graceEnd(ctx, owner, termsOf(life, account))
      if (end === null) ripe.push(account)
      else done.graceUntil = done.graceUntil === null ? end : earlier(done.graceUntil, end)
    }
    const { started, failed } = await actOn(ctx, ripe, lastUse)
    done.after = owned.at(-1)?.id ?? done.after
    done.accounts += owned.length
    done.operations += started
    done.failed += failed
    if (owned.length < pageSize) break
    if (page === pagesMax) return { go: 'wait', until: life.clock.now(), memo: done }
    await ctx.checkpoint(done, [])
  }
  if (done.failed > 0) {
    const message = `${done.failed} of ${done.accounts} accounts could not be decided on; all are looked at again`
    const again = { ...done, after: null, accounts: 0, failed: 0 }
    return { go: 'retry', failure: { code: 'revokeBlocked', message }, after: null, memo: again }
  }
  // What the person holds themselves has no selector: the policy's terms for anything at all.
  const own = { environment: null, labels: [], imported: false }
  const ownEnd = graceEnd(ctx, owner, life.policy().termsFor(own))
  const ends = [done.graceUntil, ownEnd].filter((end) => end !== null)
  if (ends.length > 0) {
    const until = ends.reduce(earlier)
    // The next round begins without an end; only what it waits for now tells that it is in grace.
    const again = { ...done, after: null, accounts: 0, failed: 0, graceUntil: until }
    return { go: 'wait', until, memo: again }
  }
  // What others own and this person could read: the sweep makes up for what fails here.
  for (const departure of await life.store.read.departuresOf(operation.tenant, operation.subject)) {
    done.operations += (await actOnDeparture(life, departure, systemActor)).length
  }
  const { accounts, operations } = done
  const target = { type: 'person', id: operation.subject }
  const isKnownElsewhere = [...life.providers.values()].some((p) => p.removePerson !== undefined)
  return {
    // A step that has nobody to ask would cost each leaving of many a commit.
    go: isKnownElsewhere ? 'next' : 'done',
    memo: done,
    changes: [audit(ctx, 'person.offboarded', target, { accounts, operations })],
  }
}

/** Until when the policy lets the leaving rest; null = it counts. */
function graceEnd(
  { life }: StepContext,
  owner: OwnerState | null,
  terms: LifecycleTerms,
): Instant | null {
  return owner && isInGrace({ owner, terms, now: life.clock.now() })
    ? leftAtOf({ owner, terms })
    : null
}

async function actOn(
  ctx: StepContext,
  owned: readonly ServiceAccount[],
  lastUse: LastUse,
): Promise<{ readonly started: number; readonly failed: number }> {
  // Told once, when the step ends, and not with each account.
  const life: Lifecycle = { ...ctx.life, wake: () => undefined }
  const why = { actor: systemActor, cause: ctx.operation.id }
  const results: (readonly Operation[] | null)[] = []
  for (let i = 0; i < owned.length; i += togetherMax) {
    if (i > 0) await setImmediate()
    const some = owned.slice(i, i + togetherMax)
    results.push(
      ...(await Promise.all(
        some.map(async (account) => {
          try {
            await lastUse.refresh(account)
            return await actOnLeaver(life, account, why)
          } catch (error) {
            if (error instanceof Preempted) throw error
            return null
          }
        }),
      )),
    )
  }
  return {
    started: results.flatMap((operations) => operations ?? []).length,
    failed: results.filter((operations) => operations === null).length,
  }
}
