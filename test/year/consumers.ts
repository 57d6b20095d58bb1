import type { Clock } from '../../src/domain/time.ts'
import { instantOf } from '../../src/domain/time.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Chance } from '../simulation/scheduler.ts'
import { day, hour, minute } from './clock.ts'
import { keyIdIn, useKey, versionAt } from './quick.ts'
import type { YearWorld } from './world.ts'

/** Of those that only read at their start, so many tell Custody what they have read. */
const reportShare = 0.85

/** How whoever uses a secret comes by it. */
export const patterns = ['per-call', 'cache-1h', 'cache-24h', 'restart-only', 'quarterly'] as const
export type Pattern = (typeof patterns)[number]

/** What an account says of its consumers: the kind, and for how long they hold what they have read. */
export const declared: Readonly<
  Record<Pattern, { readonly kind: string; readonly cacheTtl?: string }>
> = {
  'per-call': { kind: 'external-secrets' },
  'cache-1h': { kind: 'secrets-manager-client', cacheTtl: 'PT1H' },
  'cache-24h': { kind: 'secrets-manager-client', cacheTtl: 'P1D' },
  'restart-only': { kind: 'restart-only' },
  quarterly: { kind: 'secrets-manager-client', cacheTtl: 'P2D' },
}

/** Between two starts of what only reads its secret then. */
const restart = { leastDays: 20, mostDays: 60 }
const quarter = { every: 91 * day, lasts: 2 * day }
/** Somebody notices what fails, and starts it again. */
const noticedAfter = hour

export interface Place {
  readonly account: string
  readonly credential: string
  readonly kind: string
  /** Where it reads, as the sink names it. */
  readonly path: string
  /** Of a deploy key. */
  readonly repository: string | null
}

export interface Consumer {
  readonly place: Place
  readonly name: string
  readonly pattern: Pattern
  /** Tells Custody what it has read, when it has read it. */
  readonly reports: boolean
  readonly callEvery: number
  readonly phase: number
  held: string | null
  /** When it read that. */
  heldAt: number
  refreshAt: number
  /** Its calls before this are looked at. */
  doneUntil: number
}

export interface Failed {
  readonly consumer: Consumer
  readonly count: number
  readonly firstAt: number
}

interface Calls {
  readonly first: number
  readonly last: number
  readonly count: number
}

/**
 * Everybody who uses a secret. Between two moments at which keys of an account are looked at, ended or
 * replaced nothing can change for its consumers, so that their calls of that time (every five minutes,
 * for some) are told from one question to the sandbox instead of being made one by one.
 */
export class Consumers {
  readonly #world: () => YearWorld
  readonly #chance: Chance
  readonly #onFailure: (failed: Failed) => Promise<void> | void
  readonly #onRestart: (consumer: Consumer) => Promise<void> | void
  readonly #of = new Map<string, Consumer[]>()
  readonly #replaying = new Map<string, Promise<void>>()
  readonly #deployKeys = new Map<string, string>()
  /** All calls of all consumers. */
  calls = 0

  constructor(
    world: () => YearWorld,
    chance: Chance,
    on: {
      readonly failure: (failed: Failed) => Promise<void> | void
      readonly restart: (consumer: Consumer) => Promise<void> | void
    },
  ) {
    this.#world = world
    this.#chance = chance
    this.#onFailure = on.failure
    this.#onRestart = on.restart
  }

  of(account: string): readonly Consumer[] {
    return this.#of.get(account) ?? []
  }

  /** From now on somebody uses it. */
  add(
    place: Place,
    pattern: Pattern,
    { name, until }: { readonly name: string; readonly until: number },
  ): void {
    const { clock } = this.#world()
    const consumer: Consumer = {
      place,
      name,
      pattern,
      reports: pattern === 'restart-only' && this.#chance.happens(reportShare),
      callEvery: this.#callEvery(pattern),
      phase: this.#chance.below(pattern === 'quarterly' ? quarter.every : day),
      held: null,
      heldAt: 0,
      refreshAt: clock.ms,
      doneUntil: clock.ms,
    }
    this.#of.set(place.account, [...this.of(place.account), consumer])
    if (pattern === 'restart-only') this.#restartLater(consumer, until)
  }

  /** Brings what the consumers of an account have done up to date. */
  async touched(account: string): Promise<void> {
    const running = this.#replaying.get(account)
    if (running) return running
    const replay = this.#replayAll(account).finally(() => this.#replaying.delete(account))
    this.#replaying.set(account, replay)
    return replay
  }

  async everybody(): Promise<void> {
    for (const account of this.#of.keys()) await this.touched(account)
  }

  /** Whether what is served now would let a consumer in. */
  async serves(place: Place): Promise<boolean> {
    const text = this.current(place)
    return text !== null && this.#isAccepted(place, text, this.#world().clock.ms, false)
  }

  /** Whether that very secret still lets anybody in. */
  isAlive(place: Place, text: string): Promise<boolean> {
    return this.#isAccepted(place, text, this.#world().clock.ms, false)
  }

  current({ path }: Place): string | null {
    return versionAt(this.#world().aws, `custody/${defaultTenant}/${path}`, null)
  }

  #callEvery(pattern: Pattern): number {
    switch (pattern) {
      case 'per-call':
      case 'cache-1h':
        return 5 * minute
      case 'cache-24h':
        return hour
      case 'restart-only':
        // Long-lived ones that are hardly ever used are the ones that are forgotten.
        return this.#chance.happens(0.5) ? hour : 3 * day
      case 'quarterly':
        return 10 * minute
    }
  }

  #restartLater(consumer: Consumer, until: number): void {
    const { clock } = this.#world()
    const days = restart.leastDays + this.#chance.below(restart.mostDays - restart.leastDays)
    const at = clock.ms + days * day + this.#chance.below(day)
    if (at >= until) return
    clock.at(at, async () => {
      await this.touched(consumer.place.account)
      consumer.refreshAt = clock.ms
      consumer.held = this.current(consumer.place)
      consumer.heldAt = clock.ms
      this.#restartLater(consumer, until)
      await this.#onRestart(consumer)
    })
  }

  async #replayAll(account: string): Promise<void> {
    const { ms: until } = this.#world().clock
    for (const consumer of this.of(account)) await this.#replay(consumer, until)
  }

  async #replay(consumer: Consumer, until: number): Promise<void> {
    let from = consumer.doneUntil
    if (until <= from) return
    consumer.doneUntil = until
    const current = this.current(consumer.place)
    while (from < until) {
      if (consumer.refreshAt <= from) {
        consumer.held = current
        consumer.heldAt = from
        consumer.refreshAt = nextRefresh(consumer, until)
      }
      const end = Math.min(consumer.refreshAt, until)
      const calls = callsIn(consumer, from, end)
      from = end
      if (calls === null) continue
      this.calls += calls.count
      if (await this.#use(consumer, calls.last)) continue
      const noticed = calls.first + noticedAfter
      const count = callsIn(consumer, calls.first, Math.min(end, noticed))?.count ?? 1
      await this.#onFailure({ consumer, count, firstAt: calls.first })
      if (consumer.held !== current) {
        consumer.refreshAt = Math.min(end, noticed)
        from = consumer.refreshAt
      }
    }
  }

  #use({ place, held }: Consumer, at: number): Promise<boolean> {
    return held === null ? Promise.resolve(false) : this.#isAccepted(place, held, at, true)
  }

  async #isAccepted(place: Place, text: string, at: number, notes: boolean): Promise<boolean> {
    const { aws, clock, github } = this.#world()
    switch (place.kind) {
      case 'access-key': {
        const key = keyIdIn(text)
        if (key === null) return false
        if (notes) clock.as(at, () => useKey(aws, key))
        return aws.wouldAllow(key, 's3:GetObject', 'arn:aws:s3:::artifacts/x')
      }
      case 'deploy-key': {
        const known = this.#deployKeys.get(text)
        const keys = [...(github.deployKeys('acme', place.repository!) ?? [])]
        const key = keys.find((k) => (known ? k.key === known : holds(text, k.key)))
        if (!key) return false
        this.#deployKeys.set(text, key.key)
        if (notes) Object.assign(key, { lastUsedAt: instantOf(at) })
        return true
      }
      default: {
        // A clock of its own: others work at the same time.
        const then: Clock = { ...frozen(at), monotonic: () => clock.monotonic() }
        const tokens = this.#world().tokensAt(then)
        if (notes) return (await tokens.introspect(text, defaultTenant)).active
        return tokens.book.isAccepted(Secret.ofText(text))
      }
    }
  }
}

const frozen = (at: number) => ({ now: () => instantOf(at), after: () => () => undefined })

/** When it reads anew, given that nothing it could read changes before `until`. */
function nextRefresh({ pattern, phase }: Consumer, until: number): number {
  switch (pattern) {
    case 'per-call':
      return until
    case 'cache-1h':
      return gridAfter(phase, hour, until)
    case 'cache-24h':
      return gridAfter(phase, day, until)
    case 'restart-only':
      return Infinity
    case 'quarterly':
      return gridAfter(phase, quarter.every, until)
  }
}

/** The first of the grid that is not before then. */
function gridAfter(phase: number, every: number, from: number): number {
  return phase + Math.ceil((from - phase) / every) * every
}

function callsIn(consumer: Consumer, from: number, end: number): Calls | null {
  const { pattern, phase, callEvery } = consumer
  if (pattern !== 'quarterly') return onGrid(phase, callEvery, from, end)
  let found: Calls | null = null
  const firstRun = gridAfter(phase, quarter.every, from) - quarter.every
  for (let run = firstRun; run < end; run += quarter.every) {
    const some = onGrid(run, callEvery, Math.max(from, run), Math.min(end, run + quarter.lasts))
    if (!some) continue
    found = found ? { first: found.first, last: some.last, count: found.count + some.count } : some
  }
  return found
}

function onGrid(phase: number, every: number, from: number, end: number): Calls | null {
  const first = gridAfter(phase, every, from)
  if (first >= end) return null
  const more = Math.ceil((end - first) / every) - 1
  return { first, last: first + more * every, count: more + 1 }
}

/** An `openssh-key-v1` file has the public half in it, as the wire format has it. */
function holds(pem: string, publicKey: string): boolean {
  if (!pem.startsWith('-----')) return false
  const file = Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64')
  return file.includes(Buffer.from(publicKey.split(' ')[1]!, 'base64'))
}
