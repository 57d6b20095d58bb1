import type { IdSource } from '../domain/ids.ts'
import type { Replica } from '../domain/replica.ts'
import { silentAfterSeconds } from '../domain/replica.ts'
import type { Clock, Instant } from '../domain/time.ts'
import { addSeconds, secondsBetween } from '../domain/time.ts'
import type { Store } from '../store/store.ts'

const beatSeconds = 10
/** A row of one that was killed stays this long, for whoever looks for it. */
const keptSeconds = 3_600
/** Changes with each word that the policies are to be read again. */
const reloadKey = 'policies.reload'

export interface ReplicaOptions {
  /** As its worker is called. */
  readonly id: string
  readonly version: string
  readonly roles: readonly string[]
  readonly policy: () => string
  /** Milliseconds by which the machine's clock is behind the database's. */
  readonly clockOffset: () => number
  /** Somebody else has queued what may be due at once. */
  readonly onWork: () => void
  /** Another replica was told to read the policies again. */
  readonly onReload: () => Promise<void>
  readonly log: (event: ReplicaEvent) => void
}

export type ReplicaEvent =
  /** Live replicas decide by different policies, or are of different versions; told once each time. */
  | {
      readonly outcome: 'differs'
      readonly policies: readonly string[]
      readonly versions: readonly string[]
    }
  | { readonly outcome: 'agrees' }
  | { readonly outcome: 'failed'; readonly error: unknown }

export interface ReplicaLife {
  /** Announces itself, and hears the others from now on. @throws what the store throws */
  start(): Promise<void>
  /** Tells the others to read their policies again, too. */
  reloadAll(): Promise<void>
  /** One heartbeat, for tests. */
  beat(): Promise<void>
  stop(): Promise<void>
}

/** Those that are alive by their own word. */
export function liveReplicas(all: readonly Replica[], now: Instant): readonly Replica[] {
  return all.filter(({ seenAt }) => secondsBetween(seenAt, now) <= silentAfterSeconds)
}

/**
 * This process among the others on its database: a row that says it is there, an ear for what they
 * announce, and a look, every ten seconds, for what an announcement that was lost would have said.
 */
export function createReplica(
  { store, clock, ids }: { readonly store: Store; readonly clock: Clock; readonly ids: IdSource },
  options: ReplicaOptions,
): ReplicaLife {
  const startedAt = clock.now()
  let word: string | null = null
  let told = ''
  let trouble = ''
  let ending: (() => void) | null = null
  let stopped = false
  let cancel: () => void = () => undefined
  let busy: Promise<void> = Promise.resolve()

  const lookForReload = async (): Promise<void> => {
    const now = await store.read.meta(reloadKey)
    if (now === word) return
    word = now
    await options.onReload()
  }

  const compare = async (): Promise<void> => {
    const live = liveReplicas(await store.read.replicas(), clock.now())
    const policies = [...new Set(live.map((r) => r.policy))].sort()
    const versions = [...new Set(live.map((r) => r.version))].sort()
    const isOne = policies.length <= 1 && versions.length <= 1
    const text = isOne ? '' : JSON.stringify([policies, versions])
    if (text !== told) {
      options.log(isOne ? { outcome: 'agrees' } : { outcome: 'differs', policies, versions })
    }
    told = text
  }

  const announceSelf = async (): Promise<void> => {
    const now = clock.now()
    const { id, version, roles, policy, clockOffset } = options
    const replica: Replica = {
      id,
      version,
      roles,
      policy: policy(),
      startedAt,
      seenAt: now,
      clockOffset: Math.round(clockOffset()),
    }
    const forget = addSeconds(now, -keptSeconds)
    await store.commit([{ type: 'replicaSeen', replica, forget }])
  }

  const beat = async (): Promise<void> => {
    try {
      await announceSelf()
      await lookForReload()
      await compare()
      trouble = ''
    } catch (error) {
      // Told once, not every ten seconds for as long as it lasts.
      if (String(error) !== trouble) options.log({ outcome: 'failed', error })
      trouble = String(error)
    }
  }

  const next = (): void => {
    if (stopped) return
    cancel = clock.after(beatSeconds * 1_000, () => {
      busy = beat().finally(next)
    })
  }

  return {
    async start() {
      word = await store.read.meta(reloadKey)
      await announceSelf()
      ending = await store.listen((topic) => {
        if (topic === 'work') options.onWork()
        else {
          busy = busy.then(lookForReload).catch((error: unknown) => {
            options.log({ outcome: 'failed', error })
          })
        }
      })
      next()
    },
    async reloadAll() {
      // Its own word is no news to it.
      word = ids.next()
      await store.commit([{ type: 'meta', key: reloadKey, value: word }])
      await announceSelf()
      store.announce('policy')
    },
    beat,
    async stop() {
      stopped = true
      cancel()
      ending?.()
      await busy
      await store.commit([{ type: 'replicaGone', id: options.id }]).catch(() => undefined)
    },
  }
}
