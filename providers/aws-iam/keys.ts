import type { AccessKeyMetadata } from '@aws-sdk/client-iam'
import { paginateListAccessKeys } from '@aws-sdk/client-iam'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Clock } from '../../src/domain/time.ts'
import { instantOf, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  EnsuredPrincipal,
  ExternalCredential,
  HostContext,
  InventoryPage,
  Issued,
  KindCapabilities,
  Listing,
  ProbeAnswer,
  Released,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { durationOf } from '../aws/client.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import { deleteUser } from './deletion.ts'
import { discovery } from './discovery.ts'
import type { Beside, Identity } from './identity.ts'
import { inventoryPage } from './inventory.ts'
import type { AskLastUse } from './last-use.ts'
import { lastUseOf, untilRefused } from './last-use.ts'
import type { AllowStatement } from './least.ts'
import { userStatements } from './least.ts'
import { accountOf, refuse, tagAccount, tagOf } from './marks.ts'
import { refusedScope } from './policies.ts'
import type { KeyPair } from './probe.ts'
import { KeyProbe } from './probe.ts'
import { grantScopes, swapScopes, userHolder } from './scopes.ts'
import { shutOffUser, turnOnUser } from './switch.ts'
import type { Users } from './users.ts'
import { isUserPrincipal, principalOf } from './users.ts'

/** IAM users with their access keys. */
export class UsersWithKeys implements Identity {
  readonly kind = 'access-key'
  readonly capabilities: KindCapabilities
  readonly #account: AwsAccount
  readonly #users: Users
  readonly #beside: Beside
  readonly #path: string
  readonly #allowedPolicies: readonly string[]
  readonly #adopt: readonly string[]
  readonly #clock: Clock
  readonly #config: Config
  readonly #lastUse: AskLastUse
  readonly #probe: KeyProbe

  constructor(
    host: HostContext,
    parts: { readonly account: AwsAccount; readonly users: Users; readonly beside: Beside },
    config: Config,
  ) {
    this.#clock = host.clock
    this.#config = config
    this.#account = parts.account
    this.#users = parts.users
    this.#beside = parts.beside
    this.#path = config.path ?? defaultPath
    this.#allowedPolicies = config.allowedPolicies ?? []
    this.#adopt = config.adopt ?? []
    this.#probe = new KeyProbe(this.#account, config)
    this.#lastUse = lastUseOf(this.#account, true)
    this.capabilities = keyCapabilities(config)
    if (config.discovery ?? true) this.discover = discovery(this.#account, this.#path, config)
  }

  owns(members: Readonly<Record<string, unknown>>): boolean {
    return isUserPrincipal(members)
  }

  checkScopes(
    scopes: readonly string[],
  ): { readonly scope: string; readonly reason: string } | null {
    return refusedScope(scopes, this.#allowedPolicies)
  }

  ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    return this.#users.ensure(want, call, this.#beside)
  }

  async issue(principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    const refused = this.checkScopes(want.scopes)
    if (refused) throw refuse('invalid', refused.reason)
    const user = await this.#users.locate(principal, call)
    if (!user) throw refuse('notFound', `IAM user of ${want.account} is gone; ensure it again.`)
    await grantScopes(this.#account, this.#allowedPolicies, user, want, call)
    if (!(await call.fence())) {
      throw refuse('fenced', 'Minting was pre-empted before the key was created.')
    }
    if (call.signal.aborted) throw refuse('unavailable', 'Aborted before the key was created.')
    const { AccessKey: made } = await this.#account
      .iam(call)
      .createAccessKey({ UserName: user.UserName }, within(call))
    const pair: KeyPair = {
      accessKeyId: made!.AccessKeyId!,
      secretAccessKey: made!.SecretAccessKey!,
    }
    const secret = Secret.ofText(JSON.stringify(pair))
    return { keyId: pair.accessKeyId, secret, fingerprint: secret.fingerprint(), expiresAt: null }
  }

  /** The boundary, the marks and what somebody else attached are left as they are. */
  async rescope(principal: string, want: WantedScopes, call: Call): Promise<void> {
    const refused = this.checkScopes(want.scopes)
    if (refused) throw refuse('invalid', refused.reason)
    const user = await this.#users.locate(principal, call)
    if (!user) throw refuse('notFound', `IAM user of ${want.account} is gone; ensure it again.`)
    const holder = accountOf(user)
    if (holder !== null && holder !== want.account) {
      throw refuse('conflict', `IAM user "${user.UserName}" belongs to account ${holder}.`)
    }
    const change = {
      wanted: want.scopes,
      before: want.before ?? [],
      allowedPolicies: this.#allowedPolicies,
      ours: tagOf(user, tagAccount) !== null,
    }
    await swapScopes(this.#account, userHolder(this.#account, user.UserName!, call), change, call)
  }

  async disable(principal: string, keyId: string, call: Call): Promise<void> {
    await this.#setStatus(principal, keyId, 'Inactive', call)
  }

  async enable(principal: string, keyId: string, call: Call): Promise<void> {
    if ((await this.#setStatus(principal, keyId, 'Active', call)) === null) {
      throw refuse('notFound', `Access key ${keyId} no longer exists; issue a new one.`)
    }
  }

  async revoke(principal: string, keyId: string, call: Call): Promise<void> {
    // To switch it off first would be one more of the few writes a second that IAM takes.
    const remove = (UserName: string) =>
      this.#account.iam(call).deleteAccessKey({ UserName, AccessKeyId: keyId }, within(call))
    try {
      await this.#onKey(principal, call, remove)
    } catch (error) {
      // A key that cannot be deleted is to be dead at least; why it could not is what matters. Not
      // under throttling: one more call would only prolong that.
      const isThrottled = error instanceof ProviderError && error.kind === 'throttled'
      if (!isThrottled) await this.#setStatus(principal, keyId, 'Inactive', call).catch(() => null)
      throw error
    }
  }

  #setStatus(
    principal: string,
    AccessKeyId: string,
    Status: 'Active' | 'Inactive',
    call: Call,
  ): Promise<string | null> {
    return this.#onKey(principal, call, (UserName) =>
      this.#account.iam(call).updateAccessKey({ UserName, AccessKeyId, Status }, within(call)),
    )
  }

  /** @returns the name of the user that holds the key; null when user or key are gone */
  async #onKey(
    principal: string,
    call: Call,
    set: (UserName: string) => Promise<unknown>,
  ): Promise<string | null> {
    const { userName } = principalOf(principal)
    try {
      // The key id must belong to the named user, so the common case needs no look-up before it.
      await set(userName)
      return userName
    } catch (error) {
      // For a name that no user has, rights limited to a path answer "denied", not "not found".
      const isAbsence = error instanceof ProviderError && /^(notFound|denied)$/.test(error.kind)
      if (!isAbsence) throw error
      const user = await this.#users.locate(principal, call)
      if (user?.UserName === userName && error.kind === 'denied') throw error
      if (!user || user.UserName === userName) return null
      return (await unlessGone(set(user.UserName!))) ? user.UserName! : null
    }
  }

  async shutOff(principal: string, call: Call): Promise<void> {
    const user = await this.#users.locate(principal, call)
    if (!user) return
    await shutOffUser(this.#account, user, call)
    await this.#beside.shutOffBeside(user, call)
  }

  async turnOn(principal: string, call: Call): Promise<void> {
    const user = await this.#users.locate(principal, call)
    if (!user) throw refuse('notFound', 'The IAM user is gone and cannot be turned on.')
    await turnOnUser(this.#account, user, this.#clock.now(), call)
    await this.#beside.turnOnBeside(user, call)
  }

  async probe(secret: Secret, kind: CredentialKind, call: Call): Promise<ProbeAnswer> {
    return kind === this.kind ? this.#probe.try(secret, call) : 'untestable'
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const user = await this.#users.locate(principal, call)
    if (!user) return { items: [], complete: true }
    const items: ExternalCredential[] = []
    let pages = 0
    try {
      const input = { UserName: user.UserName }
      const options = { client: this.#account.iam(call), stopOnSameToken: true }
      for await (const page of paginateListAccessKeys(options, input, within(call))) {
        pages++
        for (const key of page.AccessKeyMetadata ?? []) items.push(await this.#shown(key, call))
      }
      const beside = await this.#beside.listBeside(user, call)
      return { items: [...items, ...beside.items], complete: beside.complete }
    } catch (error) {
      if (pages === 0) throw error
      return { items, complete: false }
    }
  }

  async #shown(key: AccessKeyMetadata, call: Call): Promise<ExternalCredential> {
    return {
      keyId: key.AccessKeyId!,
      // The secret, and so its fingerprint, is only ever known to whoever saw it being made.
      fingerprint: null,
      kind: this.kind,
      active: key.Status === 'Active',
      createdAt: key.CreateDate ? instantOf(key.CreateDate.getTime()) : null,
      ...(await this.#lastUse(key.AccessKeyId!, call)),
    }
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    const reach = {
      iam: this.#account.iam(call),
      path: this.#path,
      adopt: this.#adopt,
      findsAdopted: this.discover !== undefined,
      lastUseOf: untilRefused(this.#lastUse),
    }
    return inventoryPage(reach, from, call)
  }

  /** Undefined where the configuration has it switched off. */
  readonly discover?: Identity['discover']

  async adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    return this.#users.adopt(external, want, call)
  }

  leastStatements(): readonly AllowStatement[] {
    return userStatements(this.#config)
  }

  async release(principal: string, call: Call): Promise<Released> {
    const user = await this.#users.locate(principal, call)
    if (!user) return { removed: [], stays: ['The user is gone.'] }
    const beside = await this.#beside.releaseBeside(user, call)
    const own = await this.#users.release(user, call)
    const path = user.Path?.startsWith(this.#path) ? [`Path ${user.Path} and the user's name.`] : []
    const scopes = 'Policies that grant the scopes: they are what the keys may do.'
    return { removed: [...beside, ...own], stays: [...path, scopes] }
  }

  async marksOf(principal: string, call: Call): Promise<string | null> {
    const user = await this.#users.locate(principal, call)
    return user && accountOf(user)
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const user = await this.#users.locate(principal, call)
    if (!user) return
    if (tagOf(user, tagAccount) === null) {
      const reason = `bears no tag ${tagAccount}, so Custody did not make it; it is left alone.`
      throw refuse('conflict', `IAM user "${user.UserName}" ${reason}`)
    }
    // The mark that there are roles hangs on the user: it goes last.
    await this.#beside.deleteBeside(user, call)
    await deleteUser(this.#account.iam(call), user, call)
  }
}

function keyCapabilities(config: Config): KindCapabilities {
  return {
    canCreate: true,
    canRevoke: true,
    canList: true,
    maxLive: 2,
    canDisable: true,
    canRescope: 'inPlace',
    canProbe: true,
    canLastUsed: true,
    lastUsedLag: durationOf(config.lastUsedLag ?? 'PT4H'),
    mint: 'server',
    lease: null,
    keepsSecret: false,
    settleMin: seconds(0),
    settleMax: durationOf(config.settle ?? 'PT15S'),
    // AWS publishes no rate for IAM; throttling answers set the pace.
    quota: null,
    probe: {
      count: config.probe?.count ?? 5,
      every: durationOf(config.probe?.every ?? 'PT2S'),
    },
    cannot: [
      'More than one credential per account: a user has two keys, and rotation needs one slot.',
      'Tell whether a key that STS used last was used by its consumer: our probes are such uses.',
      'End sessions of roles that were assumed with the key.',
    ],
  }
}
