import type { ServiceAccount } from '../../src/domain/account.ts'
import { isOpen } from '../../src/domain/account.ts'
import type { AuditRow } from '../../src/domain/audit.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { OwnerRef } from '../../src/domain/owner.ts'
import { instantOf } from '../../src/domain/time.ts'
import type { CredentialEntry } from '../../src/domain/want.ts'
import type { Change } from '../../src/store/store.ts'
import { day } from './clock.ts'
import type { Company } from './company.ts'
import type { Pattern, Place } from './consumers.ts'
import { declared } from './consumers.ts'
import type { YearWorld } from './world.ts'
import { repositories } from './world.ts'

const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const nhiSchema = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** How accounts of this company are spread; the rest has what comes last. */
const shares = {
  ownedByTeam: 0.72,
  withBackup: 0.88,
  accessKey: 0.5,
  token: 0.44,
  prod: 0.5,
  /** Made for a project that ends: nobody confirms them afterwards. */
  project: 0.03,
}
const patternShares: readonly (readonly [Pattern, number])[] = [
  ['per-call', 0.3],
  ['cache-1h', 0.25],
  ['cache-24h', 0.2],
  ['restart-only', 0.15],
  ['quarterly', 0.1],
]

export interface EstateEvents {
  readonly account: (before: ServiceAccount | null, after: ServiceAccount) => void
  readonly audit: (row: AuditRow) => void
  readonly enqueued: (operation: Operation) => void
  readonly stuck: (operation: string) => void
  /** For the first time there is something to use. */
  readonly delivered: (place: Place, patterns: readonly Pattern[]) => void
}

/** The company's service accounts as Custody has written them down, read off its commits. */
export class Estate {
  readonly accounts = new Map<string, ServiceAccount>()
  readonly credentials = new Map<string, Credential>()
  /** Whether Custody believes that somebody is there. */
  readonly active = new Map<string, boolean>()
  /** Whether anything was written since the last look that decides whether a key works. */
  isTouched = false
  requested = 0
  /** Made for something that ends. */
  readonly projects = new Set<string>()
  readonly #patterns = new Map<string, readonly Pattern[]>()
  readonly #repositories = new Map<string, string>()
  readonly #served = new Set<string>()
  readonly #world: () => YearWorld
  readonly #on: EstateEvents

  constructor(world: () => YearWorld, on: EstateEvents) {
    this.#world = world
    this.#on = on
  }

  get open(): readonly ServiceAccount[] {
    return [...this.accounts.values()].filter((a) => isOpen(a.status))
  }

  ownedBy(owner: string): readonly ServiceAccount[] {
    return [...this.accounts.values()].filter((a) => a.owner.id === owner)
  }

  placesOf(account: string): readonly Place[] {
    return [...this.credentials.values()]
      .filter((c) => c.account === account)
      .map((c) => this.#placeOf(c))
  }

  saved(changes: readonly Change[]): void {
    for (const change of changes) {
      switch (change.type) {
        case 'account': {
          const { account } = change
          const before = this.accounts.get(account.id) ?? null
          this.accounts.set(account.id, account)
          this.isTouched = true
          this.#on.account(before, account)
          break
        }
        case 'credential':
          this.#credential(change.credential)
          break
        case 'person':
          this.active.set(
            change.person.id,
            change.person.active && change.person.deletedAt === null,
          )
          this.isTouched = true
          break
        case 'key':
        case 'issuedTokenActive':
        case 'issuedTokenRemoved':
          this.isTouched = true
          break
        case 'audit':
          this.#on.audit(change.row)
          break
        case 'enqueue':
          this.#on.enqueued(change.operation)
          break
        case 'advance':
          if (change.set.status === 'needsOperator') this.#on.stuck(change.id)
          break
        default:
      }
    }
  }

  /** Somebody needs a new one. */
  async request(company: Company): Promise<void> {
    const { engine, admin, chance, clock } = this.#world()
    const n = ++this.requested
    const team = company.oneTeam()
    const isTeams = chance.happens(shares.ownedByTeam)
    const person = isTeams ? null : company.oneHere()
    const owner: OwnerRef = person
      ? { type: 'User', id: person.id }
      : { type: 'Group', id: team.id }
    const other = person ? person.team : company.oneTeam()
    const backup: OwnerRef =
      person && !person.team.dissolved
        ? { type: 'Group', id: person.team.id }
        : { type: 'User', id: [...other.members].find((m) => m.state === 'here')!.id }
    const patterns = this.#drawPatterns()
    const slow = patterns.find((p) => p === 'restart-only' || p === 'quarterly')
    const labels = slow ? [`cadence=${slow === 'quarterly' ? 'quarterly' : 'restart'}`] : undefined
    const isProject = chance.happens(shares.project)
    const entry = this.#entry(n)
    this.#patterns.set(`svc-${n}`, patterns)
    const consumers = patterns.map((pattern, i) => ({
      name: `${pattern}-${i + 1}`,
      ...declared[pattern],
    }))
    if (isProject) this.projects.add(`svc-${n}`)
    await engine.requestAccount(admin, {
      type: 'account',
      userName: `svc-${n}`,
      externalId: null,
      active: undefined,
      kind: 'serviceAccount',
      owner,
      backupOwners: chance.happens(shares.withBackup) ? [backup] : undefined,
      purpose: 'a simulated year',
      environment: chance.happens(shares.prod) ? 'prod' : undefined,
      labels,
      expiresAt: isProject
        ? instantOf(clock.ms + (60 + chance.below(240)) * day)
        : instantOf(clock.ms + 364 * day),
      protected: undefined,
      credentials: [entry],
      attributes: { schemas: [userSchema, nhiSchema], [nhiSchema]: { consumers } },
    })
  }

  /** The yearly round of confirmations, just before the year begins. */
  async confirmAll(): Promise<void> {
    const { engine, admin } = this.#world()
    for (const { id, status, userName } of this.open) {
      if (status !== 'active' || this.projects.has(userName)) continue
      await engine.certify(admin, id, { extend: true, reason: 'yearly round' })
    }
  }

  #entry(n: number): CredentialEntry {
    const { chance } = this.#world()
    const deliverTo = { sink: 'aws-secrets', path: `svc-${n}` }
    const drawn = chance.next()
    if (drawn < shares.accessKey) {
      const scopes = ['s3:GetObject on arn:aws:s3:::artifacts/*']
      return { provider: 'aws-prod', kind: 'access-key', scopes, deliverTo }
    }
    if (drawn < shares.accessKey + shares.token) {
      return { provider: 'tokens', kind: 'api-token', scopes: ['read'], deliverTo }
    }
    const repository = chance.oneOf(repositories)
    this.#repositories.set(`svc-${n}`, repository)
    const scopes = [`repo:acme/${repository}`]
    return { provider: 'github-acme', kind: 'deploy-key', scopes, deliverTo }
  }

  #drawPatterns(): readonly Pattern[] {
    const { chance } = this.#world()
    const draw = (): Pattern => {
      let at = chance.next()
      return patternShares.find(([, share]) => (at -= share) < 0)?.[0] ?? 'per-call'
    }
    return chance.happens(0.3) ? [draw(), draw()] : [draw()]
  }

  #credential(credential: Credential): void {
    this.credentials.set(credential.id, credential)
    this.isTouched = true
    if (credential.status !== 'active' || this.#served.has(credential.id)) return
    this.#served.add(credential.id)
    const patterns = this.#patterns.get(credential.deliverTo.path) ?? []
    this.#on.delivered(this.#placeOf(credential), patterns)
  }

  #placeOf({ id, account, kind, deliverTo }: Credential): Place {
    const repository = this.#repositories.get(deliverTo.path) ?? null
    return { account, credential: id, kind, path: deliverTo.path, repository }
  }
}
