import type { Instant } from '../../domain/time.ts'
import type { Provider } from '../../provider/contract.ts'
import type { StepContext } from './step.ts'

const pageSize = 100

/**
 * Counts keys of kinds that no listing ever shows as seen: that an inventory is without them says
 * nothing, and would look as if all of them had gone at once.
 */
export async function seeUnlisted(
  ctx: StepContext,
  provider: Provider,
  at: Instant,
): Promise<void> {
  const { read } = ctx.life.store
  const kinds = Object.entries(provider.capabilities)
  const unlisted = new Set(kinds.filter(([, { canList }]) => !canList).map(([kind]) => kind))
  if (unlisted.size === 0) return
  for (let after: string | null = null; ;) {
    const rows = await read.liveKeysAt(provider.name, after, pageSize)
    const seen: { readonly keyId: string; readonly active: boolean }[] = []
    for (const { key } of rows) {
      const credential = await read.credential(key.tenant, key.credential)
      if (unlisted.has(credential?.kind ?? '')) seen.push({ keyId: key.keyId, active: true })
    }
    const change = { type: 'keysSeen', provider: provider.name, run: ctx.operation.id } as const
    if (seen.length > 0) await ctx.checkpoint({}, [{ ...change, keys: seen, at }])
    after = rows.at(-1)?.key.keyId ?? null
    if (rows.length < pageSize) return
  }
}
