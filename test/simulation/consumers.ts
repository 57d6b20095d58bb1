import type { ServiceAccount } from '../../src/domain/account.ts'
import { consumersOf, mustReport } from '../../src/domain/consumer.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { Installation } from './installation.ts'
import type { Judge } from './judge.ts'
import { accessKeyIn } from './judge.ts'
import { Violation } from './violation.ts'

/** What one consumer has in memory of one credential. */
interface Held {
  readonly text: string
  /** When it read that. */
  readonly at: Instant
}

/** Whether a plan may end a key at once: then nobody waits for consumers. */
const isHurried = ({ kind, memo }: Operation): boolean =>
  kind === 'revoke' || (kind === 'rotate' && memo['oldKeysUntil'] != null)
const closing: ReadonlySet<string> = new Set(['disable', 'retire', 'delete', 'enable', 'leave'])

/**
 * Those who use the secrets: one kind reads again within its cache's time, the other only when it is
 * started anew, and of one that nobody declared only its calls are known. What a planned rotation
 * ends, none of them holds any more.
 */
export class Consumers {
  readonly #installation: Installation
  readonly #judge: Judge
  /** By credential: of those who read when they are started. */
  readonly #kept = new Map<string, Held>()
  /** By credential: what is served, and what was before, as long as a cache may have it. */
  readonly #served = new Map<string, Held>()
  readonly #cached = new Map<string, Held>()

  constructor(installation: Installation, judge: Judge) {
    this.#installation = installation
    this.#judge = judge
  }

  /** A consumer is started anew, and says what it has. @returns what it read, null = nothing */
  restart(account: ServiceAccount, credential: Credential): string | null {
    const text = this.#judge.served(credential)
    if (text === null) return null
    this.#kept.set(credential.id, { text, at: this.#installation.scheduler.now() })
    if (consumersOf(account).length > 0 || credential.kind !== 'access-key') return text
    // Nobody declared it: that it calls is all there is to see.
    try {
      this.#installation.worlds.aws.call({
        service: 'sts',
        operation: 'GetCallerIdentity',
        input: {},
        accessKeyId: accessKeyIn(text),
        region: 'us-east-1',
      })
    } catch {
      // A key that was ended meanwhile; whether that was right is judged elsewhere.
    }
    return text
  }

  /** Whoever uses an account that was closed is started anew when it is open again. */
  forget({ id }: Credential): void {
    for (const known of [this.#kept, this.#served, this.#cached]) known.delete(id)
  }

  /** Looked at with every active credential of an account that is up. */
  async look(account: ServiceAccount, credential: Credential): Promise<void> {
    if (credential.kind === 'app-token') return
    const now = this.#installation.scheduler.now()
    const { id } = credential
    const text = this.#judge.served(credential)
    if (text === null) return
    const known = this.#served.get(id)
    if (known && known.text !== text) this.#cached.set(id, known)
    this.#served.set(id, { text, at: now })
    const consumers = consumersOf(account)
    const caches = consumers.flatMap((c) => (mustReport(c) ? [] : (c.cacheTtl ?? [])))
    const cached = this.#cached.get(id)
    if (cached && caches.length > 0 && now < addSeconds(cached.at, Math.max(...caches))) {
      await this.#mustWork(account, credential, cached, this.#cached)
    }
    if (consumers.length > 0 && !consumers.some(mustReport)) return
    const kept = this.#kept.get(id)
    if (!kept) this.#kept.set(id, { text, at: now })
    else if (kept.text !== text) await this.#mustWork(account, credential, kept, this.#kept)
  }

  async #mustWork(
    account: ServiceAccount,
    credential: Credential,
    held: Held,
    among: Map<string, Held>,
  ): Promise<void> {
    if (await this.#judge.accepts(credential.kind, held.text)) return
    const why = await this.#excuse(account, credential, held)
    if (why === null) {
      const { kind, id } = credential
      throw new Violation(
        `${kind} ${id} (account ${account.id}): a planned rotation ended what a consumer read at ${held.at}`,
      )
    }
    among.delete(credential.id)
  }

  /**
   * Why a key may have ended under somebody's hands; null = there is no reason. A person who cancels a
   * rotation takes its key back, also where a lost answer hid that it was served already.
   */
  async #excuse(account: ServiceAccount, { id }: Credential, held: Held): Promise<string | null> {
    const { read } = this.#installation.store
    const { tenant } = account
    const reports = await read.consumerReports(tenant, account.id)
    if (reports.some((r) => r.credential === id && r.kind === 'waived')) return 'waived'
    const ops = await read.operations({ tenant, account: account.id, after: null, limit: 200 })
    const cause = ops.find(
      (op) =>
        (op.finishedAt === null || op.finishedAt >= held.at) &&
        (closing.has(op.kind) ||
          (op.subject === id && (isHurried(op) || op.memo['cancelledBy'] !== undefined))),
    )
    if (cause) return cause.kind
    return account.statusReason
  }
}
