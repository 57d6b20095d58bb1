import type { ServiceAccount } from '../../src/domain/account.ts'
import { isOpen } from '../../src/domain/account.ts'
import type { AuditRow } from '../../src/domain/audit.ts'
import { AppError } from '../../src/domain/errors.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import type { OwnerRef } from '../../src/domain/owner.ts'
import { day, hour, minute, second } from './clock.ts'
import type { Company, Member, Team } from './company.ts'
import type { Consumer, Consumers } from './consumers.ts'
import type { Estate } from './estate.ts'
import type { Judge } from './judge.ts'
import type { YearWorld } from './world.ts'

/** Of offers, so many are never answered. */
const neverAnswers = 0.06
/** Of accounts that end because nobody was left to own them, so many turn out to be needed. */
const stillNeeded = 0.4
/** In a reorganisation so many of the accounts are forgotten when the others are moved. */
const forgotten = 0.04

/** The people around Custody: owners who answer offers, and a security team that decides. */
export class Operators {
  readonly #world: YearWorld
  readonly #company: Company
  readonly #estate: Estate
  readonly #consumers: Consumers
  readonly #judge: Judge
  readonly #until: number
  readonly #lies: boolean

  constructor(parts: {
    readonly world: YearWorld
    readonly company: Company
    readonly estate: Estate
    readonly consumers: Consumers
    readonly judge: Judge
    readonly until: number
    readonly lies: boolean
  }) {
    this.#world = parts.world
    this.#company = parts.company
    this.#estate = parts.estate
    this.#consumers = parts.consumers
    this.#judge = parts.judge
    this.#until = parts.until
    this.#lies = parts.lies
  }

  /** An account was written: somebody may have to do something about it. */
  account(before: ServiceAccount | null, after: ServiceAccount): void {
    const offer = after.pendingOwner
    if (offer && offer.id !== before?.pendingOwner?.id) this.#offered(after.id, offer)
    const ended = before && isOpen(before.status) && !isOpen(after.status)
    if (!ended || after.statusReason !== 'ownerLeft') return
    const kill = this.#judge.falseKillOf(after.id)
    if (kill?.why === 'reorganisation') {
      this.#later(hour, 3 * hour, () => this.#giveBack([after.id], 'a team was forgotten'))
    }
    if (!kill && this.#world.chance.happens(stillNeeded)) {
      this.#later(4 * hour, 2 * day, () => this.#rescue(after.id))
    }
  }

  audit({ action, target, facts }: AuditRow): void {
    switch (action) {
      case 'approval.opened':
        // Whoever is held within the hour belongs to the same event.
        this.#later(hour, 3 * hour, () => this.#decideBatch(target))
        return
      case 'finding.opened':
        this.#later(hour, 8 * hour, () => {
          this.#judge.decided('look at a finding', JSON.stringify(facts['kind'] ?? target))
        })
        return
      case 'key.activated':
        if (this.#lies) this.#later(1, 2, () => this.#sayAllSeen(target))
        return
      case 'task.opened':
        if (facts['action'] === 'decide' && typeof facts['account'] === 'string') {
          const account = facts['account']
          this.#later(hour, 3 * day, () => this.#waive(target, account))
        }
        return
      case 'account.expiresSoon':
        if (facts['days'] === 14) this.#later(hour, 5 * day, () => this.#confirm(target))
        return
      default:
    }
  }

  stuck(operation: string): void {
    this.#later(30 * minute, 6 * hour, () => this.#retry(operation))
  }

  /** What has read its secret anew tells of it, where it was taught to. */
  async restarted({ reports, name, place }: Consumer): Promise<void> {
    if (!reports) return
    const { engine, admin } = this.#world
    const { credential } = place
    const generation = this.#estate.credentials.get(credential)?.generation ?? 0
    const id = `${place.account}:${name}`
    await this.#attempt(() => engine.reportSeen(admin, id, { credential, generation }))
  }

  /** Sabotage: whoever deploys reports for everybody, the moment there is a new key. */
  async #sayAllSeen(credential: string): Promise<void> {
    const { engine, admin } = this.#world
    const { account = '', generation = 0 } = this.#estate.credentials.get(credential) ?? {}
    for (const { name } of this.#consumers.of(account)) {
      const word = { credential, generation }
      await this.#attempt(() => engine.reportSeen(admin, `${account}:${name}`, word))
    }
  }

  /** Back from leave: what was switched off meanwhile is asked for. */
  returned(member: Member): void {
    this.#later(hour, 4 * hour, () => {
      const mine = this.#estate.ownedBy(member.id).map((a) => a.id)
      const lost = mine.filter((id) => this.#judge.falseKillOf(id))
      return lost.length > 0 ? this.#giveBack(lost, `${member.userName} is back`) : undefined
    })
  }

  /** The directory was wrong about many: one word undoes all of it. */
  async undoMistake(): Promise<void> {
    const wrong = this.#judge.falseKills.filter(
      (k) => k.restoredAt === null && k.why === 'mis-sync',
    )
    const off = wrong.map((k) => k.account)
    const offered = this.#estate.open.filter(
      (a) => a.status === 'orphaned' && this.#company.truthOf(a.owner) === 'here',
    )
    if (off.length + offered.length === 0) return
    await this.#giveBack([...off, ...offered.map((a) => a.id)], 'the directory was wrong')
  }

  /** Before teams are dissolved their accounts are moved, as far as somebody thinks of them. */
  async reorganise(replaced: ReadonlyMap<Team, Team>): Promise<void> {
    this.#judge.decided('move accounts in a reorganisation', `${replaced.size} teams`)
    for (const [team, next] of replaced) {
      for (const account of this.#estate.ownedBy(team.id)) {
        if (!isOpen(account.status) || this.#world.chance.happens(forgotten)) continue
        await this.#pass(account.id, { type: 'Group', id: next.id }, 'reorganisation')
      }
    }
  }

  /**
   * Compares the directory's own listing with what Custody believes, and applies the leavings that it
   * never heard of. A check that would find none is left out: it reads everybody.
   */
  async checkTruth(): Promise<void> {
    if (this.#company.isOut) return
    const missed = this.#company.differences(this.#estate.active).filter((m) => m.state === 'gone')
    // What was said an hour ago may be on its way.
    const { clock, engine, security } = this.#world
    const late = missed.filter((m) => (m.goneAt ?? 0) < clock.ms - 9 * hour)
    if (late.length === 0) return
    const check = await engine.startDirectoryCheck(security, 'default').done
    this.#judge.decided('apply a truth check', `${late.length} missed leavers`)
    const ids = new Set(late.map((m) => m.id))
    const people = check.report.missed.flatMap((m) => (ids.has(m.id) ? [m.id] : []))
    const reason = 'missed by the directory'
    const wish = { check: check.id, people, reason, confirmCount: people.length }
    await this.#attempt(() => engine.applyDirectoryCheck(security, 'default', wish))
  }

  /** Records on which Custody and the directory agree, as the truth check counts them, in percent. */
  async accuracy(): Promise<number> {
    const { engine, security } = this.#world
    const { agreeing, all } = await engine.startDirectoryCheck(security, 'default').done
    return (100 * agreeing) / Math.max(1, all)
  }

  /** What is offered is answered within a day by most, and never by some. */
  #offered(account: string, to: OwnerRef): void {
    const { chance } = this.#world
    if (chance.happens(neverAnswers)) return
    const soon = chance.happens(0.8)
    this.#later(10 * minute, soon ? 8 * hour : 2 * day, async () => {
      const current = this.#estate.accounts.get(account)
      if (current?.pendingOwner?.id !== to.id) return
      const by =
        to.type === 'User'
          ? this.#world.person(to.id)
          : this.#world.person(this.#memberOf(to.id), [to.id])
      const done = await this.#attempt(() => this.#world.engine.acceptTransfer(by, account))
      if (done) this.#judge.decided('accept an offer', current.userName)
    })
  }

  #memberOf(team: string): string {
    const members = [...(this.#company.teamById.get(team)?.members ?? [])]
    return (members.find((m) => m.state === 'here') ?? members[0])?.id ?? 'nobody'
  }

  /** Compares those held with the truth: who has left may go, of the others the directory was wrong. */
  async #decideBatch(id: string): Promise<void> {
    const { engine, security, store } = this.#world
    const view = await engine.approval(security, id)
    const open = view.items.filter((item) => item.outcome === null)
    const gone: string[] = []
    const here: string[] = []
    for (const { subject } of open) {
      const isHere = this.#company.byId.get(subject)?.state === 'here'
      ;(isHere ? here : gone).push(subject)
    }
    const hash = view.approval.hash ?? ''
    const reason = 'compared with human resources'
    if (gone.length > 0) {
      await this.#attempt(() => engine.approve(security, id, { hash, subjects: gone, reason }))
      this.#judge.decided('decide on held leavings', `${gone.length} approved`)
    }
    if (here.length > 0) {
      const fresh = await engine.approval(security, id)
      const wish = { hash: fresh.approval.hash ?? '', subjects: here, reason }
      await this.#attempt(() => engine.deny(security, id, wish))
      this.#judge.decided('decide on held leavings', `${here.length} denied`)
    }
    // Those held after this one was shown are in a batch of their own.
    const more = await store.read.formingApproval(defaultTenant, 'leavers', 'default')
    if (more && more.id !== id) this.#later(hour, 2 * hour, () => this.#decideBatch(more.id))
  }

  /** All of them get their owner and their keys back, by one decision. */
  async #giveBack(accounts: readonly string[], why: string): Promise<void> {
    const { clock } = this.#world
    this.#judge.decided('undo', `${accounts.length} accounts, ${why}`)
    for (const id of accounts) {
      const kill = this.#judge.falseKillOf(id)
      if (kill) kill.decidedAt = clock.ms
    }
    for (const id of accounts) await this.#restore(id)
  }

  async #restore(id: string): Promise<void> {
    const { engine, security } = this.#world
    const account = this.#estate.accounts.get(id)
    if (!account) return
    // Keys that are being ended are ended first.
    if (account.status === 'disabling') {
      this.#world.clock.in(5 * second, () => this.#restore(id))
      return
    }
    if (account.owner.type === 'User' && (await this.#undo(id))) return
    const owner = this.#ownerNow(account)
    if (owner) await this.#pass(id, owner, 'undone')
    if (['disabled', 'expired'].includes(this.#estate.accounts.get(id)?.status ?? '')) {
      await this.#attempt(() => engine.switchAccount(security, id, 'enable', 'undone'))
    }
  }

  /** The same keys come back, while they are still there. */
  async #undo(account: string): Promise<boolean> {
    const event = this.#judge.closedBy.get(account)
    if (event === undefined) return false
    const { engine, security } = this.#world
    return this.#attempt(() => engine.undo(security, event, { reason: 'undone', dryRun: false }))
  }

  /** Whoever should own it now: who did, unless that team goes on under another name. */
  #ownerNow({ owner }: ServiceAccount): OwnerRef | null {
    const team = owner.type === 'Group' ? this.#company.teamById.get(owner.id) : null
    if (team?.successor) return { type: 'Group', id: team.successor.id }
    return owner
  }

  /** Nobody was left to own it, but it is needed: its team gets it. */
  async #rescue(id: string): Promise<void> {
    const account = this.#estate.accounts.get(id)
    if (account?.status !== 'disabled') return
    const { engine, security } = this.#world
    const team = this.#company.byId.get(account.owner.id)?.team
    const to = team && !team.dissolved ? team : this.#company.oneTeam()
    this.#judge.decided('rescue an account', account.userName)
    const passed = await this.#pass(id, { type: 'Group', id: to.id }, 'it is needed')
    if (!passed) return
    await this.#attempt(() => engine.switchAccount(security, id, 'enable', 'it is needed'))
  }

  async #confirm(id: string): Promise<void> {
    const account = this.#estate.accounts.get(id)
    // A project ends when it was to end.
    if (!account || account.status !== 'active' || this.#estate.projects.has(account.userName))
      return
    const { engine, admin } = this.#world
    const done = await this.#attempt(() =>
      engine.certify(admin, id, { extend: true, reason: 'still needed' }),
    )
    if (done) this.#judge.confirmed += 1
  }

  /** Looks whether those who do not report have been started since, and answers for them if so. */
  async #waive(id: string, account: string): Promise<void> {
    const { engine, security, store } = this.#world
    const task = await store.read.task(defaultTenant, id)
    if (task?.status !== 'open' || task.operation === null) return
    await this.#consumers.touched(account)
    const mine = this.#consumers.of(account).filter((c) => c.place.credential === task.credential)
    const silent = mine.filter((c) => c.pattern === 'restart-only' && !c.reports)
    if (mine.some((c) => c.held !== this.#consumers.current(c.place) && silent.includes(c))) {
      this.#later(day, 5 * day, () => this.#waive(id, account))
      return
    }
    this.#judge.decided('answer for consumers', silent.map((c) => c.name).join(', '))
    const operation = task.operation
    for (const { name } of silent) {
      const wish = { consumer: name, reason: 'it was started since' }
      await this.#attempt(() => engine.waiveConsumer(security, operation, wish))
    }
  }

  async #retry(operation: string): Promise<void> {
    const { engine, security, store } = this.#world
    const stuck = await store.read.operation(defaultTenant, operation)
    if (stuck?.status !== 'needsOperator') return
    this.#judge.decided('retry what is stuck', `${stuck.kind}: ${stuck.failure?.message}`)
    await this.#attempt(() => engine.retryOperation(security, operation))
  }

  async #pass(id: string, owner: OwnerRef, reason: string): Promise<boolean> {
    const { engine, security } = this.#world
    return this.#attempt(() => engine.transfer(security, id, { owner, atOnce: true, reason }))
  }

  #later(least: number, most: number, act: () => Promise<void> | void): void {
    const { clock, chance } = this.#world
    const at = clock.ms + least + chance.below(most - least)
    if (at < this.#until) clock.at(at, act)
  }

  /** A refusal is an answer: it is noted, and life goes on. */
  async #attempt(act: () => Promise<unknown>): Promise<boolean> {
    try {
      await act()
      return true
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      this.#judge.note(`refused: ${error.message}`)
      return false
    }
  }
}
