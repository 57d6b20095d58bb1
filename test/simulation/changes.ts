import { anyone, consumersOf, mustReport } from '../../src/domain/consumer.ts'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { seconds } from '../../src/domain/time.ts'
import type { Engine } from '../../src/lifecycle/engine.ts'
import type { Installation } from './installation.ts'
import type { Laws } from './laws.ts'
import type { Chance } from './scheduler.ts'

/** An overlap that a life sees the end of. */
export const tenMinutes = seconds(600)

/** What each kind may be given on top of what it was asked for with. */
const moreOf: Readonly<Record<string, readonly string[]>> = {
  'api-token': ['write'],
  'access-key': ['s3:PutObject on arn:aws:s3:::artifacts/*'],
  'deploy-key': ['write'],
  'app-token': ['permission:metadata=read'],
}

/** Who uses the accounts of a company: most read again and again, some when they are started. */
const uses: readonly (readonly [number, readonly JsonObject[]])[] = [
  [7, [{ name: 'app', cacheTtl: 'PT5M' }]],
  [1, [{ name: 'box', kind: 'restart-only' }]],
  [
    1,
    [
      { name: 'app', cacheTtl: 'PT5M' },
      { name: 'box', kind: 'restart-only' },
    ],
  ],
  [1, []],
]

export function someConsumers(chance: Chance): readonly JsonObject[] {
  let at = chance.below(uses.reduce((sum, [weight]) => sum + weight, 0))
  return uses.find(([weight]) => (at -= weight) < 0)![1]
}

/** What people ask for that changes what is there: back from an event, more, less, tried, answered for. */
export class Changes {
  readonly #installation: Installation
  readonly #chance: Chance
  readonly #laws: Laws

  constructor(installation: Installation, laws: Laws) {
    this.#installation = installation
    this.#chance = installation.scheduler.chance
    this.#laws = laws
  }

  get #admin() {
    return this.#installation.admin
  }

  /** One of the last leavings, or of the accounts switched off, wherever that has got to. */
  async undo(engine: Engine, person?: string): Promise<string> {
    const { tenant } = this.#admin
    const kind = person !== undefined || this.#chance.happens(0.7) ? 'leave' : 'disable'
    const events = await this.#installation.store.read.operations({
      tenant,
      kind,
      ...(person === undefined ? {} : { subject: person }),
      after: null,
      limit: 3,
    })
    if (events.length === 0) return 'nothing to undo'
    const { id } = person === undefined ? this.#chance.oneOf(events) : events[0]!
    const wish = { reason: 'simulation', dryRun: this.#chance.happens(0.1) }
    const { operation, plan } = await engine.undo(this.#admin, id, wish)
    if (operation) this.#laws.promises.undid(operation, plan)
    return `${operation?.id ?? 'nothing'} of ${id}`
  }

  /** More or less than before: by itself, or through a group. */
  async rescope(
    engine: Engine,
    accounts: readonly string[],
    groups: readonly string[],
  ): Promise<string> {
    const found = await this.#credential(engine, accounts)
    if (!found) return 'no credential'
    const { credential } = found
    const more = moreOf[credential.kind]!
    const through = groups.length > 0 && this.#chance.happens(0.5)
    const scopes = credential.scopes.filter((scope) => !more.includes(scope))
    const isMore = this.#chance.happens(0.6)
    const { displayName, readers, provider, kind } = credential
    await engine.updateCredential(this.#admin, credential, {
      serviceAccount: credential.account,
      displayName,
      readers,
      provider,
      kind,
      scopes: isMore && !through ? [...scopes, ...more] : scopes,
      scopesFrom: through && isMore ? [{ group: this.#chance.oneOf(groups), scopes: more }] : [],
      deliverTo: undefined,
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: this.#chance.happens(0.5) ? tenMinutes : undefined,
    })
    return `${credential.id} ${isMore ? 'more' : 'less'}${through ? ' by a group' : ''}`
  }

  async rehearse(engine: Engine, accounts: readonly string[]): Promise<string> {
    const found = await this.#credential(engine, accounts)
    if (!found) return 'no credential'
    return (await engine.rehearseCredential(this.#admin, found.credential.id)).id
  }

  /** A consumer is started anew, and mostly says so. */
  async restart(engine: Engine, accounts: readonly string[]): Promise<string> {
    const found = await this.#credential(engine, accounts)
    if (!found) return 'no credential'
    const { account, credential } = found
    const isRead = this.#laws.consumers.restart(account, credential) !== null
    const consumer = consumersOf(account).find(mustReport)
    if (!isRead || !consumer || this.#chance.happens(0.2)) return `${credential.id} silently`
    const word = { credential: credential.id, generation: credential.generation }
    await engine.reportSeen(this.#admin, `${account.id}:${consumer.name}`, word)
    return `${credential.id} has ${credential.generation}`
  }

  async waive(engine: Engine): Promise<string> {
    const { tenant } = this.#admin
    const { read } = this.#installation.store
    const open = await read.operations({
      tenant,
      kind: 'rotate',
      status: 'waiting',
      after: null,
      limit: 20,
    })
    if (open.length === 0) return 'nothing waits'
    const { id } = this.#chance.oneOf(open)
    const wish = { consumer: anyone, reason: 'simulation' }
    return (await engine.waiveConsumer(this.#admin, id, wish)).id
  }

  async #credential(
    engine: Engine,
    accounts: readonly string[],
  ): Promise<{ readonly account: ServiceAccount; readonly credential: Credential } | null> {
    if (accounts.length === 0) return null
    const account = await engine.account(this.#admin, this.#chance.oneOf(accounts))
    const { read } = this.#installation.store
    const all = await read.credentialsOf(account.tenant, account.id)
    return all.length === 0 ? null : { account, credential: this.#chance.oneOf(all) }
  }
}
