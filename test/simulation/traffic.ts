import { AppError } from '../../src/domain/errors.ts'
import type { OwnerRef } from '../../src/domain/owner.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { CredentialEntry, MemberWish, PersonWrite } from '../../src/domain/want.ts'
import { sweepNames } from '../../src/lifecycle/engine.ts'
import type { Engine, SweepName } from '../../src/lifecycle/engine.ts'
import { Changes, someConsumers, tenMinutes } from './changes.ts'
import type { Installation } from './installation.ts'
import type { Laws } from './laws.ts'
import type { Chance } from './scheduler.ts'
import { watched } from './terms.ts'

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const groupSchema = 'urn:ietf:params:scim:schemas:core:2.0:Group'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

const plots: readonly (readonly string[])[] = [
  [],
  ['leave', 'leave'],
  ['rescope', 'make a group', 'rescope', 'change members'],
  ['rescope', 'rotate', 'restart a consumer', 'rotate'],
]

/** What the people of a company ask of Custody, and what they know of it afterwards. */
export class Traffic {
  readonly people: string[] = []
  readonly accounts: string[] = []
  readonly groups: string[] = []
  /** One line per act, for whoever reads a failing seed. */
  readonly log: string[] = []
  /** Somebody cancelled what a sweep has to find again. */
  isBehind = false
  readonly #installation: Installation
  readonly #chance: Chance
  readonly #laws: Laws
  readonly #changes: Changes
  /** What comes up too rarely by itself: a few acts that belong together. */
  readonly #plot: string[]
  #names = 0

  constructor(installation: Installation, laws: Laws) {
    this.#installation = installation
    this.#laws = laws
    this.#changes = new Changes(installation, laws)
    this.#plot = [...installation.scheduler.chance.oneOf(plots)]
    this.#chance = installation.scheduler.chance
  }

  /** Asks for one random thing; a refusal is an answer, a server that died in the middle none. */
  async act(): Promise<void> {
    const acts: readonly (readonly [number, string, (engine: Engine) => Promise<string>])[] = [
      [2, 'hire', (engine) => this.#hire(engine)],
      [4, 'request an account', (engine) => this.#request(engine)],
      [3, 'request a credential', (engine) => this.#requestCredential(engine)],
      [4, 'rotate', (engine) => this.#onCredential(engine, 'rotateCredential')],
      [2, 'revoke', (engine) => this.#onCredential(engine, 'revokeCredential')],
      [1, 'disable', (engine) => this.#switch(engine, 'disable')],
      [2, 'enable', (engine) => this.#switch(engine, 'enable')],
      [1, 'retire', (engine) => this.#switch(engine, 'retire')],
      [5, 'leave', (engine) => this.#setActive(engine, false)],
      [1, 'return', (engine) => this.#setActive(engine, true)],
      [1, 'cancel', (engine) => this.#cancel(engine)],
      [1, 'retry', (engine) => this.#retry(engine)],
      [1, 'offer', (engine) => this.#transfer(engine, false)],
      [1, 'pass at once', (engine) => this.#transfer(engine, true)],
      [2, 'accept or decline', (engine) => this.#answerOffer(engine)],
      [1, 'make a group', (engine) => this.#makeGroup(engine)],
      [2, 'change members', (engine) => this.#changeMembers(engine)],
      [1, 'delete an account', (engine) => this.#deleteAccount(engine)],
      [1, 'delete a person', (engine) => this.#deletePerson(engine)],
      [2, 'undo', (engine) => this.#changes.undo(engine)],
      [3, 'rescope', (engine) => this.#changes.rescope(engine, this.accounts, this.groups)],
      [1, 'rehearse', (engine) => this.#changes.rehearse(engine, this.accounts)],
      [2, 'restart a consumer', (engine) => this.#changes.restart(engine, this.accounts)],
      [1, 'waive', (engine) => this.#changes.waive(engine)],
      [2, 'sweep', (engine) => this.#sweep(engine, this.#chance.oneOf(sweepNames))],
    ]
    const weights = acts.reduce((sum, [weight]) => sum + weight, 0)
    let at = this.#chance.below(weights)
    const planned = this.#chance.happens(0.5) ? this.#plot.shift() : undefined
    const [, name, run] = acts.find(([weight, each]) =>
      planned === undefined ? (at -= weight) < 0 : each === planned,
    )!
    await this.#do(name, run)
  }

  /** A company to begin with: two people, and an account. */
  async open(): Promise<void> {
    for (let n = 0; n < 2; n++) await this.#do('hire', (engine) => this.#hire(engine))
    await this.#do('request an account', (engine) => this.#request(engine))
  }

  async everybodyLeaves(): Promise<void> {
    for (const person of this.people) {
      await this.#do(`leave ${person}`, (engine) => this.#setActive(engine, false, person))
    }
  }

  async sweep(name: SweepName): Promise<void> {
    await this.#do(`sweep ${name}`, (engine) => this.#sweep(engine, name))
  }

  /** An operator who looks at what waits for a decision, and decides that it be tried again. */
  async operatorRetries(): Promise<number> {
    const { store } = this.#installation
    const stuck = await store.read.operations({
      tenant: this.#admin.tenant,
      status: 'needsOperator',
      after: null,
      limit: 200,
    })
    for (const { id, kind, failure } of stuck) {
      await this.#do(`retry ${kind}: ${failure?.message}`, async (engine) => {
        await engine.retryOperation(this.#admin, id)
        return id
      })
    }
    return stuck.length
  }

  get #admin() {
    return this.#installation.admin
  }

  async #do(name: string, run: (engine: Engine) => Promise<string>): Promise<void> {
    const { scheduler } = this.#installation
    if (!this.#installation.isUp('http')) return
    const line = `${scheduler.now()} ${name}`
    try {
      const answer = await run(this.#installation.node('http').engine)
      this.log.push(`${line} → ${answer}`)
    } catch (error) {
      if (!(error instanceof AppError) || error.status >= 500) throw error
      this.log.push(`${line} → ${error.code}`)
    }
  }

  async #sweep(engine: Engine, name: SweepName): Promise<string> {
    const applied = await engine.runSweep(this.#admin, name)
    return `${applied.length} acted on`
  }

  async #hire(engine: Engine): Promise<string> {
    const want: PersonWrite = {
      type: 'person',
      userName: `person-${++this.#names}`,
      externalId: null,
      active: true,
      attributes: { schemas: [userSchema] },
    }
    const { person } = await engine.createPerson(this.#admin, want)
    this.people.push(person.id)
    return person.id
  }

  async #request(engine: Engine): Promise<string> {
    if (this.people.length === 0) return 'nobody to own it'
    const { account } = await engine.requestAccount(this.#admin, {
      type: 'account',
      userName: `svc-${++this.#names}`,
      externalId: null,
      active: undefined,
      kind: 'serviceAccount',
      owner: this.#owner(),
      backupOwners: this.#chance.happens(0.3)
        ? [{ type: 'User', id: this.#chance.oneOf(this.people) }]
        : undefined,
      purpose: 'simulation',
      environment: this.#chance.happens(0.3) ? 'prod' : undefined,
      labels: this.#chance.happens(0.1) ? [watched] : undefined,
      expiresAt: this.#chance.happens(0.1) ? this.#inMinutes(5) : undefined,
      protected: undefined,
      credentials: Array.from({ length: 1 + this.#chance.below(2) }, () => this.#entry()),
      attributes: {
        schemas: [userSchema, nhiSchema],
        [nhiSchema]: { consumers: someConsumers(this.#chance) },
      },
    })
    this.accounts.push(account.id)
    return account.id
  }

  #owner(): OwnerRef {
    return this.groups.length > 0 && this.#chance.happens(0.3)
      ? { type: 'Group', id: this.#chance.oneOf(this.groups) }
      : { type: 'User', id: this.#chance.oneOf(this.people) }
  }

  #inMinutes(most: number): Instant {
    return addSeconds(this.#installation.scheduler.now(), 60 + this.#chance.below(most * 60))
  }

  #entry(): CredentialEntry {
    const deliverTo = { sink: 'aws-secrets', path: `secret-${++this.#names}` }
    return this.#chance.oneOf<CredentialEntry>([
      { provider: 'tokens', kind: 'api-token', scopes: ['read'], deliverTo },
      {
        provider: 'aws-prod',
        kind: 'access-key',
        scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
        deliverTo,
      },
      { provider: 'github-acme', kind: 'deploy-key', scopes: ['repo:acme/website'], deliverTo },
      {
        provider: 'github-acme',
        kind: 'app-token',
        scopes: ['repository:acme/website', 'permission:contents=read'],
        deliverTo,
      },
    ])
  }

  async #requestCredential(engine: Engine): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const { provider, kind, scopes, deliverTo } = this.#entry()
    const { credential } = await engine.requestCredential(this.#admin, {
      serviceAccount: this.#chance.oneOf(this.accounts),
      displayName: null,
      readers: [],
      rotateEvery: undefined,
      overlap: this.#chance.happens(0.3) ? tenMinutes : undefined,
      expiresAt: this.#chance.happens(0.1) ? this.#inMinutes(5) : undefined,
      provider,
      kind,
      scopes,
      deliverTo,
    })
    return credential.id
  }

  async #onCredential(
    engine: Engine,
    act: 'rotateCredential' | 'revokeCredential',
  ): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const account = await engine.account(this.#admin, this.#chance.oneOf(this.accounts))
    const all = await this.#installation.store.read.credentialsOf(account.tenant, account.id)
    if (all.length === 0) return 'no credential'
    const { id } = this.#chance.oneOf(all)
    await engine[act](this.#admin, id)
    if (act === 'revokeCredential') this.#laws.promises.revoked(id)
    return id
  }

  async #cancel(engine: Engine): Promise<string> {
    const { tenant } = this.#admin
    const all = await this.#installation.store.read.operations({ tenant, after: null, limit: 200 })
    const open = all.filter((o) => ['queued', 'waiting', 'needsOperator'].includes(o.status))
    if (open.length === 0) return 'nothing to cancel'
    const { id, kind } = this.#chance.oneOf(open)
    await engine.cancelOperation(this.#admin, id)
    if (kind === 'rescope') this.isBehind = true
    return id
  }

  async #retry(engine: Engine): Promise<string> {
    const { tenant } = this.#admin
    const query = { tenant, status: 'needsOperator', after: null, limit: 200 } as const
    const stuck = await this.#installation.store.read.operations(query)
    if (stuck.length === 0) return 'nothing to retry'
    const { id } = this.#chance.oneOf(stuck)
    await engine.retryOperation(this.#admin, id)
    return id
  }

  async #transfer(engine: Engine, atOnce: boolean): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const id = this.#chance.oneOf(this.accounts)
    await engine.transfer(this.#admin, id, { owner: this.#owner(), atOnce, reason: 'simulation' })
    return id
  }

  async #answerOffer(engine: Engine): Promise<string> {
    for (const id of this.accounts) {
      const account = await engine.account(this.#admin, id, { retiredToo: true })
      if (account.pendingOwner === null) continue
      if (this.#chance.happens(0.7)) await engine.acceptTransfer(this.#admin, id)
      else await engine.declineTransfer(this.#admin, id)
      return id
    }
    return 'nothing on offer'
  }

  async #makeGroup(engine: Engine): Promise<string> {
    if (this.people.length === 0) return 'nobody for it'
    const want = { displayName: `team-${++this.#names}`, externalId: null, attributes: {} }
    const group = await engine.createGroup(
      this.#admin,
      { ...want, attributes: { schemas: [groupSchema] } },
      [this.#member()],
      { keepsUnknown: false },
    )
    this.groups.push(group.id)
    return group.id
  }

  /** An account may be in a group as well: for what the group grants. */
  #member(): MemberWish {
    if (this.accounts.length > 0 && this.#chance.happens(0.15)) {
      return { id: this.#chance.oneOf(this.accounts), type: undefined, display: null }
    }
    return { id: this.#chance.oneOf(this.people), type: 'User', display: null }
  }

  async #changeMembers(engine: Engine): Promise<string> {
    if (this.groups.length === 0) return 'no group'
    const group = await engine.group(this.#admin, this.#chance.oneOf(this.groups))
    const one = this.#member()
    const members = this.#chance.happens(0.5)
      ? { replace: false, add: [one], remove: [] }
      : { replace: false, add: [], remove: [one.id] }
    await engine.updateGroup(
      this.#admin,
      group,
      { group: null, members },
      { keepsUnknown: false, exact: false },
    )
    return group.id
  }

  async #deleteAccount(engine: Engine): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const account = await engine.account(this.#admin, this.#chance.oneOf(this.accounts))
    await engine.deleteAccount(this.#admin, account)
    return account.id
  }

  async #deletePerson(engine: Engine): Promise<string> {
    if (this.people.length < 2) return 'nobody to spare'
    const person = await engine.person(this.#admin, this.#chance.oneOf(this.people))
    await engine.deletePerson(this.#admin, person)
    return person.id
  }

  async #switch(engine: Engine, to: 'disable' | 'enable' | 'retire'): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const id = this.#chance.oneOf(this.accounts)
    await engine.switchAccount(this.#admin, id, to, null)
    this.#laws.promises.switched(id, to)
    return id
  }

  /** Mostly one who owns something. */
  async #somebody(engine: Engine): Promise<string> {
    if (this.accounts.length > 0 && this.#chance.happens(0.6)) {
      const id = this.#chance.oneOf(this.accounts)
      const { owner } = await engine.account(this.#admin, id, { retiredToo: true })
      if (owner.type === 'User') return owner.id
    }
    return this.#chance.oneOf(this.people)
  }

  #regret(person: string): void {
    const { scheduler } = this.#installation
    for (const most of this.#chance.happens(0.2) ? [40, 60] : [40]) {
      scheduler.after(this.#chance.below(most * 1_000), () =>
        this.#installation.background(
          this.#do(`undo ${person}`, (engine) => this.#changes.undo(engine, person)),
        ),
      )
    }
  }

  async #setActive(engine: Engine, active: boolean, whom?: string): Promise<string> {
    if (this.people.length === 0) return 'nobody there'
    const id = whom ?? (await this.#somebody(engine))
    const person = await engine.person(this.#admin, id)
    const { userName, externalId, attributes } = person
    const want: PersonWrite = { type: 'person', userName, externalId, attributes, active }
    await engine.updatePerson(this.#admin, person, want)
    // It was a mistake: while it is being acted on, or after.
    if (!active && whom === undefined && this.#chance.happens(0.6)) this.#regret(id)
    return id
  }
}
