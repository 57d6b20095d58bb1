import type { ServiceAccount } from '../../domain/account.ts'
import { isHandedBack } from '../../domain/account.ts'
import type { IssuedKey, Principal } from '../../domain/credential.ts'
import type { FindingKind, Sight } from '../../domain/finding.ts'
import type { JsonObject } from '../../domain/json.ts'
import type { Operation } from '../../domain/operation.ts'
import type { Instant } from '../../domain/time.ts'
import { addSeconds, minute } from '../../domain/time.ts'
import type { InventoryEntry, InventoryPage, ListedKey, Provider } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { sightChanges } from '../reconcile-findings.ts'
import { noteUse } from '../uses.ts'
import { Rearm } from './inventory-rearm.ts'
import { settleOf } from './inventory.ts'
import type { StepContext } from './step.ts'
import type { Mint } from './strays.ts'
import { isOurStray, openIntents } from './strays.ts'

/** A principal this young may be one whose making is not committed yet. */
const youngSeconds = 2 * minute

/** Names in a finding's facts: enough to start from, never a list of thousands. */
const namesMax = 10

/**
 * Compares what a page shows with the journal. Only what *is* there is judged here, so an incomplete
 * inventory counts as well; what is absent is judged once the whole has been read and believed.
 * @param readAt just before the page was asked for: what changed since proves nothing
 * @returns findings, marks of the journalled keys that were shown, and what ends a key that came back
 */
export async function comparePage(
  ctx: StepContext,
  provider: Provider,
  page: InventoryPage,
  readAt: Instant,
): Promise<readonly Change[]> {
  const { read } = ctx.life.store
  const listed = page.entries.flatMap((entry) => entry.keys)
  const keys = await read.keysById(
    provider.name,
    listed.map((key) => key.keyId),
  )
  const journal = new Map<string, IssuedKey>()
  // One key may stand in two lines (a stray that was taken over): the later generation counts. What
  // was handed back and adopted again is its new account's.
  const isOurs = (key: IssuedKey) => Number(key.status !== 'released')
  const later = (a: IssuedKey, b: IssuedKey) => isOurs(a) - isOurs(b) || a.generation - b.generation
  for (const key of [...keys].sort(later)) journal.set(key.keyId, key)
  const principals = await read.principalsByExternal(
    provider.name,
    page.entries.map((entry) => entry.external),
  )
  const comparison = new Comparison(ctx, provider, readAt, journal)
  for (const entry of page.entries) {
    const principal =
      principals.find((p) => p.external === entry.external && p.state !== 'released') ??
      principals.find((p) => p.external === entry.external) ??
      (await comparison.principalByKeys(entry))
    if (principal) await comparison.ours(entry, principal)
    else await comparison.strange(entry)
  }
  for (const { keyId, lastUsedAt } of listed) {
    const key = journal.get(keyId)
    if (key && lastUsedAt) await noteUse(ctx.life, key, lastUsedAt)
  }
  return [
    {
      type: 'keysSeen',
      provider: provider.name,
      run: ctx.operation.id,
      keys: listed.filter((key) => journal.has(key.keyId)),
      at: readAt,
    },
    ...comparison.rearm.changes,
    ...(await sightChanges(ctx, provider.name, comparison.sights)),
  ]
}

class Comparison {
  readonly sights: Sight[] = []
  readonly rearm: Rearm
  readonly #ctx: StepContext
  readonly #provider: Provider
  readonly #readAt: Instant
  readonly #journal: ReadonlyMap<string, IssuedKey>
  readonly #work = new Map<string, Promise<readonly Operation[]>>()

  constructor(
    ctx: StepContext,
    provider: Provider,
    readAt: Instant,
    journal: ReadonlyMap<string, IssuedKey>,
  ) {
    this.#ctx = ctx
    this.#provider = provider
    this.#readAt = readAt
    this.#journal = journal
    this.rearm = new Rearm(ctx)
  }

  /** A principal that was renamed or moved since is still the one that holds our keys. */
  async principalByKeys(entry: InventoryEntry): Promise<Principal | null> {
    const key = entry.keys.map((k) => this.#journal.get(k.keyId)).find((k) => k !== undefined)
    if (!key) return null
    return this.#ctx.life.store.read.principal(key.tenant, key.account, key.provider)
  }

  async ours(entry: InventoryEntry, principal: Principal): Promise<void> {
    const { read } = this.#ctx.life.store
    const account = await read.account(principal.tenant, principal.account)
    // Handed back: whatever is on it now is nobody's of ours.
    if (account !== null && isHandedBack(account)) return
    const gone = account === null || principal.state === 'absent'
    if (gone && this.#settled(principal.updatedAt)) {
      this.#see('orphaned-principal', entry.external, principal, null, {
        name: entry.name,
        reason: account === null ? 'accountUnknown' : 'deletedByUs',
        ...namesOf(entry.keys),
      })
    }
    this.#count(entry, principal)
    for (const listed of entry.keys) {
      const key = this.#journal.get(listed.keyId)
      if (key) await this.#known(listed, key, account, principal)
      else await this.#foreign(listed, entry, principal)
    }
  }

  async strange(entry: InventoryEntry): Promise<void> {
    const { life, operation } = this.#ctx
    const madeAt = entry.createdAt
    if (madeAt !== null && !this.#settled(addSeconds(madeAt, youngSeconds))) return
    const marks = entry.account ?? (await this.#marksOf(entry))
    const account = marks === null ? null : await life.store.read.account(operation.tenant, marks)
    const nobody = { tenant: operation.tenant, account: account?.id ?? null }
    const facts = { name: entry.name, ...namesOf(entry.keys) }
    if (marks === null) {
      this.#see('unmanaged', entry.external, nobody, null, facts)
      return
    }
    const reason = account ? 'notJournalled' : 'accountUnknown'
    this.#see('orphaned-principal', entry.external, nobody, null, { ...facts, marks, reason })
  }

  /** What cannot be told now is told as a stranger's: never as ours. */
  async #marksOf(entry: InventoryEntry): Promise<string | null> {
    try {
      return (await this.#provider.marksOf?.(entry.external, this.#ctx.call())) ?? null
    } catch {
      return null
    }
  }

  #count(entry: InventoryEntry, principal: Principal): void {
    for (const [kind, { maxLive }] of Object.entries(this.#provider.capabilities)) {
      const held = entry.keys.filter((key) => key.kind === kind)
      if (maxLive === null || held.length <= maxLive) continue
      const facts = { name: entry.name, kind, allowed: maxLive, ...namesOf(held) }
      this.#see('extra', entry.external, principal, null, facts)
    }
  }

  async #known(
    listed: ListedKey,
    key: IssuedKey,
    account: ServiceAccount | null,
    principal: Principal,
  ): Promise<void> {
    if (key.status !== 'disabled' && key.status !== 'revoked' && key.status !== 'failed') return
    const since = key.deletedAt ?? key.disabledAt ?? key.issuedAt
    if (!this.#settled(since)) return
    if (!listed.active) {
      if (key.deletedAt !== null) {
        const facts = { reason: 'deletedByUs', since, status: key.status }
        this.#see('extra', key.keyId, principal, key, facts)
      }
      return
    }
    const work = await this.#workOn(principal)
    if (work.some((operation) => isAbout(operation, key))) return
    const started = await this.rearm.end(key, account, work)
    const facts = { since, status: key.status, operation: started }
    this.#see('reactivated', key.keyId, principal, key, facts)
  }

  async #foreign(listed: ListedKey, entry: InventoryEntry, principal: Principal): Promise<void> {
    if (await this.#isBeingMade(listed, principal)) return
    this.#see(
      'foreign',
      listed.keyId,
      principal,
      { credential: null, keyId: listed.keyId },
      {
        name: entry.name,
        active: listed.active,
        createdAt: listed.createdAt,
        adopted: !principal.created,
      },
    )
  }

  /**
   * Whether an attempt of ours whose answer is not journalled may have made the key. The page was
   * read before the journal: a key made by work that was over by then stands in the journal.
   */
  async #isBeingMade(listed: ListedKey, principal: Principal): Promise<boolean> {
    const mayBe = (operation: Operation): boolean => {
      const mint = operation.memo['mint'] as Mint | null | undefined
      if (!mint || operation.provider !== this.#provider.name) return false
      if (mint.keyId !== null || mint.before.includes(listed.keyId)) return false
      // On a principal of somebody else's nothing tells a stray of ours, so our work goes first.
      return (
        !principal.created ||
        isOurStray({ ...listed, lastUsedAt: null }, mint, principal, operation.leaseUntil)
      )
    }
    const work = await this.#workOn(principal)
    if (work.some((o) => o.status !== 'needsOperator' && mayBe(o))) return true
    // What was cut off is found and ended by the operation that took over, within the hour.
    const recent = addSeconds(this.#readAt, -60 * minute)
    const cut = await openIntents(this.#ctx, { account: principal.account })
    return cut.some(({ operation, mint }) => mint.startedAt >= recent && mayBe(operation))
  }

  #workOn(principal: Principal): Promise<readonly Operation[]> {
    const { read } = this.#ctx.life.store
    const known = this.#work.get(principal.account)
    if (known) return known
    const work = read.openOperations(principal.tenant, principal.account)
    this.#work.set(principal.account, work)
    return work
  }

  /** A list shows nothing newer than its lag. */
  #settled(since: Instant): boolean {
    return addSeconds(since, settleOf(this.#provider)) < this.#readAt
  }

  #see(
    kind: FindingKind,
    subject: string,
    of: Pick<Sight, 'tenant' | 'account'>,
    key: Pick<Sight, 'credential' | 'keyId'> | null,
    facts: JsonObject,
  ): void {
    this.sights.push({
      tenant: of.tenant,
      kind,
      provider: this.#provider.name,
      subject,
      account: of.account,
      credential: key?.credential ?? null,
      keyId: key?.keyId ?? null,
      facts,
    })
  }
}

/** Steps in which a rotation only waits: nothing it does is on its way to the provider. */
const waitingSteps: ReadonlySet<string> = new Set(['overlap', 'soak'])

/** Work that switches the key, or may: then what a page showed is no more than a moment of it. */
export function isAbout(operation: Operation, key: Pick<IssuedKey, 'credential'>): boolean {
  if (operation.subjectType === 'account') return true
  if (operation.subject !== key.credential) return false
  const step = operation.steps[operation.cursor] ?? ''
  return operation.status === 'running' || !waitingSteps.has(step)
}

function namesOf(keys: readonly ListedKey[]) {
  return {
    keys: keys.length,
    active: keys.filter((key) => key.active).length,
    keyIds: keys.slice(0, namesMax).map((key) => key.keyId),
  }
}
