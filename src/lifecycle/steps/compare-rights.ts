import type { Principal } from '../../domain/credential.ts'
import type { Finding, Sight } from '../../domain/finding.ts'
import type { Json, JsonObject } from '../../domain/json.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds } from '../../domain/time.ts'
import type { Drift, Provider, WantedScopes } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { grantedTo } from '../granted.ts'
import { sightChanges } from '../reconcile-findings.ts'
import type { Step, StepContext, StepResult } from './step.ts'
import { memoOf } from './step.ts'

/** How far the comparison of rights got. */
interface RightsProgress extends JsonObject {
  /** A place in the provider's own walk, or the key compared last. */
  readonly cursor: string | null
  readonly ended: boolean
  readonly principals: number
  readonly drifts: number
  /** Why it was given up; nothing is resolved then. */
  readonly failure: { readonly code: string; readonly message: string } | null
}

const attemptsMax = 5
/** Each may cost several calls where rights cannot be read in bulk. */
const keysPerPage = 10

/**
 * What keys may do at a provider, against what was granted. Findings only: nobody's rights are
 * changed by what an hourly walk saw. In bulk where the provider can, else principal by principal.
 */
export const compareRights: Step = async (ctx) => {
  const provider = ctx.life.providers.get(ctx.operation.subject)
  if (!provider?.driftOf) return { go: 'next' }
  let progress: RightsProgress = memoOf<RightsProgress>(ctx, 'rights') ?? {
    cursor: null,
    ended: false,
    principals: 0,
    drifts: 0,
    failure: null,
  }
  for (let moved = false; !progress.ended; moved = true) {
    try {
      const page = provider.driftPage
        ? await bulkPage(ctx, provider, progress.cursor)
        : await keyPage(ctx, provider, progress.cursor)
      progress = {
        ...progress,
        cursor: page.next,
        ended: page.next === null,
        principals: progress.principals + page.principals,
        drifts: progress.drifts + page.sights.length,
      }
      const changes = await sightChanges(ctx, provider.name, page.sights)
      await ctx.checkpoint({ rights: progress }, changes)
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      return troubled(ctx, { progress, moved }, error)
    }
  }
  return { go: 'next' }
}

function troubled(
  ctx: StepContext,
  { progress, moved }: { readonly progress: RightsProgress; readonly moved: boolean },
  error: ProviderError,
): StepResult {
  const failure = { code: error.kind, message: error.message }
  if (error.kind === 'throttled' || error.kind === 'unavailable') {
    const until = addSeconds(ctx.life.clock.now(), Math.max(1, error.retryAfter ?? 0))
    if (moved) return { go: 'wait', until }
    if (ctx.operation.attempt + 1 < attemptsMax) {
      return { go: 'retry', failure, after: error.retryAfter }
    }
  }
  // The inventory of keys is worth having all the same.
  return { go: 'next', memo: { rights: { ...progress, ended: true, failure } } }
}

interface Compared {
  readonly principal: Principal
  readonly want: readonly WantedScopes[]
}

interface RightsPage {
  readonly sights: readonly Sight[]
  readonly principals: number
  readonly next: string | null
}

async function bulkPage(
  ctx: StepContext,
  provider: Provider,
  from: string | null,
): Promise<RightsPage> {
  const { read } = ctx.life.store
  const readAt = ctx.life.clock.now()
  const known = new Map<string, Compared>()
  const page = await provider.driftPage!(
    from,
    async (asked) => {
      const externals = asked.map(({ external }) => external)
      const stored = await read.principalsByExternal(provider.name, externals)
      const wanted = new Map<string, readonly WantedScopes[]>()
      for (const { external, account } of asked) {
        // One that was renamed since is found by its marks.
        const principal =
          stored.find((one) => one.external === external) ??
          (account === null
            ? null
            : await read.principal(ctx.operation.tenant, account as never, provider.name))
        const want = principal && (await grantedTo(ctx.life, provider, principal, readAt))
        if (!want) continue
        known.set(external, { principal, want })
        wanted.set(external, want)
      }
      return wanted
    },
    ctx.call(),
  )
  const sights = page.principals.flatMap(({ external, items }) => {
    const compared = known.get(external)
    return compared ? items.map((drift) => sightOf(provider.name, compared, drift)) : []
  })
  return { sights, principals: page.principals.length, next: page.next }
}

async function keyPage(
  ctx: StepContext,
  provider: Provider,
  from: string | null,
): Promise<RightsPage> {
  const { read } = ctx.life.store
  const rows = await read.liveKeysAt(provider.name, from, keysPerPage)
  const sights: Sight[] = []
  let principals = 0
  for (const { key } of rows) {
    const principal = await read.principal(key.tenant, key.account, provider.name)
    const readAt = ctx.life.clock.now()
    const want = principal && (await grantedTo(ctx.life, provider, principal, readAt))
    // Once for all keys of a principal: with the first of them.
    const first = want?.map(({ keyId }) => keyId).sort()[0]
    if (!principal || !want || key.keyId !== first) continue
    principals++
    const { items, complete } = await provider.driftOf!(principal.external!, want, ctx.call())
    if (!complete) continue
    sights.push(...items.map((drift) => sightOf(provider.name, { principal, want }, drift)))
  }
  return { sights, principals, next: rows.at(-1)?.key.keyId ?? null }
}

/** One finding for each difference: what it is, which one, and of which principal or key. */
export function driftSubject(account: string, { what, name, keyId }: DriftName): string {
  return [account, what, name, ...(keyId === null ? [] : [keyId])].join(' ')
}

type DriftName = Pick<Drift, 'what' | 'name' | 'keyId'>

/** The credential is named where only one can be meant. */
function sightOf(provider: string, { principal, want }: Compared, drift: Drift): Sight {
  const meant = want.filter(({ keyId }) => drift.keyId === null || keyId === drift.keyId)
  const { what, name, granted, actual, reach, asScopes } = drift
  return {
    tenant: principal.tenant,
    kind: 'entitlement-drift',
    provider,
    subject: driftSubject(principal.account, drift),
    account: principal.account,
    credential: meant.length === 1 ? meant[0]!.credential : null,
    keyId: drift.keyId,
    facts: {
      what,
      name,
      granted,
      actual,
      reach,
      asScopes: asScopes ? { add: [...asScopes.add], remove: [...asScopes.remove] } : null,
    },
  }
}

/** The difference that a finding is about. @throws Error for a finding of another kind */
export function driftIn({ kind, keyId, facts }: Finding): Drift {
  if (kind !== 'entitlement-drift') throw new Error(`a finding of kind ${kind} is no drift`)
  const { what, name, granted, actual, reach, asScopes } = facts as {
    readonly [name: string]: Json
  } & Pick<Drift, 'what' | 'name' | 'granted' | 'actual' | 'reach'> & {
      readonly asScopes: { readonly add: readonly string[]; readonly remove: readonly string[] }
    }
  return {
    what,
    name,
    keyId,
    granted,
    actual,
    reach,
    ...((asScopes as unknown) === null ? {} : { asScopes }),
  }
}

/**
 * Whether a difference is over, by a look at its own principal: a walk in bulk does not look at
 * everything, so that what it did not see proves nothing.
 * @returns 'unknown' while nobody can tell
 */
export async function driftState(
  ctx: StepContext,
  provider: Provider,
  finding: Finding,
  readAt: Instant,
): Promise<'there' | 'over' | 'unknown'> {
  if (finding.account === null || !provider.driftOf) return 'over'
  const { store } = ctx.life
  const principal = await store.read.principal(finding.tenant, finding.account, provider.name)
  if (!principal || principal.state === 'absent') return 'over'
  const credentials = await store.read.credentialsOf(finding.tenant, finding.account)
  const isUsed = credentials.some(
    ({ provider: at, status }) =>
      at === provider.name && status !== 'revoked' && status !== 'released',
  )
  if (!isUsed) return 'over'
  const want = await grantedTo(ctx.life, provider, principal, readAt, ctx.operation)
  if (!want) return 'unknown'
  const { items, complete } = await provider.driftOf(principal.external!, want, ctx.call())
  if (items.some((drift) => driftSubject(principal.account, drift) === finding.subject)) {
    return 'there'
  }
  return complete ? 'over' : 'unknown'
}
