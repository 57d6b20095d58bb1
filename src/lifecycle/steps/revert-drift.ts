import type { Failure } from '../../domain/operation.ts'
import { addSeconds } from '../../domain/time.ts'
import { grantedTo } from '../granted.ts'
import { resolution } from '../reconcile-findings.ts'
import { driftIn, driftState } from './compare-rights.ts'
import { settleOf } from './inventory.ts'
import type { Step, StepContext } from './step.ts'
import { NotConfigured, audit, memoOf } from './step.ts'

const looksMax = 5

/**
 * Puts one difference back, and believes it only when the provider shows so afterwards. The finding
 * is resolved in the commit that ends the operation.
 */
export const revertDrift: Step = async (ctx) => {
  const { life, operation } = ctx
  const finding = await life.store.read.finding(operation.tenant, operation.subject)
  if (!finding || finding.status === 'resolved') return { go: 'done' }
  const provider = life.providers.get(finding.provider)
  if (!provider?.revertDrift) {
    throw new NotConfigured(
      `provider "${finding.provider}" can put nothing back; put it back there`,
    )
  }
  const principal = await life.store.read.principal(
    operation.tenant,
    operation.account!,
    provider.name,
  )
  const now = life.clock.now()
  const want = principal && (await grantedTo(life, provider, principal, now, operation))
  if (!want) {
    if ((await driftState(ctx, provider, finding, now)) !== 'over') return busy(ctx)
    return { go: 'done', changes: resolution(ctx, finding) }
  }
  const already = memoOf<readonly string[]>(ctx, 'done') ?? []
  if (already.length === 0) {
    const done = await provider.revertDrift(principal.external!, want, driftIn(finding), ctx.call())
    await ctx.checkpoint({ done: [...done] }, [
      audit(ctx, 'finding.reverted', { type: 'finding', id: finding.id }, { done: [...done] }),
    ])
    const settle = settleOf(provider)
    if (settle > 0)
      return { go: 'wait', until: addSeconds(life.clock.now(), settle), sameAttempt: true }
  }
  const state = await driftState(ctx, provider, finding, life.clock.now())
  if (state === 'over') return { go: 'done', changes: resolution(ctx, finding) }
  if (state === 'unknown') return busy(ctx)
  return stillThere(ctx)
}

function busy({ life }: StepContext) {
  const message = 'other work on the account is under way, or its rights cannot be read now'
  const failure: Failure = { code: 'busy', message }
  return { go: 'wait', until: addSeconds(life.clock.now(), 10), failure } as const
}

/** Somebody puts it there again, or the listing lags: it is put back once more, and then asked about. */
function stillThere({ operation }: StepContext) {
  const message = 'it is there again after it was put back; find out who, or what, puts it there'
  const failure: Failure = { code: 'driftStays', message }
  if (operation.attempt + 1 >= looksMax) return { go: 'ask', failure } as const
  return { go: 'retry', failure, after: null, memo: { done: [] } } as const
}
