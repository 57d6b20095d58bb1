import type { ServiceAccount } from '../../src/domain/account.ts'
import { isOpen } from '../../src/domain/account.ts'
import type { AuditRow } from '../../src/domain/audit.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { instantOf } from '../../src/domain/time.ts'
import { day, hour, week } from './clock.ts'
import type { Company, Member } from './company.ts'
import type { Consumers, Failed, Place } from './consumers.ts'
import type { Estate } from './estate.ts'
import type { YearWorld } from './world.ts'

/** What a person has to decide because something happened; the yearly confirmations are counted apart. */
export type DecisionKind =
  | 'accept an offer'
  | 'decide on held leavings'
  | 'undo'
  | 'rescue an account'
  | 'retry what is stuck'
  | 'answer for consumers'
  | 'apply a truth check'
  | 'look at a finding'
  | 'move accounts in a reorganisation'

export type MailKind = 'offer' | 'warning' | 'reminder'

export interface FalseKill {
  readonly account: string
  readonly at: number
  readonly why: 'mis-sync' | 'leave of absence' | 'reorganisation'
  decidedAt: number | null
  restoredAt: number | null
}

interface Exposure {
  readonly place: Place
  readonly text: string
  readonly since: number
}

/** What happened to an account beside its planned rotations. */
interface Mark {
  readonly at: number
  readonly cause: string
  readonly closes: boolean
}

const mailOf: Readonly<Record<string, MailKind>> = {
  'account.expiresSoon': 'warning',
  'credential.expiresSoon': 'warning',
  'consumer.reminded': 'reminder',
}

/** Counts, by what is true and by what the sandbox answers; Custody's rows only say what it believes. */
export class Judge {
  readonly decisions = new Map<DecisionKind, number>()
  /** By which operation an account was closed, or taken from its owner, last. */
  readonly closedBy = new Map<string, string>()
  /** Accounts whose owners confirmed, by the calendar, that they are still needed. */
  confirmed = 0
  readonly mails = new Map<MailKind, number>()
  readonly failures = new Map<string, { consumers: number; calls: number }>()
  /** For whoever looks into a seed. */
  readonly story: string[] = []
  readonly falseKills: FalseKill[] = []
  readonly orphans = new Map<string, number>()
  readonly exposures: number[] = []
  outageEnds: { readonly from: number; readonly to: number } | null = null
  #mailsByOwnerWeek = new Map<string, number>()
  #pending: Exposure[] = []
  readonly #marks = new Map<string, Mark[]>()
  readonly #world: () => YearWorld
  readonly #estate: () => Estate
  readonly #company: () => Company
  readonly #consumers: () => Consumers
  readonly #from: number

  constructor(parts: {
    readonly world: () => YearWorld
    readonly estate: () => Estate
    readonly company: () => Company
    readonly consumers: () => Consumers
    readonly from: number
  }) {
    this.#world = parts.world
    this.#estate = parts.estate
    this.#company = parts.company
    this.#consumers = parts.consumers
    this.#from = parts.from
  }

  get #now(): number {
    return this.#world().clock.ms
  }

  decided(kind: DecisionKind, about: string): void {
    if (this.#now < this.#from) return
    this.decisions.set(kind, (this.decisions.get(kind) ?? 0) + 1)
    this.note(`decision: ${kind}: ${about}`)
  }

  note(line: string): void {
    this.story.push(`${this.#world().clock.now()} ${line}`)
  }

  mail(kind: MailKind, to: string): void {
    if (this.#now < this.#from) return
    this.mails.set(kind, (this.mails.get(kind) ?? 0) + 1)
    const key = `${to} ${Math.floor(this.#now / week)}`
    this.#mailsByOwnerWeek.set(key, (this.#mailsByOwnerWeek.get(key) ?? 0) + 1)
  }

  /** The most that anybody got in a week, and the mean over all who own something. */
  mailsPerOwnerWeek(weeks: number): { readonly mean: number; readonly most: number } {
    const owners = new Set([...this.#estate().accounts.values()].map((a) => a.owner.id))
    const all = [...this.#mailsByOwnerWeek.values()]
    const sum = all.reduce((a, b) => a + b, 0)
    return { mean: sum / (weeks * Math.max(1, owners.size)), most: Math.max(0, ...all) }
  }

  audit({ action, facts, target }: AuditRow): void {
    const kind = mailOf[action]
    if (kind === undefined) return
    const credential = this.#estate().credentials.get(target)
    const account = this.#estate().accounts.get(credential?.account ?? target)
    const owner = facts['owner'] ?? account?.owner.id
    if (typeof owner === 'string') this.mail(kind, owner)
  }

  enqueued({ id, kind, account, memo }: Operation): void {
    if (account !== null && kind === 'disable') this.closedBy.set(account, id)
    const until = memo['oldKeysUntil']
    if (kind !== 'rotate' || account === null || typeof until !== 'string') return
    this.closedBy.set(account, id)
    this.#mark(account, 'rotation for a leaver', false)
    this.#touchBefore(account, until)
  }

  /** An account was written: was that right? */
  account(before: ServiceAccount | null, after: ServiceAccount): void {
    if (after.expiresAt !== before?.expiresAt) this.#endsAt(after)
    if (!before) return
    if (after.disableAt !== null && after.disableAt !== before.disableAt) {
      this.#touchBefore(after.id, after.disableAt)
    }
    if (isOpen(before.status) && !isOpen(after.status)) {
      const why = this.#wrongly(after)
      this.#mark(after.id, why ?? `closed: ${after.statusReason ?? after.status}`, true)
      this.note(`${after.userName} is ${after.status} (${after.statusReason}) ${why ?? ''}`)
      if (why) {
        const kill = { account: after.id, at: this.#now, why, decidedAt: null, restoredAt: null }
        this.falseKills.push(kill)
      }
    }
    if (!isOpen(before.status) && isOpen(after.status)) this.#mark(after.id, 'reopened', false)
    const offered = after.pendingOwner
    if (offered && offered.id !== before.pendingOwner?.id) this.mail('offer', offered.id)
  }

  /** The one that is not over; null when it was closed rightly, or works again. */
  falseKillOf(account: string): FalseKill | null {
    return this.falseKills.findLast((k) => k.account === account && k.restoredAt === null) ?? null
  }

  failed({ consumer, count, firstAt }: Failed): void {
    const { account } = consumer.place
    const last = (this.#marks.get(account) ?? []).findLast((m) => m.at <= firstAt + hour)
    const isKnown = last && (last.closes || consumer.heldAt <= last.at)
    const cause = isKnown ? last.cause : 'planned rotation'
    const sum = this.failures.get(cause) ?? { consumers: 0, calls: 0 }
    this.failures.set(cause, { consumers: sum.consumers + 1, calls: sum.calls + count })
    const { userName = account } = this.#estate().accounts.get(account) ?? {}
    const since = new Date(firstAt).toISOString()
    if (cause === 'planned rotation') {
      this.note(`FAILED ${count} calls of ${consumer.name} of ${userName} since ${since}`)
    }
  }

  /** Somebody has left: from now on what they know must die. */
  left(member: Member): void {
    if (this.#now < this.#from) return
    for (const account of this.#estate().ownedBy(member.id)) {
      if (!isOpen(account.status)) continue
      for (const place of this.#estate().placesOf(account.id)) {
        const text = this.#consumers().current(place)
        if (text !== null) this.#pending.push({ place, text, since: this.#now })
      }
    }
  }

  /** Looks whether what was to die is dead and what was to live again lives. */
  async settled(): Promise<void> {
    const estate = this.#estate()
    if (!estate.isTouched) return
    estate.isTouched = false
    const alive: Exposure[] = []
    for (const exposure of this.#pending) {
      const { place, text, since } = exposure
      if (await this.#consumers().isAlive(place, text)) alive.push(exposure)
      else this.exposures.push(this.#now - since)
    }
    this.#pending = alive
    for (const kill of this.falseKills) {
      if (kill.restoredAt !== null) continue
      if (estate.accounts.get(kill.account)?.status !== 'active') continue
      const places = estate.placesOf(kill.account)
      const works = await Promise.all(places.map((place) => this.#consumers().serves(place)))
      if (works.every(Boolean)) kill.restoredAt = this.#now
    }
  }

  /** Accounts that work although nobody answers for them, or has been asked to. */
  lookForOrphans(): void {
    const company = this.#company()
    for (const account of this.#estate().open) {
      const isOffered = account.status === 'orphaned' && account.disableAt !== null
      if (isOffered || company.truthOf(account.owner) !== 'gone') continue
      const since = this.#goneSince(account)
      if (since === null) continue
      const age = this.#now - since
      if (age > day && age > (this.orphans.get(account.id) ?? 0)) {
        if (!this.orphans.has(account.id)) this.note(`ORPHAN ${account.userName}`)
        this.orphans.set(account.id, age)
      }
    }
  }

  /** What was never ended counts as long as it has lived. */
  close(): void {
    for (const { since } of this.#pending) this.exposures.push(this.#now - since)
    this.#pending = []
  }

  /**
   * What an owner has is about to be decided, now or when a grace is over: of an empty group, and of
   * one whose last member may have moved (`leaver.moverDebounce`).
   */
  async leaving(owner: string): Promise<void> {
    const { ms } = this.#world().clock
    for (const { id } of this.#estate().ownedBy(owner)) {
      await this.#consumers().touched(id)
      for (const grace of [hour, 2 * week]) this.#touchBefore(id, instantOf(ms + grace))
    }
  }

  /** Tokens end by time alone: what their consumers did before that is looked at before that. */
  #touchBefore(account: string, at: string): void {
    const { clock } = this.#world()
    clock.at(Date.parse(at) - 1, () => this.#consumers().touched(account))
  }

  #endsAt({ id, expiresAt }: ServiceAccount): void {
    this.#touchBefore(id, expiresAt)
    this.#world().clock.at(Date.parse(expiresAt), () => {
      const account = this.#estate().accounts.get(id)
      if (account?.expiresAt === expiresAt && isOpen(account.status)) {
        this.#mark(id, 'closed: expired', true)
      }
    })
  }

  /** While the directory was out of reach nobody could know. */
  #goneSince({ owner }: ServiceAccount): number | null {
    const company = this.#company()
    const team = owner.type === 'Group' ? company.teamById.get(owner.id) : null
    const gone = team
      ? Math.max(...[...team.members].map((m) => m.goneAt ?? 0))
      : (company.byId.get(owner.id)?.goneAt ?? null)
    const out = this.outageEnds
    return gone !== null && out && gone >= out.from && gone < out.to ? out.to : gone
  }

  #wrongly({ owner, statusReason }: ServiceAccount): FalseKill['why'] | null {
    if (statusReason !== 'ownerLeft' && statusReason !== 'ownerMissing') return null
    switch (this.#company().truthOf(owner)) {
      case 'here':
        return 'mis-sync'
      case 'away':
        return 'leave of absence'
      case 'moved':
        return 'reorganisation'
      case 'gone':
        return null
    }
  }

  #mark(account: string, cause: string, closes: boolean): void {
    const mark = { at: this.#now, cause, closes }
    this.#marks.set(account, [...(this.#marks.get(account) ?? []), mark])
  }
}
