import type { ServiceAccount } from '../../src/domain/account.ts'
import type { Credential } from '../../src/domain/credential.ts'
import type { Operation } from '../../src/domain/operation.ts'
import { addSeconds, hour } from '../../src/domain/time.ts'
import { Consumers } from './consumers.ts'
import type { Installation } from './installation.ts'
import { Judge } from './judge.ts'
import { Promises } from './promises.ts'
import { Records } from './records.ts'
import { watched } from './terms.ts'
import { Violation } from './violation.ts'

/** What must hold, judged by the providers' own state; Custody's rows say only what it believes. */
export class Laws {
  readonly #installation: Installation
  readonly #judge: Judge
  readonly consumers: Consumers
  /** What was accepted, and has to be true at rest. */
  readonly promises: Promises
  readonly #records: Records
  /** Keys that are none of Custody's business: user → key. */
  readonly #foreign: readonly { readonly user: string; readonly key: string }[]

  constructor(installation: Installation) {
    this.#installation = installation
    this.#judge = new Judge(installation)
    this.consumers = new Consumers(installation, this.#judge)
    this.promises = new Promises(installation, this.#judge)
    this.#records = new Records(installation)
    this.#foreign = plantForeignKeys(installation)
  }

  /** At every moment, whatever is going on. */
  async always(): Promise<void> {
    this.#foreignKeysLive()
    this.#records.nobodyWroteStale()
    for (const account of await this.#accounts()) {
      const isOwned = await this.#isOwned(account)
      const credentials = await this.#credentials(account)
      const isUp =
        account.status === 'active' &&
        isOwned &&
        account.expiresAt > this.#installation.scheduler.now()
      for (const credential of credentials) {
        const isServed =
          isUp &&
          credential.status === 'active' &&
          credential.expiresAt > this.#installation.scheduler.now()
        if (
          isServed &&
          !(await this.#judge.works(credential)) &&
          !(await this.#isOver(credential))
        ) {
          this.#fail(credential, 'what its consumers read does not work')
        }
        if (isServed) await this.consumers.look(account, credential)
        else this.consumers.forget(credential)
        // A group that lost its last member has an hour's grace.
        const mayWork =
          isOwned ||
          account.labels.includes(watched) ||
          (await this.#isInGrace(account)) ||
          account.owner.type === 'Group' ||
          account.backups.length > 0 ||
          account.environment === 'prod'
        if (!mayWork && credential.kind === 'api-token' && (await this.#judge.works(credential))) {
          this.#fail(credential, 'its token is accepted although the owner has left')
        }
      }
    }
  }

  /** Keys of somebody who left end within the hour, even if nothing could replace them by then. */
  async #isOver({ tenant, account, id, kind, issuedAt }: Credential): Promise<boolean> {
    // Nothing renews a lease but the rotation sweep, which comes by when traffic asks for it.
    // The provider counts from when it made it, which a slow answer tells up to a minute late.
    const leaseEnd = addSeconds(issuedAt!, hour - 60)
    if (kind === 'app-token' && leaseEnd <= this.#installation.scheduler.now()) return true
    const open = await this.#installation.store.read.openOperations(tenant, account)
    return open.some(({ subject, memo }) => {
      const until = memo['oldKeysUntil']
      const isDue = typeof until === 'string' && until <= this.#installation.scheduler.now()
      return subject === id && isDue && memo['activatedAt'] === undefined
    })
  }

  async #isWatched({ tenant, account }: Operation): Promise<boolean> {
    const held = account && (await this.#installation.store.read.account(tenant, account))
    return held?.labels.includes(watched) ?? false
  }

  /** Whatever became of it, at the end of a life. */
  async atTheEnd(): Promise<void> {
    await this.always()
    await this.#records.noSecretIsSpilled()
  }

  /** Once the weather is good, nobody dies any more and everything had time. */
  async atRest(): Promise<void> {
    await this.atTheEnd()
    await this.#records.effectsAreAudited()
    const { store, admin } = this.#installation
    for (const status of ['queued', 'running', 'waiting', 'needsOperator'] as const) {
      const query = { tenant: admin.tenant, status, after: null, limit: 200 }
      for (const operation of await store.read.operations(query)) {
        const { id, kind, steps, cursor, runAt, failure } = operation
        // One whose time has come this very moment may have been taken up.
        const isWaiting =
          status === 'waiting' || runAt >= addSeconds(this.#installation.scheduler.now(), -5)
        const step = steps[cursor]!
        const isPlanned = isWaiting && failure === null
        if (isPlanned && ['overlap', 'soak', 'settle'].includes(step)) continue
        // A wait for those who have not read the new key is no hang.
        const forConsumers = ['consumersBehind', 'oldKeyInUse'].includes(failure?.code ?? '')
        if (isWaiting && step === 'overlap' && forConsumers) continue
        // What has ended on an account that is only watched, nobody revokes: the provider refuses it.
        if (
          isWaiting &&
          failure?.code === 'credentialExpired' &&
          (await this.#isWatched(operation))
        )
          continue
        // Who is asked for more than before and has no owner to answer for it, waits for one.
        if (isWaiting && kind === 'rescope' && step === 'change-scopes') continue
        throw new Violation(
          `${kind} ${id} is ${status} at ${steps[cursor]} (due ${runAt}): ${failure?.message ?? ''}`,
        )
      }
    }
    await this.promises.hold()
    // What an answer made that was lost has lived its hour by now.
    const accounts = await this.#accounts()
    const live = (await Promise.all(accounts.map((a) => this.#liveKeys(a)))).flat()
    for (const { id } of this.#judge.leases()) {
      if (!live.some((key) => key.startsWith(id))) throw new Violation(`nobody knows token ${id}`)
    }
    for (const account of accounts) {
      if (
        !['active', 'orphaned', 'disabled', 'retired', 'expired', 'failed'].includes(account.status)
      ) {
        throw new Violation(`account ${account.id} is ${account.status}`)
      }
      const live = await this.#liveKeys(account)
      const isOff = !['active', 'orphaned'].includes(account.status)
      if (isOff && live.length > 0) {
        throw new Violation(`account ${account.id} is ${account.status}, ${live.join()} live on`)
      }
      const known = await this.#journalled(account)
      for (const key of live) {
        if (!known.some((id) => id === key || id.endsWith(`#${key}`))) {
          throw new Violation(`${key} of account ${account.id} lives and is in no journal`)
        }
      }
    }
  }

  /** After every owner has left and the backups' time is over. */
  async nothingLives(): Promise<void> {
    await this.atRest()
    for (const account of await this.#accounts()) {
      const live = await this.#liveKeys(account)
      // Of those nobody decides anything by himself.
      if (live.length > 0 && !account.labels.includes(watched)) {
        throw new Violation(
          `${live.join()} of ${account.status} account ${account.id} outlived its owner`,
        )
      }
    }
  }

  #foreignKeysLive(): void {
    const { aws } = this.#installation.worlds
    for (const { user, key } of this.#foreign) {
      const found = aws.keysOf(user).find((k) => k.accessKeyId === key)
      if (found?.status !== 'Active') throw new Violation(`foreign key ${key} was touched`)
    }
  }

  async #accounts(): Promise<readonly ServiceAccount[]> {
    const { store, admin } = this.#installation
    return store.read.accountsAfter(admin.tenant, null, 200)
  }

  #credentials({ tenant, id }: ServiceAccount): Promise<readonly Credential[]> {
    return this.#installation.store.read.credentialsOf(tenant, id)
  }

  /** The directory's word "deactivated" has its grace; "deleted" has none here. */
  async #isInGrace({ tenant, owner }: ServiceAccount): Promise<boolean> {
    const { grace, store, scheduler } = this.#installation
    if (owner.type === 'Group' || grace === 0) return false
    const person = await store.read.person(tenant, owner.id)
    if (!person?.leftAt || person.deletedAt !== null) return false
    return scheduler.now() < addSeconds(person.leftAt, grace)
  }

  async #isOwned({ tenant, owner }: ServiceAccount): Promise<boolean> {
    const { read } = this.#installation.store
    if (owner.type === 'Group') return (await read.groupState(tenant, owner.id))?.active === true
    const person = await read.person(tenant, owner.id)
    if (!person) throw new Violation(`owner ${owner.id} is in no row`)
    return person.active && person.deletedAt === null
  }

  async #journalled(account: ServiceAccount): Promise<readonly string[]> {
    const { store } = this.#installation
    const keys = await store.read.keysOfAccount(account.tenant, account.id)
    return keys
      .filter((k) => ['issuing', 'active', 'superseded'].includes(k.status))
      .map((k) => k.keyId ?? '')
  }

  /** Every key a provider holds for the account and would accept now, whoever knows of it. */
  async #liveKeys({ id, tenant }: ServiceAccount): Promise<readonly string[]> {
    const { aws, github } = this.#installation.worlds
    const user = aws.users().find((u) => u.tags['custody:id'] === id)
    const keys = user ? aws.keysOf(user.userName).map((k) => k.accessKeyId) : []
    const deployKeys = github.deployKeys('acme', 'website')
    const issued = await this.#installation.store.read.issuedTokensOf(id, 'tokens')
    const accepted: string[] = []
    for (const credential of await this.#installation.store.read.credentialsOf(tenant, id)) {
      if (credential.kind === 'api-token' && (await this.#judge.works(credential))) {
        accepted.push(credential.id)
      }
    }
    const journal = await this.#installation.store.read.keysOfAccount(tenant, id)
    const leases = this.#judge.leases()
    return [
      ...journal.flatMap(({ keyId }) => (leases.some((t) => keyId.startsWith(t.id)) ? keyId : [])),
      ...keys.filter((key) => aws.wouldAllow(key, 's3:GetObject', 'arn:aws:s3:::artifacts/x')),
      ...deployKeys.filter((k) => k.title.startsWith(`custody/${id}/`)).map((k) => String(k.id)),
      ...issued.filter((t) => t.active && accepted.includes(t.credential)).map((t) => t.id),
    ]
  }

  #fail(credential: Credential, what: string): never {
    const { kind, id, generation, account } = credential
    throw new Violation(`${kind} ${id} (generation ${generation}, account ${account}): ${what}`)
  }
}

/** Users that somebody else made, with keys that work; one bears a name like ours. */
function plantForeignKeys({ worlds: { aws } }: Installation) {
  const call = (operation: string, input: Readonly<Record<string, unknown>>) =>
    aws.call({
      service: 'iam',
      operation,
      input,
      accessKeyId: aws.admin.accessKeyId,
      region: 'us-east-1',
    }) as { readonly AccessKey: { readonly AccessKeyId: string } }
  return ['build-server', 'svc-1'].map((user) => {
    call('CreateUser', { UserName: user })
    const key = call('CreateAccessKey', { UserName: user }).AccessKey.AccessKeyId
    return { user, key }
  })
}
