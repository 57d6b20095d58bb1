import { AppError } from '../../src/domain/errors.ts'
import type { CredentialEntry, PersonWrite } from '../../src/domain/want.ts'
import { sweepNames } from '../../src/lifecycle/engine.ts'
import type { Engine, SweepName } from '../../src/lifecycle/engine.ts'
import type { Installation } from './installation.ts'
import type { Chance } from './scheduler.ts'

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** What the people of a company ask of Custody, and what they know of it afterwards. */
export class Traffic {
  readonly people: string[] = []
  readonly accounts: string[] = []
  /** One line per act, for whoever reads a failing seed. */
  readonly log: string[] = []
  readonly #installation: Installation
  readonly #chance: Chance
  #names = 0

  constructor(installation: Installation) {
    this.#installation = installation
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
      [3, 'leave', (engine) => this.#setActive(engine, false)],
      [1, 'return', (engine) => this.#setActive(engine, true)],
      [1, 'cancel', (engine) => this.#cancel(engine)],
      [2, 'sweep', (engine) => this.#sweep(engine, this.#chance.oneOf(sweepNames))],
    ]
    const weights = acts.reduce((sum, [weight]) => sum + weight, 0)
    let at = this.#chance.below(weights)
    const [, name, run] = acts.find(([weight]) => (at -= weight) < 0)!
    await this.#do(name, run)
  }

  /** A company to begin with: people, and an account each. */
  async open(): Promise<void> {
    for (let n = 0; n < 2; n++) {
      await this.#do('hire', (engine) => this.#hire(engine))
      await this.#do('request an account', (engine) => this.#request(engine))
    }
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
      owner: { type: 'User', id: this.#chance.oneOf(this.people) },
      backupOwners: this.#chance.happens(0.2)
        ? [{ type: 'User', id: this.#chance.oneOf(this.people) }]
        : undefined,
      purpose: 'simulation',
      environment: this.#chance.happens(0.3) ? 'prod' : undefined,
      labels: undefined,
      expiresAt: undefined,
      protected: undefined,
      credentials: Array.from({ length: 1 + this.#chance.below(2) }, () => this.#entry()),
      attributes: { schemas: [userSchema, nhiSchema] },
    })
    this.accounts.push(account.id)
    return account.id
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
      overlap: undefined,
      expiresAt: undefined,
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
    return id
  }

  async #cancel(engine: Engine): Promise<string> {
    const { tenant } = this.#admin
    const all = await this.#installation.store.read.operations({ tenant, after: null, limit: 200 })
    const open = all.filter((o) => ['queued', 'waiting', 'needsOperator'].includes(o.status))
    if (open.length === 0) return 'nothing to cancel'
    const { id } = this.#chance.oneOf(open)
    await engine.cancelOperation(this.#admin, id)
    return id
  }

  async #switch(engine: Engine, to: 'disable' | 'enable' | 'retire'): Promise<string> {
    if (this.accounts.length === 0) return 'no account'
    const id = this.#chance.oneOf(this.accounts)
    await engine.switchAccount(this.#admin, id, to, null)
    return id
  }

  async #setActive(engine: Engine, active: boolean, whom?: string): Promise<string> {
    if (this.people.length === 0) return 'nobody there'
    const id = whom ?? this.#chance.oneOf(this.people)
    const person = await engine.person(this.#admin, id)
    const { userName, externalId, attributes } = person
    const want: PersonWrite = { type: 'person', userName, externalId, attributes, active }
    await engine.updatePerson(this.#admin, person, want)
    return id
  }
}
