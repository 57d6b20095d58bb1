import type { ServiceAccount } from '../../src/domain/account.ts'
import { isOpen } from '../../src/domain/account.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { Instant } from '../../src/domain/time.ts'
import type { UndoPlan } from '../../src/lifecycle/engine.ts'
import { effectiveScopes } from '../../src/lifecycle/scopes.ts'
import type { Installation } from './installation.ts'
import type { Judge } from './judge.ts'
import { watched } from './terms.ts'
import { Violation } from './violation.ts'

interface Undone {
  readonly operation: Operation
  readonly plan: UndoPlan
  readonly at: Instant
}

/** What ends an account, or what it would take for one to be back. */
const ends: ReadonlySet<string> = new Set(['disable', 'retire', 'delete'])
const onRequest: ReadonlySet<string> = new Set(['rescope', 'reload'])

/** What the people of a company were told would happen, looked at once everything has come to rest. */
export class Promises {
  readonly #installation: Installation
  readonly #judge: Judge
  readonly #undone: Undone[] = []
  /** Credentials that somebody had revoked. */
  readonly #revoked = new Set<string>()
  /** Accounts that an operator switched off, and nobody on again. */
  readonly #off = new Set<string>()

  constructor(installation: Installation, judge: Judge) {
    this.#installation = installation
    this.#judge = judge
  }

  undid(operation: Operation, plan: UndoPlan): void {
    this.#undone.push({ operation, plan, at: this.#installation.scheduler.now() })
    // Switching off may itself have been the event.
    if (plan.person === null) for (const { account } of plan.items) this.#off.delete(account)
  }

  revoked(credential: string): void {
    this.#revoked.add(credential)
  }

  switched(account: string, to: 'disable' | 'enable' | 'retire'): void {
    if (to === 'enable') this.#off.delete(account)
    else this.#off.add(account)
  }

  async hold(): Promise<void> {
    const { store, admin } = this.#installation
    const accounts = await store.read.accountsAfter(admin.tenant, null, 200)
    for (const account of accounts) {
      const credentials = await store.read.credentialsOf(account.tenant, account.id)
      if (account.labels.includes(watched)) await this.#onlyWatched(account)
      if (this.#off.has(account.id) && isOpen(account.status)) {
        throw new Violation(`account ${account.id} was switched off and is ${account.status}`)
      }
      for (const credential of credentials) {
        if (this.#revoked.has(credential.id)) await this.#staysDead(credential)
        else await this.#mayDoWhatItMay(account, credential)
      }
    }
    const byId = new Map(accounts.map((account) => [account.id as string, account]))
    for (const undone of this.#undone) {
      for (const item of undone.plan.items) {
        const account = byId.get(item.account)
        if (account) await this.#isBack(account, undone, item.act)
      }
    }
  }

  async #wasGivenUp({ tenant, id }: Credential): Promise<boolean> {
    const { store } = this.#installation
    const [last] = await store.read.operations({
      tenant,
      subject: id,
      kind: 'rotate',
      after: null,
      limit: 1,
    })
    // The old key of a rehearsal never had what was asked for since; the next one is made at its end.
    if (last?.memo['reason'] === 'rehearsal' && last.finishedAt === null) return true
    return last?.memo['reason'] === 'rescoped' && last.failure?.code === 'cancelled'
  }

  /** What the provider allows is what was last given, and that is what holds now. */
  async #mayDoWhatItMay(account: ServiceAccount, credential: Credential): Promise<void> {
    if (credential.status !== 'active' || !isOpen(account.status)) return
    const now = this.#installation.scheduler.now()
    if (account.expiresAt <= now || credential.expiresAt <= now) return
    const allowed = await this.#judge.allowed(credential)
    if (allowed === null) return
    const wanted = await effectiveScopes(this.#installation, account, credential)
    const { kind, id, grantedScopes } = credential
    const tell = `${kind} ${id} (account ${account.id}): allowed ${allowed.join()}, granted ${grantedScopes?.join()}, wanted ${wanted.join()}`
    if (allowed.some((scope) => !wanted.includes(scope))) {
      throw new Violation(`it may do more than it should: ${tell}`)
    }
    if (!same(allowed, grantedScopes ?? []))
      throw new Violation(`what it may is not noted: ${tell}`)
    // Nobody answers for more while the owner is gone; and more by a new key that somebody gave up
    // comes with the next rotation sweep, which no run here lasts for.
    const waits =
      account.status !== 'active' ||
      !(await this.#isOwned(account)) ||
      (await this.#wasGivenUp(credential))
    if (!waits && !same(allowed, wanted))
      throw new Violation(`it may not do all it should: ${tell}`)
  }

  async #isOwned({ tenant, owner }: ServiceAccount): Promise<boolean> {
    const { read } = this.#installation.store
    if (owner.type === 'Group') return (await read.groupState(tenant, owner.id))?.active === true
    return (await read.person(tenant, owner.id))?.active === true
  }

  /** An account that an accepted undo brings back is there, unless something else ended it since. */
  async #isBack(account: ServiceAccount, { operation, at }: Undone, act: string): Promise<void> {
    if (act !== 'enable' && act !== 'withdraw') return
    if (!(await this.#isOwned(account)) || account.status === 'active') return
    const { read } = this.#installation.store
    const { tenant } = account
    if (account.expiresAt <= this.#installation.scheduler.now()) return
    const undo = await read.operation(tenant, operation.id)
    if (undo?.status !== 'succeeded') return
    const later = await read.operations({ tenant, account: account.id, after: null, limit: 200 })
    const isOtherwise = later.some(
      (op) =>
        (ends.has(op.kind) && op.createdAt >= at) ||
        (op.cause === operation.id && op.status !== 'succeeded'),
    )
    if (isOtherwise || account.owner.type === 'Group') return
    throw new Violation(
      `account ${account.id} is ${account.status} (${account.statusReason}) although ${operation.id} took back what ended it`,
    )
  }

  async #staysDead({ tenant, id, kind, provider, account }: Credential): Promise<void> {
    const { aws, github } = this.#installation.worlds
    const { read } = this.#installation.store
    const issued = await read.issuedTokensOf(account, provider)
    for (const { keyId } of await read.keysOf(tenant, id)) {
      const isLive =
        kind === 'access-key'
          ? aws.wouldAllow(keyId, 's3:GetObject', 'arn:aws:s3:::artifacts/x')
          : kind === 'deploy-key'
            ? github.deployKeys('acme', 'website').some((k) => keyId.endsWith(`#${k.id}`))
            : issued.some((t) => t.id === keyId && t.active)
      if (isLive) throw new Violation(`${kind} ${id} was revoked, and its key ${keyId} works`)
    }
  }

  /** Nothing that the policy decides is done to it; what a person asks for is. */
  async #onlyWatched({ tenant, id }: ServiceAccount): Promise<void> {
    const { read } = this.#installation.store
    const done = await read.operations({ tenant, account: id, after: null, limit: 200 })
    const own = done.find(({ actor, kind }) => actor.type !== 'client' && !onRequest.has(kind))
    if (own) {
      throw new Violation(
        `watched account ${id} had a ${own.kind} by ${own.actor.name} (${own.id})`,
      )
    }
  }
}

function same(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((scope) => other.includes(scope))
}
