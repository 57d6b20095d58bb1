import { systemActor } from '../context.ts'
import { actOnLeaver } from '../offboard.ts'
import type { Step } from './step.ts'
import { audit, memoOf } from './step.ts'

/** Accounts per claim: a page takes a few milliseconds, so other work is never held up by one leaver. */
const pageSize = 100

/**
 * Pages through what the person owned and acts on each account. The owner's row has already
 * switched everything off that asks it; this makes it true at the providers.
 */
export const fanOut: Step = async (ctx) => {
  const { life, operation } = ctx
  const after = memoOf<string>(ctx, 'after')
  const person = await life.store.read.person(operation.tenant, operation.subject)
  // Came back before we got here, or left again and is held: it would be "none" for every account.
  if (person?.active || person?.heldBy) return { go: 'done' }
  const page = await life.store.read.accountsOwnedBy(
    operation.tenant,
    operation.subject,
    after,
    pageSize,
  )
  const started = await Promise.all(
    page.map((account) => actOnLeaver(life, account, { actor: systemActor, cause: operation.id })),
  )
  const count = (memoOf<number>(ctx, 'accounts') ?? 0) + page.length
  const operations = (memoOf<number>(ctx, 'operations') ?? 0) + started.flat().length
  const last = page.at(-1)
  const memo = { after: last?.id ?? after, accounts: count, operations }
  if (last && page.length === pageSize) return { go: 'wait', until: life.clock.now(), memo }
  return {
    go: 'next',
    memo,
    changes: [
      audit(
        ctx,
        'person.offboarded',
        { type: 'person', id: operation.subject },
        { accounts: count, operations },
      ),
    ],
  }
}
