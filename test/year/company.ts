import type { DirectoryListing, DirectoryPerson } from '../../src/domain/directory.ts'
import { instantOf } from '../../src/domain/time.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import type { OwnerRef, Person } from '../../src/domain/owner.ts'
import type { PersonWrite } from '../../src/domain/want.ts'
import type { Chance } from '../simulation/scheduler.ts'
import { day, hour, minute, week } from './clock.ts'
import type { YearWorld } from './world.ts'

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const groupSchema = 'urn:ietf:params:scim:schemas:core:2.0:Group'
const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

const teamSize = 12
/** Of those who are here at the beginning of a year, so many leave within it. */
const attrition = 0.18
const contractorShare = 0.1
const awayShare = 0.015
const awayWeeks = { least: 4, most: 12 }
/** Of the directory's words about somebody who leaves, so many are never sent. */
const lostShare = 0.01

export interface Member {
  readonly id: string
  readonly userName: string
  team: Team
  manager: string | null
  /** The day a contract ends; null of who is employed. */
  readonly contractEnds: number | null
  /** What is true, whatever the directory says. */
  state: 'here' | 'away' | 'gone'
  goneAt: number | null
}

export interface Team {
  /** In Custody. */
  id: string
  name: string
  readonly members: Set<Member>
  dissolved: boolean
  /** What it goes on as after a reorganisation. */
  successor: Team | null
}

export interface CompanyPlan {
  readonly people: number
  readonly from: number
  readonly until: number
}

export interface CompanyEvents {
  /** Somebody has left, a moment ago, in truth. */
  readonly left: (member: Member) => void
  /** The directory is about to tell of it. */
  readonly telling: (member: Member) => Promise<void>
  readonly returned: (member: Member) => void
  /** The directory is about to delete its group. */
  readonly dissolving: (team: Team) => Promise<void>
}

/** Who works there in truth, and the directory that tells Custody of it, late, wrongly, or not at all. */
export class Company {
  readonly members: Member[] = []
  readonly teams: Team[] = []
  readonly byId = new Map<string, Member>()
  readonly teamById = new Map<string, Team>()
  /** Words that the directory could not deliver yet; null while it can. */
  #backlog: (() => Promise<void>)[] | null = null
  /** Whose leaving the directory never sent. */
  readonly lost = new Set<Member>()
  hires = 0
  leavers = 0
  readonly #world: YearWorld
  readonly #chance: Chance
  readonly #plan: CompanyPlan
  readonly #on: CompanyEvents

  constructor(world: YearWorld, plan: CompanyPlan, on: CompanyEvents) {
    this.#world = world
    this.#chance = world.chance
    this.#plan = plan
    this.#on = on
  }

  /** Whom an owner stands for in truth; `moved`: the team goes on under another name. */
  truthOf(owner: OwnerRef): 'here' | 'away' | 'gone' | 'moved' {
    if (owner.type === 'User') return this.byId.get(owner.id)?.state ?? 'gone'
    const team = this.teamById.get(owner.id)
    if (team?.successor) return 'moved'
    return team && [...team.members].some((m) => m.state === 'here') ? 'here' : 'gone'
  }

  get here(): readonly Member[] {
    return this.members.filter((m) => m.state === 'here')
  }

  oneHere(): Member {
    for (;;) {
      const member = this.#chance.oneOf(this.members)
      if (member.state === 'here') return member
    }
  }

  oneTeam(): Team {
    for (;;) {
      const team = this.#chance.oneOf(this.teams)
      if (!team.dissolved && [...team.members].some((m) => m.state === 'here')) return team
    }
  }

  /** The company as it is on the first day. */
  async found(): Promise<void> {
    const teams = Math.max(4, Math.round(this.#plan.people / teamSize))
    for (let n = 0; n < teams; n++) await this.#foundTeam(`team-${n + 1}`, [])
    for (let n = 0; n < this.#plan.people; n++) await this.#hire(this.teams[n % teams]!)
  }

  /** The ordinary life of a year: people come, go, and stay away for a while. */
  live(): void {
    const { from, until, people } = this.#plan
    const { clock } = this.#world
    const share = (until - from) / (365 * day)
    const spread = (count: number, act: () => Promise<void>) => {
      for (let n = 0; n < Math.round(count * share); n++) clock.at(this.#atWork(), act)
    }
    const ending = this.members.filter(
      ({ contractEnds: at }) => at !== null && at >= from && at < until,
    )
    for (const member of ending) clock.at(member.contractEnds!, () => this.leave(member))
    const resigning = Math.max(0, people * attrition - ending.length / share)
    spread(resigning, () => this.leave(this.oneHere()))
    spread(people * attrition * 1.1, async () => {
      await this.#hire(this.oneTeam())
      this.hires += 1
    })
    spread(people * awayShare, () => this.#stayAway(this.oneHere()))
  }

  /** Somebody leaves. The directory hears of it within hours, if at all. */
  async leave(member: Member): Promise<void> {
    if (member.state === 'gone') return
    member.state = 'gone'
    member.goneAt = this.#world.clock.ms
    this.leavers += 1
    this.#on.left(member)
    if (this.#chance.happens(lostShare)) {
      this.lost.add(member)
      return
    }
    const late = this.#chance.happens(0.8) ? this.#chance.below(hour) : this.#chance.below(8 * hour)
    this.#world.clock.in(late, () => this.tell(member, false))
  }

  /** What the directory says of somebody reaches Custody, now or when the outage is over. */
  async tell(member: Member, active: boolean): Promise<void> {
    if (this.#backlog) this.#backlog.push(() => this.#write(member, active))
    else await this.#write(member, active)
  }

  /** Whether the directory can be asked for anything at all. */
  get isOut(): boolean {
    return this.#backlog !== null
  }

  /** For two days nothing is delivered; then everything, at once. */
  outage(at: number, lasts: number): void {
    const { clock } = this.#world
    clock.at(at, () => {
      this.#backlog = []
    })
    clock.at(at + lasts, async () => {
      const backlog = this.#backlog ?? []
      this.#backlog = null
      for (const word of backlog) await word()
    })
  }

  /** Ends so many contracts at the same moment, as the end of a quarter does. */
  endContracts(at: number, count: number): void {
    this.#world.clock.at(at, async () => {
      const some = this.members.filter((m) => m.contractEnds !== null && m.state === 'here')
      for (const member of some.slice(0, count)) await this.leave(member)
    })
  }

  /** A third of the people change teams; of the teams, a third is made anew under another name. */
  async reorganise(
    name: string,
    before: (replaced: ReadonlyMap<Team, Team>) => Promise<void>,
  ): Promise<void> {
    const old = this.teams.filter((t) => !t.dissolved && this.#chance.happens(1 / 3))
    const replaced = new Map<Team, Team>()
    for (const team of old) {
      const here = [...team.members].filter((m) => m.state !== 'gone')
      const next = await this.#foundTeam(`${name}-${team.name}`, here)
      replaced.set(team, next)
    }
    await before(replaced)
    const { engine, directory } = this.#world
    for (const [team, next] of replaced) {
      for (const member of next.members) {
        member.team = next
        if (this.#chance.happens(1 / 3)) member.manager = this.#managerIn(next, member)
        const current = await this.#row(member)
        if (current)
          await engine.updatePerson(directory, current, this.#wish(member, current.active))
      }
      await this.#on.dissolving(team)
      team.dissolved = true
      team.successor = next
      await engine.deleteGroup(directory, await engine.group(directory, team.id))
    }
    for (const team of this.teams.filter((t) => !t.dissolved)) await this.#shuffle(team)
  }

  /** The directory says of so many people that they are gone, within minutes, and is wrong. */
  missync(at: number, count: number): readonly Member[] {
    const { clock } = this.#world
    const wrong: Member[] = []
    clock.at(at, () => {
      const here = [...this.here]
      for (let n = 0; n < count; n++) {
        const [member] = here.splice(this.#chance.below(here.length), 1)
        if (!member) return
        wrong.push(member)
        clock.in(this.#chance.below(5 * minute), () => this.tell(member, false))
      }
    })
    return wrong
  }

  /** Of whom Custody believes what is not true. */
  differences(believed: ReadonlyMap<string, boolean>): readonly Member[] {
    return this.members.filter((m) => believed.get(m.id) !== (m.state === 'here'))
  }

  /** The directory as somebody finds it who asks it directly; out of reach, it is not all there. */
  listing(): DirectoryListing {
    const people = this.members.map(({ userName, manager, state, goneAt }): DirectoryPerson => ({
      id: userName,
      userName,
      email: null,
      externalId: userName,
      employeeNumber: null,
      state: state === 'here' ? 'active' : 'left',
      deleted: false,
      manager: this.byId.get(manager ?? '')?.userName ?? null,
      leavesAt: null,
      changedAt: goneAt === null ? null : instantOf(goneAt),
    }))
    const trouble = this.isOut ? 'the directory does not answer' : null
    return { people: this.isOut ? [] : people, complete: !this.isOut, trouble }
  }

  async #shuffle(team: Team): Promise<void> {
    if (!this.#chance.happens(0.2)) return
    const [one] = [...team.members].filter((m) => m.state === 'here')
    const to = this.oneTeam()
    if (!one || to === team || team.members.size < 3) return
    team.members.delete(one)
    // Nobody who is left may be there: what hangs on the team is about to be decided.
    if (![...team.members].some((m) => m.state === 'here')) await this.#on.dissolving(team)
    to.members.add(one)
    one.team = to
    await this.#moveMember(team, { add: [], remove: [one.id] })
    await this.#moveMember(to, { add: [one], remove: [] })
  }

  async #moveMember(
    team: Team,
    { add, remove }: { readonly add: readonly Member[]; readonly remove: readonly string[] },
  ): Promise<void> {
    const { engine, directory } = this.#world
    const group = await engine.group(directory, team.id)
    const wishes = add.map((m) => ({ id: m.id, type: 'User' as const, display: null }))
    const members = { replace: false, add: wishes, remove }
    const options = { keepsUnknown: false, exact: false }
    await engine.updateGroup(directory, group, { group: null, members }, options)
  }

  async #write(member: Member, active: boolean): Promise<void> {
    const current = await this.#row(member)
    if (!current || current.active === active) return
    if (!active) await this.#on.telling(member)
    const { engine, directory } = this.#world
    await engine.updatePerson(directory, current, this.#wish(member, active))
    if (active) this.#on.returned(member)
  }

  #row(member: Member): Promise<Person | null> {
    return this.#world.store.read.person(defaultTenant, member.id)
  }

  #wish({ userName, manager }: Member, active: boolean): PersonWrite {
    const boss = manager === null ? {} : { [enterprise]: { manager: { value: manager } } }
    const schemas = manager === null ? [userSchema] : [userSchema, enterprise]
    return {
      type: 'person',
      userName,
      externalId: userName,
      active,
      attributes: { schemas, ...boss },
    }
  }

  async #hire(team: Team): Promise<void> {
    const { engine, directory, clock } = this.#world
    const n = this.members.length + 1
    const isContractor = this.#chance.happens(contractorShare)
    const draft: Member = {
      id: '',
      userName: `person-${n}@example.com`,
      team,
      manager: null,
      contractEnds: isContractor ? clock.ms + (90 + this.#chance.below(640)) * day : null,
      state: 'here',
      goneAt: null,
    }
    const manager = this.#managerIn(team, draft)
    const { person } = await engine.createPerson(directory, this.#wish({ ...draft, manager }, true))
    const member: Member = { ...draft, id: person.id, manager }
    this.members.push(member)
    this.byId.set(member.id, member)
    team.members.add(member)
    await this.#moveMember(team, { add: [member], remove: [] })
    const ends = member.contractEnds
    if (clock.ms >= this.#plan.from && ends !== null && ends < this.#plan.until) {
      clock.at(ends, () => this.leave(member))
    }
  }

  /** Whoever has been there longest; the first of a team answers to the first of the company. */
  #managerIn(team: Team, of: Member): string | null {
    const first = [...team.members].find((m) => m.state === 'here' && m.id !== of.id)
    const boss = first ?? this.members.find((m) => m.state === 'here' && m.id !== of.id)
    return boss?.id ?? null
  }

  async #foundTeam(name: string, members: readonly Member[]): Promise<Team> {
    const { engine, directory } = this.#world
    const want = { displayName: name, externalId: null, attributes: { schemas: [groupSchema] } }
    const wishes = members.map((m) => ({ id: m.id, type: 'User' as const, display: null }))
    const { id } = await engine.createGroup(directory, want, wishes, { keepsUnknown: false })
    const team: Team = { id, name, members: new Set(members), dissolved: false, successor: null }
    this.teams.push(team)
    this.teamById.set(id, team)
    return team
  }

  async #stayAway(member: Member): Promise<void> {
    if (member.state !== 'here') return
    member.state = 'away'
    const weeks = awayWeeks.least + this.#chance.below(awayWeeks.most - awayWeeks.least + 1)
    await this.tell(member, false)
    this.#world.clock.in(weeks * week, async () => {
      if (member.state !== 'away') return
      member.state = 'here'
      await this.tell(member, true)
    })
  }

  /** People resign and are hired on weekdays, between nine and five. */
  #atWork(): number {
    const { from, until } = this.#plan
    for (;;) {
      const at = from + this.#chance.below((until - from) / minute) * minute
      const when = new Date(at)
      const isDay = when.getUTCDay() > 0 && when.getUTCDay() < 6
      if (isDay && when.getUTCHours() >= 9 && when.getUTCHours() < 17) return at
    }
  }
}
