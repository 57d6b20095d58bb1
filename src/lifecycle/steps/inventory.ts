import type { JsonObject } from '../../domain/json.ts'
import type { Failure } from '../../domain/operation.ts'
import type { Instant, Seconds } from '../../domain/time.ts'
import { addSeconds, seconds } from '../../domain/time.ts'
import type { InventoryPage, Provider } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { comparePage } from './inventory-page.ts'
import type { Step, StepContext, StepResult } from './step.ts'
import { memoOf } from './step.ts'

/** How far an inventory got: counts and a place, never the inventory itself. */
export interface InventoryProgress extends JsonObject {
  readonly startedAt: Instant
  readonly cursor: string | null
  /** The last page was read: a cursor of null is then no beginning. */
  readonly ended: boolean
  readonly pages: number
  readonly keys: number
  /** False once a page could not be read as a whole. */
  readonly complete: boolean
  readonly restarts: number
  /** Why it was given up; null while it goes on, and when it reached its end. */
  readonly failure: (Failure & JsonObject) | null
}

/**
 * In a row and without anything read in between: some 15 s of trouble, or 2 min of silence. Who says
 * that we ask too often is there, and gets 2 min.
 */
const attemptsMax = { unavailable: 5, throttled: 8 }
const restartsMax = 2

/**
 * Walks through all a provider holds, page by page, and compares each page with the journal as it
 * comes. Each page is committed with its findings and its place, so that a killed worker costs one
 * page. One call is one page and has the time of one call: a provider that hangs is given up, too.
 */
export const takeInventory: Step = async (ctx) => {
  const provider = ctx.life.providers.get(ctx.operation.subject)
  if (!provider?.inventory) {
    const message = `provider "${ctx.operation.subject}" is not configured any more, or has no inventory`
    return { go: 'fail', failure: { code: 'notConfigured', message } }
  }
  // What was adopted may bear no mark: the journal alone knows that it is ours to look after.
  const journalled = async (ids: readonly string[]) => {
    const keys = await ctx.life.store.read.keysById(provider.name, ids)
    return new Set(keys.map(({ keyId }) => keyId))
  }
  let progress = memoOf<InventoryProgress>(ctx, 'inventory') ?? fresh(ctx.life.clock.now())
  for (let moved = false; !progress.ended; moved = true) {
    const readAt = ctx.life.clock.now()
    let page: InventoryPage
    try {
      page = await provider.inventory(progress.cursor, { ...ctx.call(), journalled })
      assertMoves(provider, page, progress.cursor)
    } catch (error) {
      return troubled(ctx, { progress, moved }, error)
    }
    const compared = await comparePage(ctx, provider, page, readAt)
    progress = {
      ...progress,
      cursor: page.next,
      ended: page.next === null,
      pages: progress.pages + 1,
      keys: page.entries.reduce((sum, entry) => sum + entry.keys.length, progress.keys),
      complete: progress.complete && page.complete,
    }
    await ctx.checkpoint({ inventory: progress }, compared)
  }
  return { go: 'next' }
}

/** How long a provider's lists may lag behind our writes. */
export function settleOf({ capabilities }: Provider): Seconds {
  return seconds(Math.max(0, ...Object.values(capabilities).map((kind) => kind.settleMax)))
}

function fresh(startedAt: Instant): InventoryProgress {
  return {
    startedAt,
    cursor: null,
    ended: false,
    pages: 0,
    keys: 0,
    complete: true,
    restarts: 0,
    failure: null,
  }
}

function assertMoves({ name }: Provider, { next }: InventoryPage, from: string | null): void {
  if (next === null || next !== from) return
  throw new ProviderError('unavailable', `The inventory of ${name} does not get on.`, {
    outcome: 'notApplied',
  })
}

function troubled(
  ctx: StepContext,
  at: { readonly progress: InventoryProgress; readonly moved: boolean },
  error: unknown,
): StepResult {
  const { progress, moved } = at
  const now = ctx.life.clock.now()
  const kind = error instanceof ProviderError ? error.kind : 'unavailable'
  const after = error instanceof ProviderError ? error.retryAfter : null
  const failure = {
    code: kind,
    // What is no ProviderError may quote anything.
    message: error instanceof ProviderError ? error.message : 'the provider broke its contract',
  }
  if (kind === 'invalid' && progress.cursor !== null && progress.restarts < restartsMax) {
    // The provider does not know the place any more: a listing from its start is worth as much.
    const inventory = { ...fresh(now), restarts: progress.restarts + 1 }
    return { go: 'wait', until: now, memo: { inventory } }
  }
  if (kind === 'throttled' || kind === 'unavailable') {
    // What got on starts to count anew, or a large inventory would use its attempts up.
    if (moved) return { go: 'wait', until: addSeconds(now, Math.max(1, after ?? 0)) }
    if (ctx.operation.attempt + 1 < attemptsMax[kind]) return { go: 'retry', failure, after }
  }
  return { go: 'next', memo: { inventory: { ...progress, failure } } }
}
