import type { CheckpointSigner, SignedCheckpoint } from '../domain/checkpoint.ts'
import type { TenantId } from '../domain/ids.ts'
import { emptyFrontier, grow, isConsistent, rootOf, TreeIncomplete } from '../domain/merkle.ts'
import type { Clock, Instant } from '../domain/time.ts'
import { addSeconds, secondsBetween } from '../domain/time.ts'
import type { Leader } from '../domain/replica.ts'
import type { AuditHead, Change, CommitResult, Store } from '../store/store.ts'
import { consistencyProof } from './audit-tree.ts'

/** How long a row waits for its place and its signature, at most and where nothing is in the way. */
const pauseSeconds = 2
/** 250 rows are read and placed in 2–4 ms on SQLite, 500 took up to 10 (110 000 rows/s, 2026-11). */
const batchMax = 250
/** Who sequences keeps the others from it for so long after its last write, should it be killed. */
const leadSeconds = 15
const job = 'sequencer'
/** A checkpoint proves nothing that a later one does not; somebody may still ask for a recent one. */
const keptSeconds = 7 * 86_400

/** The newest signed checkpoints, kept where a restored backup of the database cannot reach. */
export interface HighWater {
  of(tenant: string): Promise<SignedCheckpoint | null>
  raise(tenant: string, checkpoint: SignedCheckpoint): Promise<void>
}

export interface SequencerEvent {
  readonly tenant: string | null
  /** `behind`: the tree lacks, or contradicts, what was anchored; nothing more is signed for it. */
  readonly outcome: 'signed' | 'behind' | 'failed'
  readonly size: number
  readonly error: unknown
}

export interface SequencerOptions {
  readonly signer: CheckpointSigner
  readonly anchor: HighWater | null
  /** This process among several: one of them sequences, the others stand by. Absent: it is alone. */
  readonly holder?: string
  readonly log: (event: SequencerEvent) => void
}

export interface Sequencer {
  start(): void
  /** One round over all tenants: places, signatures, anchors; for tests, and before an export. */
  round(): Promise<void>
  state(): SequencerState
  stop(): Promise<void>
}

export interface SequencerState {
  /** Rounds that ended in an error, since the start. */
  readonly failures: number
  /** When a round last came through. */
  readonly lastRoundAt: Instant | null
  /** Seconds the oldest row that no signature covers has been waiting, as far as this process saw. */
  readonly lagSeconds: number
  /** Tenants whose tree contradicts what was anchored. */
  readonly behind: readonly string[]
}

/**
 * Gives audit rows their places, builds each tenant's tree and signs it. Rows are committed by any
 * process without a common lock, which would serialise all replicas; only here they are put in one
 * order. One process leads, and whoever led before it writes nothing more, however long it slept:
 * each write carries the fence of its time. Nobody waits for it, least of all a revocation: trouble is told and tried again.
 */
export function createSequencer(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  options: SequencerOptions,
): Sequencer {
  const { signer, anchor, log } = options
  const behind = new Set<string>()
  /** The size up to which all is signed and anchored. */
  const settled = new Map<string, number>()
  const told = new Map<string | null, string>()
  let failures = 0
  let lastRoundAt: Instant | null = null
  let waitingSince: Instant | null = null
  let stopped = false
  let wakeUp: (() => void) | null = null
  let loop: Promise<void> | null = null

  /** As last taken; null: somebody else leads, or nobody does. */
  let lead: Leader | null = null

  /** Takes the lead where nobody has it; renews it no more often than needed. @returns false: follow */
  const leads = async (): Promise<boolean> => {
    const { holder } = options
    if (holder === undefined) return true
    const now = clock.now()
    if (lead !== null && secondsBetween(now, lead.until) > leadSeconds / 2) return true
    const until = addSeconds(now, leadSeconds)
    const taken = await store.commit([{ type: 'lead', job, holder, now, until }])
    const leader = taken === 'saved' ? await store.read.leader(job) : null
    lead = leader?.holder === holder ? leader : null
    return lead !== null
  }

  /** Others need not wait for a lease that is of no use here. */
  const resign = async (): Promise<void> => {
    if (lead === null) return
    const { holder } = lead
    const now = clock.now()
    lead = null
    await store.commit([{ type: 'lead', job, holder, now, until: now }]).catch(() => undefined)
  }

  const commit = async (change: Change): Promise<CommitResult> => {
    // Another round, or the end of this process, may have resigned since this one looked.
    if (options.holder !== undefined && lead === null) {
      return { change: 0, reason: 'fence', with: job }
    }
    const guard: Change[] = lead === null ? [] : [{ type: 'led', job, fence: lead.fence }]
    const result = await store.commit([...guard, change])
    if (result !== 'saved' && result.reason === 'fence') lead = null
    return result
  }

  const sequence = async (tenant: TenantId): Promise<void> => {
    while (!stopped) {
      const after = (await store.read.auditHead(tenant))?.frontier ?? emptyFrontier
      const rows = await store.read.auditUnsequenced(tenant, batchMax)
      const grown = grow(
        after,
        rows.map((row) => row.leaf),
      )
      if (rows.length === 0 || !(await leads())) return
      const ids = rows.map((row) => row.id)
      const result = await commit({ type: 'auditSequenced', tenant, after, ids, ...grown })
      if (result !== 'saved') {
        if (result.reason === 'fence') return
        // Another process was quicker, and goes on; if the head stands still, nobody was.
        const head = await store.read.auditHead(tenant)
        if ((head?.frontier.size ?? 0) !== after.size) return
        throw new Error(`no row of the audit log can take place ${after.size}`)
      }
      if (rows.length < batchMax) return
    }
  }

  /**
   * Signs what grew out of everything signed before, and nothing else: a tree that was rewritten, or
   * restored from a backup, would get a valid signature for another history.
   */
  const sign = async (head: AuditHead): Promise<void> => {
    const { tenant, frontier } = head
    const { size } = frontier
    if (settled.get(tenant) === size) return
    const newest = await store.read.checkpoint(tenant, null)
    const anchored = (await anchor?.of(tenant)) ?? null
    for (const held of [anchored, newest]) {
      if (held === null || (await grewOutOf(head, held))) continue
      // Who leads went on since the head was read: that is for the next round.
      if (held.size > size && ((await store.read.auditHead(tenant))?.frontier.size ?? 0) > size)
        return
      if (!behind.has(tenant)) log({ tenant, outcome: 'behind', size, error: null })
      behind.add(tenant)
      return
    }
    behind.delete(tenant)
    if (newest?.size === size && (anchor === null || anchored?.size === size)) {
      settled.set(tenant, size)
      return
    }
    if (!(await leads())) {
      // This home's own anchor follows what was signed elsewhere.
      if (anchor && newest && newest.size > (anchored?.size ?? 0)) {
        await anchor.raise(tenant, newest)
      }
      return
    }
    // Made anew where another process has made it before: what is anchored was checked here.
    const root = rootOf(frontier)
    const at = clock.now()
    const note = signer.sign(tenant, size, root)
    const checkpoint = { origin: signer.originOf(tenant), size, root, note, at }
    if (size > (newest?.size ?? 0)) {
      const before = addSeconds(at, -keptSeconds)
      if ((await commit({ type: 'auditSigned', tenant, checkpoint, before })) !== 'saved') return
      log({ tenant, outcome: 'signed', size, error: null })
    }
    if (anchor && size > (anchored?.size ?? 0)) await anchor.raise(tenant, checkpoint)
    // Only what was read back: another process of this home may write over the file meanwhile.
    else settled.set(tenant, size)
  }

  const grewOutOf = async (head: AuditHead, held: SignedCheckpoint): Promise<boolean> => {
    const { tenant, frontier } = head
    if (frontier.size < held.size) return false
    const tree = { tenant, read: store.read }
    if (frontier.size === held.size) return rootOf(frontier) === held.root
    try {
      return isConsistent({
        from: held.size,
        fromRoot: held.root,
        to: frontier.size,
        toRoot: rootOf(frontier),
        path: await consistencyProof(tree, held.size, frontier.size),
      })
    } catch (error) {
      if (error instanceof TreeIncomplete) return false
      throw error
    }
  }

  /** Told once, not every two seconds for as long as it lasts. */
  const failed = (tenant: string | null, error: unknown): void => {
    failures++
    const text = String(error)
    if (told.get(tenant) === text) return
    told.set(tenant, text)
    log({ tenant, outcome: 'failed', size: 0, error })
  }

  const attempt = async (tenant: string, act: () => Promise<void>): Promise<boolean> => {
    try {
      await act()
      told.delete(tenant)
      return true
    } catch (error) {
      // One tenant's trouble is not the next one's.
      failed(tenant, error)
      return false
    }
  }

  const round = async (): Promise<void> => {
    const startedAt = clock.now()
    let waits = false
    for (
      let tenant = await store.read.auditPending(null);
      tenant !== null && !stopped;
      tenant = await store.read.auditPending(tenant)
    ) {
      const name = tenant
      waits = !(await attempt(name, () => sequence(name))) || waits
    }
    for (const head of await store.read.auditHeads()) {
      if (stopped) return
      waits = !(await attempt(head.tenant, () => sign(head))) || behind.has(head.tenant) || waits
    }
    // Another process may have better luck.
    if (waits) await resign()
    waitingSince = waits ? (waitingSince ?? startedAt) : null
    lastRoundAt = clock.now()
  }

  const forever = async (): Promise<void> => {
    while (!stopped) {
      try {
        await round()
      } catch (error) {
        waitingSince ??= clock.now()
        failed(null, error)
      }
      if (stopped) return
      await new Promise<void>((resolve) => {
        const cancel = clock.after(pauseSeconds * 1_000, resolve)
        wakeUp = () => {
          cancel()
          resolve()
        }
      })
    }
  }

  return {
    start() {
      loop ??= forever()
    },
    round,
    state: () => ({
      failures,
      lastRoundAt,
      lagSeconds:
        waitingSince === null ? 0 : Math.max(0, secondsBetween(waitingSince, clock.now())),
      behind: [...behind],
    }),
    async stop() {
      stopped = true
      wakeUp?.()
      await loop
      await resign()
    },
  }
}
