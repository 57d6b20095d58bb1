import type { ServiceAccount } from '../../domain/account.ts'
import type { Credential, IssuedKey } from '../../domain/credential.ts'
import { isDelivered } from '../../domain/credential.ts'
import type { Finding, FindingKind, InventoryLevel, Sight } from '../../domain/finding.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Failure } from '../../domain/operation.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, secondsBetween } from '../../domain/time.ts'
import type { Provider } from '../../provider/contract.ts'
import { ProviderError, shownVersion } from '../../provider/contract.ts'
import type { Change, LiveKey } from '../../store/store.ts'
import { termsOf } from '../credential-terms.ts'
import { judgeInventory } from '../reconcile-brake.ts'
import { resolution, sightChanges } from '../reconcile-findings.ts'
import { driftState } from './compare-rights.ts'
import { isAbout } from './inventory-page.ts'
import type { InventoryProgress } from './inventory.ts'
import { settleOf } from './inventory.ts'
import type { Step, StepContext } from './step.ts'
import { externalOf, memoOf, putCredential, targetOf } from './step.ts'

interface CompareProgress extends JsonObject {
  /** Whether anything may be derived from what the inventory does not show. */
  readonly trusted: boolean
  /** The key compared last. */
  readonly after: string | null
  /** Sinks that could not be read: not asked again in this run. */
  readonly sinksOut: readonly string[]
}

/** Few: each may cost a call to its sink, and a claim's lease is prolonged between pages only. */
const keysPerPage = 10
const resolvedPerPage = 50

/**
 * Once the inventory has ended: is it to be believed, what does it not show that should be there,
 * and what does the journal itself say of the keys in use. Ends with what is over.
 */
export const compareInventory: Step = async (ctx) => {
  const { life, operation } = ctx
  const inventory = memoOf<InventoryProgress>(ctx, 'inventory')!
  const provider = life.providers.get(operation.subject)
  if (!provider) {
    const message = `provider "${operation.subject}" is not configured any more`
    return { go: 'fail', failure: { code: 'notConfigured', message } }
  }
  let progress = memoOf<CompareProgress>(ctx, 'compare') ?? (await judge(ctx, provider, inventory))
  for (;;) {
    const rows = await life.store.read.liveKeysAt(provider.name, progress.after, keysPerPage)
    const last = rows.at(-1)
    if (!last) break
    const page = new KeyPage(ctx, provider, { inventory, progress })
    for (const row of rows) await page.compare(row)
    progress = { ...progress, after: last.key.keyId, sinksOut: page.sinksOut }
    await ctx.checkpoint({ compare: progress }, [
      ...page.changes,
      ...(await sightChanges(ctx, provider.name, page.sights, page.kept)),
    ])
  }
  if (progress.trusted) await resolve(ctx, provider.name)
  const failure = failureOf(provider, inventory)
  return failure ? { go: 'fail', failure } : { go: 'next' }
}

function failureOf({ name }: Provider, { complete, failure }: InventoryProgress): Failure | null {
  if (failure) return { code: failure.code, message: failure.message }
  const message = `a part of what ${name} holds could not be read; give Custody the right to read it, or take it out of its reach`
  return complete ? null : { code: 'listingIncomplete', message }
}

async function judge(
  ctx: StepContext,
  provider: Provider,
  inventory: InventoryProgress,
): Promise<CompareProgress> {
  const failure = failureOf(provider, inventory)
  const { startedAt, keys } = inventory
  const before = addSeconds(startedAt, 0 - settleOf(provider))
  const level: InventoryLevel | null = failure
    ? null
    : {
        keys,
        ...(await ctx.life.store.read.liveKeysTally(
          provider.name,
          ctx.operation.id,
          before,
          unlistedKinds(provider),
        )),
        at: startedAt,
      }
  const facts = { reason: failure?.code ?? null, message: failure?.message ?? null }
  const { trusted, changes } = await judgeInventory(ctx, provider.name, level, facts)
  const progress: CompareProgress = { trusted, after: null, sinksOut: [] }
  await ctx.checkpoint({ compare: progress }, changes)
  return progress
}

function unlistedKinds({ capabilities }: Provider): readonly string[] {
  return Object.entries(capabilities).flatMap(([kind, { canList }]) => (canList ? [] : [kind]))
}

class KeyPage {
  readonly sights: Sight[] = []
  readonly kept: Pick<Sight, 'kind' | 'subject'>[] = []
  readonly changes: Change[] = []
  sinksOut: readonly string[]
  readonly #ctx: StepContext
  readonly #provider: Provider
  readonly #startedAt: Instant
  readonly #trusted: boolean

  constructor(
    ctx: StepContext,
    provider: Provider,
    of: { readonly inventory: InventoryProgress; readonly progress: CompareProgress },
  ) {
    this.#ctx = ctx
    this.#provider = provider
    this.#startedAt = of.inventory.startedAt
    this.#trusted = of.progress.trusted
    this.sinksOut = of.progress.sinksOut
  }

  async compare({ key, sighting }: LiveKey): Promise<void> {
    const { read } = this.#ctx.life.store
    const credential = await read.credential(key.tenant, key.credential)
    const account = credential && (await read.account(key.tenant, key.account))
    if (!credential || !account) return
    // No inventory shows it, and its lease bounds its age.
    if (unlistedKinds(this.#provider).includes(credential.kind)) return
    const isSeen = sighting?.run === this.#ctx.operation.id
    if (this.#trusted && this.#settled(key.issuedAt)) {
      if (!isSeen) await this.#missing(key, credential, sighting)
      else if (!sighting.active) await this.#switchedOff(key, account)
    }
    if (!isSeen || sighting.active) this.#overage(key, credential, account)
    await this.#store(key, credential)
  }

  /** Gone for good only after a second look that lies the provider's lag apart, and a third at its own principal. */
  async #missing(
    key: IssuedKey,
    credential: Credential,
    sighting: LiveKey['sighting'],
  ): Promise<void> {
    const { clock } = this.#ctx.life
    const run = this.#ctx.operation.id
    if (!sighting?.missedRun || !sighting.missedAt) {
      const missed = { provider: this.#provider.name, run, keyId: key.keyId, at: clock.now() }
      this.changes.push({ type: 'keyMissed', ...missed })
      return
    }
    if (sighting.missedRun === run || !this.#settled(sighting.missedAt)) return
    if (await this.#isBusy(key)) return
    const shown = await this.#askPrincipal(key)
    if (shown === 'unknown') {
      this.kept.push({ kind: 'vanished', subject: key.keyId })
      return
    }
    if (shown === 'active') return
    if (shown === 'inactive') return this.#see('deactivated', key.keyId, key, {})
    this.#see('vanished', key.keyId, key, { missedAt: sighting.missedAt })
    const lastError = vanishedText(key)
    if (key.keyId === credential.keyId && credential.lastError !== lastError) {
      this.changes.push(putCredential({ ...credential, lastError }, clock.now()))
    }
  }

  /** A principal that was renamed or moved is outside the inventory, and its keys work. */
  async #askPrincipal(key: IssuedKey): Promise<'active' | 'inactive' | 'absent' | 'unknown'> {
    const principal = await this.#ctx.life.store.read.principal(
      key.tenant,
      key.account,
      key.provider,
    )
    try {
      const { items, complete } = await this.#provider.list(externalOf(principal), this.#ctx.call())
      const item = items.find((i) => i.keyId === key.keyId)
      if (item) return item.active ? 'active' : 'inactive'
      return complete ? 'absent' : 'unknown'
    } catch {
      return 'unknown'
    }
  }

  async #switchedOff(key: IssuedKey, account: ServiceAccount): Promise<void> {
    // What was switched on while the inventory was taken may have been read before that.
    if (!this.#settled(account.updatedAt) || (await this.#isBusy(key))) return
    this.#see('deactivated', key.keyId, key, {})
  }

  /** By the key's own age: what was rotated beside it is no comfort (R02). */
  #overage(key: IssuedKey, credential: Credential, account: ServiceAccount): void {
    const { clock } = this.#ctx.life
    const { maxAge } = termsOf(this.#ctx.life, account, credential).rotation
    if (secondsBetween(key.issuedAt, clock.now()) <= maxAge) return
    this.#see('overage', key.keyId, key, {
      issuedAt: key.issuedAt,
      maxAgeSeconds: maxAge,
      lastRotatedAt: credential.lastRotatedAt,
    })
  }

  /** Read back, since that a promotion was reported says little: consumers read the store (R09, R32). */
  async #store(key: IssuedKey, credential: Credential): Promise<void> {
    const { deliverTo, status } = credential
    if (!isDelivered(credential)) return
    if (key.status !== 'active' || status !== 'active' || credential.keyId !== key.keyId) return
    const sink = this.#ctx.life.sinks.get(deliverTo.sink)
    if (sink && !sink.current) return
    const about = { kind: 'stale-store' as FindingKind, subject: credential.id }
    if (sink && this.sinksOut.includes(sink.name)) {
      this.kept.push(about)
      return
    }
    let found: string | null
    try {
      found = sink ? await sink.current!(targetOf(credential), this.#ctx.call()) : 'noSuchSink'
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind !== 'conflict') {
        this.sinksOut = [...this.sinksOut, deliverTo.sink]
        this.kept.push(about)
        return
      }
      found = 'somethingElse'
    }
    const expected = key.sinkVersion === null ? null : shownVersion(key.sinkVersion)
    if ((found === null ? null : shownVersion(found)) === expected) return
    // A promotion may be under way: the journal follows the store by a moment.
    const now = await this.#ctx.life.store.read.credential(credential.tenant, credential.id)
    if (now?.keyId !== key.keyId || (await this.#isBusy(key))) return
    const facts = { sink: deliverTo.sink, path: deliverTo.path, expected, found }
    this.#see(about.kind, about.subject, key, facts)
  }

  async #isBusy(key: IssuedKey): Promise<boolean> {
    const { tenant, account, credential } = key
    return isBusyWith(this.#ctx, { tenant, account, credential })
  }

  #settled(since: Instant): boolean {
    return addSeconds(since, settleOf(this.#provider)) < this.#startedAt
  }

  #see(kind: FindingKind, subject: string, key: IssuedKey, facts: JsonObject): void {
    const { tenant, account, credential, keyId } = key
    const provider = this.#provider.name
    this.sights.push({ tenant, kind, provider, subject, account, credential, keyId, facts })
  }
}

function vanishedText({ keyId, provider }: Pick<IssuedKey, 'keyId' | 'provider'>): string {
  return `key ${keyId} is not at ${provider} any more; rotate or revoke the credential`
}

async function isBusyWith(
  { life }: StepContext,
  of: Pick<Finding, 'tenant' | 'account' | 'credential'>,
): Promise<boolean> {
  const { tenant, account, credential } = of
  if (account === null || credential === null) return false
  const work = await life.store.read.openOperations(tenant, account)
  return work.some((operation) => isAbout(operation, { credential }))
}

/** What rights are is looked at more than once before a difference is over. */
async function isOver(ctx: StepContext, finding: Finding): Promise<boolean> {
  const provider = ctx.life.providers.get(finding.provider)
  if (finding.kind !== 'entitlement-drift' || !provider) return true
  try {
    return (await driftState(ctx, provider, finding, ctx.life.clock.now())) === 'over'
  } catch (error) {
    if (error instanceof ProviderError) return false
    throw error
  }
}

/** What this run did not see is over: it looked everywhere, and it is believed. */
async function resolve(ctx: StepContext, provider: string): Promise<void> {
  const { read } = ctx.life.store
  for (let after: string | null = null; ;) {
    const rows = await read.findingsNotSeen(provider, ctx.operation.id, after, resolvedPerPage)
    const last = rows.at(-1)
    if (!last) return
    const changes: Change[] = []
    for (const finding of rows) {
      // What is being put right is over when that is: until then it could only not be looked at.
      if (await isBusyWith(ctx, finding)) continue
      if (!(await isOver(ctx, finding))) continue
      changes.push(...resolution(ctx, finding))
      const { kind, keyId, credential: id } = finding
      if (kind !== 'vanished' || keyId === null || id === null) continue
      const credential = await read.credential(finding.tenant, id)
      if (credential?.lastError !== vanishedText({ keyId, provider })) continue
      changes.push(putCredential({ ...credential, lastError: null }, ctx.life.clock.now()))
    }
    await ctx.checkpoint({}, changes)
    after = last.id
  }
}
