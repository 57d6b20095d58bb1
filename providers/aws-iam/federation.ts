import type { Role, Tag } from '@aws-sdk/client-iam'
import type { Clock } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type {
  Call,
  CheckFinding,
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
import { durationOf } from '../aws/client.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Boundary } from './boundary.ts'
import type { Config } from './config.ts'
import type { Identity } from './identity.ts'
import type { AllowStatement } from './least.ts'
import { partitionOf } from './least.ts'
import {
  refuse,
  tagAccount,
  tagCredential,
  tagGeneration,
  tagOf,
  tagOperation,
  tagTenant,
} from './marks.ts'
import { OidcProviders } from './oidc-providers.ts'
import { scopesPolicyName } from './policies.ts'
import { probeRole } from './role-probe.ts'
import { switchOffRole, switchOnRole, trustOf } from './role-switch.ts'
import { isRolesPrincipal, Roles, rolesPrincipal } from './roles.ts'
import { managedArns, rightsOf, roleHolder, swapScopes } from './scopes.ts'
import type { FederatedScopes, TrustRules } from './trust.ts'
import { consumerOf, isSameConsumer, parseFederatedScopes, trustDocument } from './trust.ts'
import type { Users } from './users.ts'

const roleArn = /^arn:[a-z-]+:iam::\d{12}:role\/(?:.*\/)?([^/]+)$/

export function isRoleArn(keyId: string): boolean {
  return roleArn.test(keyId)
}

/**
 * Roles that a consumer opens with a token of its own platform: no secret exists. A credential is one
 * role per generation; its ARN is the key id. Nothing is minted, so repeating `issue` is harmless.
 */
export class FederatedRoles implements Identity {
  readonly kind = 'federated-role'
  readonly capabilities: KindCapabilities
  readonly roles: Roles
  readonly #account: AwsAccount
  readonly #boundary: Boundary
  readonly #providers: OidcProviders
  readonly #rules: TrustRules
  readonly #probeTokenFiles: readonly string[]
  readonly #clock: Clock
  readonly #config: Config

  constructor(
    host: HostContext,
    parts: { readonly account: AwsAccount; readonly boundary: Boundary; readonly users: Users },
    config: Config,
  ) {
    const { createProviders, allowPullRequests, probeTokenFiles } = config.federation ?? {}
    this.#config = config
    this.#account = parts.account
    this.#boundary = parts.boundary
    this.roles = new Roles(parts, config, host.clock)
    this.#providers = new OidcProviders(parts.account, createProviders ?? false)
    this.#rules = {
      allowedPolicies: config.allowedPolicies ?? [],
      allowPullRequests: allowPullRequests ?? false,
    }
    this.#probeTokenFiles = (probeTokenFiles ?? []).map((file) => host.resolvePath(file))
    this.#clock = host.clock
    this.capabilities = roleCapabilities(config)
  }

  owns(members: Readonly<Record<string, unknown>>): boolean {
    return isRolesPrincipal(members)
  }

  checkScopes(
    scopes: readonly string[],
  ): { readonly scope: string; readonly reason: string } | null {
    const parsed = parseFederatedScopes(scopes, this.#rules)
    return 'reason' in parsed ? parsed : null
  }

  ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    return this.roles.ensure(want, call)
  }

  async release(principal: string, call: Call): Promise<Released> {
    const { account } = rolesPrincipal(principal)
    const removed = account === null ? [] : await this.roles.release(account, call)
    return { removed, stays: ['The roles, their path, their trust and what they may do.'] }
  }

  async issue(principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    const wanted = parseFederatedScopes(want.scopes, this.#rules)
    if ('reason' in wanted) throw refuse('invalid', wanted.reason)
    const RoleName = roleNameFor(want)
    const existing = await this.roles.get(RoleName, call)
    if (existing && !isOf(existing, want)) {
      throw refuse('conflict', `IAM role "${RoleName}" was not made for this; it is left alone.`)
    }
    const provider = await this.#providers.ensure(wanted.consumer, call)
    const boundary = await this.#boundary.ensure(call)
    await this.roles.markUser(principal, call)
    if (!(await call.fence())) {
      throw refuse('fenced', 'Minting was pre-empted before the role was made.')
    }
    if (call.signal.aborted) throw refuse('unavailable', 'Aborted before the role was made.')
    const trust = trustDocument(provider, wanted.consumer)
    const role = existing
      ? await this.#takeUp(existing, { want, trust, boundary }, call)
      : await this.#create(RoleName, { want, trust, boundary }, call)
    await this.#grant(RoleName, wanted, call)
    return { keyId: role.Arn!, secret: null, fingerprint: role.RoleId!, expiresAt: null }
  }

  async #create(RoleName: string, { want, trust, boundary }: Making, call: Call): Promise<Role> {
    const { Role: made } = await this.#account.iam(call).createRole(
      {
        RoleName,
        Path: this.roles.pathOf(want.account),
        Description: `Custody: a consumer of service account ${want.account}`,
        AssumeRolePolicyDocument: trust,
        PermissionsBoundary: boundary,
        Tags: tagsFor(want),
      },
      within(call),
    )
    return made!
  }

  /** A role of the same credential and generation is what an earlier attempt made: it is completed. */
  async #takeUp(role: Role, { want, trust, boundary }: Making, call: Call): Promise<Role> {
    const { RoleName } = role
    const iam = this.#account.iam(call)
    await iam.tagRole({ RoleName, Tags: tagsFor(want) }, within(call))
    if (role.PermissionsBoundary?.PermissionsBoundaryArn !== boundary) {
      const PermissionsBoundary = boundary
      await iam.putRolePermissionsBoundary({ RoleName, PermissionsBoundary }, within(call))
    }
    if (trustOf(role) !== trust) {
      await iam.updateAssumeRolePolicy({ RoleName, PolicyDocument: trust }, within(call))
    }
    return role
  }

  async #grant(RoleName: string, { rights }: FederatedScopes, call: Call): Promise<void> {
    const iam = this.#account.iam(call)
    const { allowedPolicies } = this.#rules
    const { document: PolicyDocument, managed } = rightsOf(rights, allowedPolicies)
    const inline = { RoleName, PolicyName: scopesPolicyName }
    if (PolicyDocument !== null) {
      await iam.putRolePolicy({ ...inline, PolicyDocument }, within(call))
    }
    for (const PolicyArn of await managedArns(this.#account, managed, call)) {
      await iam.attachRolePolicy({ RoleName, PolicyArn }, within(call))
    }
  }

  /** @throws ProviderError `invalid` for another consumer: that is another credential */
  async rescope(_principal: string, want: WantedScopes, call: Call): Promise<void> {
    const wanted = parseFederatedScopes(want.scopes, this.#rules)
    if ('reason' in wanted) throw refuse('invalid', wanted.reason)
    const role = await this.#ours(want.keyId, call)
    if (!role) throw refuse('notFound', `Role ${want.keyId} no longer exists; issue a new one.`)
    const consumer = consumerOf(trustOf(role))
    if (consumer && !isSameConsumer(consumer, wanted.consumer)) {
      throw refuse(
        'invalid',
        `Role "${role.RoleName}" trusts ${consumer.subject} of ${consumer.issuer}; for another consumer ask for another credential.`,
      )
    }
    const change = {
      wanted: wanted.rights,
      before: want.before ?? [],
      allowedPolicies: this.#rules.allowedPolicies,
      ours: true,
    }
    await swapScopes(this.#account, roleHolder(this.#account, role.RoleName!, call), change, call)
  }

  async disable(_principal: string, keyId: string, call: Call): Promise<void> {
    const role = await this.#ours(keyId, call)
    if (role) await switchOffRole(this.#account, role, this.#clock.now(), call)
  }

  async enable(_principal: string, keyId: string, call: Call): Promise<void> {
    const role = await this.#ours(keyId, call)
    if (!role) throw refuse('notFound', `Role ${keyId} no longer exists; issue a new one.`)
    await switchOnRole(this.#account, role, call)
  }

  async revoke(_principal: string, keyId: string, call: Call): Promise<void> {
    const role = await this.#ours(keyId, call)
    if (role) await this.roles.remove(role, call)
  }

  async shutOff(principal: string, call: Call): Promise<void> {
    await this.roles.shutOff(accountIn(principal), call)
  }

  async turnOn(principal: string, call: Call): Promise<void> {
    await this.roles.turnOn(accountIn(principal), call)
  }

  async probe(): Promise<ProbeAnswer> {
    return 'untestable'
  }

  async probeKey(_principal: string, keyId: string, call: Call): Promise<ProbeAnswer> {
    const role = await this.#get(keyId, call)
    // A role that is gone does not tell any more whose token would be a proof.
    const consumer = role ? consumerOf(trustOf(role)) : this.roles.consumerOfGone(keyId)
    if (!consumer) return 'untestable'
    const at = { consumer, arn: keyId, now: this.#clock.now() }
    return probeRole(this.#account.settings, this.#probeTokenFiles, at, call)
  }

  list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    return this.roles.list(accountIn(principal), call)
  }

  marksOf(principal: string, call: Call): Promise<string | null> {
    return this.roles.marksOf(principal, call)
  }

  inventory(from: string | null, call: Call): Promise<InventoryPage> {
    return this.roles.inventory(from, call)
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    await this.roles.delete(accountIn(principal), call)
  }

  leastStatements(): readonly AllowStatement[] {
    return leastStatements(this.roles.path, this.#config)
  }

  check(call: Call): Promise<readonly CheckFinding[]> {
    return this.#providers.check(call)
  }

  async #get(keyId: string, call: Call): Promise<Role | null> {
    const name = roleArn.exec(keyId)?.[1]
    const role = name === undefined ? null : await this.roles.get(name, call)
    // Names are unique without regard to paths: another path is another role.
    return role?.Arn === keyId ? role : null
  }

  /** @throws ProviderError `conflict` for a role without our marks: somebody else's by now */
  async #ours(keyId: string, call: Call): Promise<Role | null> {
    const role = await this.#get(keyId, call)
    if (!role || tagOf(role, tagCredential) !== null) return role
    throw refuse('conflict', `IAM role "${role.RoleName}" is not Custody's; it is left alone.`)
  }
}

interface Making {
  readonly want: WantedCredential
  readonly trust: string
  readonly boundary: string
}

/** Holds the credential's id whole: unique in the account, and found again from either side. */
function roleNameFor({ credential, generation }: WantedCredential): string {
  return `custody-${credential}-g${generation}`
}

function tagsFor(want: WantedCredential): Tag[] {
  return [
    { Key: tagAccount, Value: want.account },
    { Key: tagTenant, Value: want.tenant },
    { Key: tagCredential, Value: want.credential },
    { Key: tagGeneration, Value: String(want.generation) },
    { Key: tagOperation, Value: want.operation },
  ]
}

function isOf(role: Role, want: WantedCredential): boolean {
  const mine = tagsFor(want).filter(({ Key }) => Key !== tagOperation)
  return mine.every(({ Key, Value }) => tagOf(role, Key!) === Value)
}

/** @throws ProviderError `invalid` for a principal that stands for no account's roles */
function accountIn(principal: string): string {
  const { account } = rolesPrincipal(principal)
  if (account !== null) return account
  throw refuse('invalid', 'The stored principal is a single role that Custody did not make.')
}

function leastStatements(path: string, config: Config): readonly AllowStatement[] {
  const arn = `arn:${partitionOf(config.region)}:iam::*`
  return [
    {
      Sid: 'CustodyRoles',
      Effect: 'Allow',
      Action: [
        'iam:CreateRole',
        'iam:GetRole',
        'iam:DeleteRole',
        'iam:TagRole',
        'iam:UpdateAssumeRolePolicy',
        'iam:PutRolePermissionsBoundary',
        'iam:PutRolePolicy',
        'iam:DeleteRolePolicy',
        'iam:GetRolePolicy',
        'iam:ListRolePolicies',
        'iam:AttachRolePolicy',
        'iam:DetachRolePolicy',
        'iam:ListAttachedRolePolicies',
        'iam:ListInstanceProfilesForRole',
        'iam:RemoveRoleFromInstanceProfile',
      ],
      Resource: `${arn}:role${path}*`,
    },
    {
      Sid: 'CustodyRoleReads',
      Effect: 'Allow',
      Action: ['iam:ListRoles', 'iam:ListOpenIDConnectProviders', 'iam:GetOpenIDConnectProvider'],
      Resource: '*',
    },
    ...(config.federation?.createProviders === true
      ? [
          {
            Sid: 'CustodyIssuers',
            Effect: 'Allow',
            Action: ['iam:CreateOpenIDConnectProvider', 'iam:AddClientIDToOpenIDConnectProvider'],
            Resource: `${arn}:oidc-provider/*`,
          } as const,
        ]
      : []),
  ]
}

function roleCapabilities(config: Config): KindCapabilities {
  const canProbe = (config.federation?.probeTokenFiles ?? []).length > 0
  return {
    canCreate: true,
    canRevoke: true,
    canList: true,
    maxLive: null,
    canDisable: true,
    canRescope: 'inPlace',
    canProbe,
    canLastUsed: true,
    lastUsedLag: durationOf(config.lastUsedLag ?? 'PT4H'),
    mint: 'none',
    lease: null,
    keepsSecret: false,
    settleMin: seconds(0),
    settleMax: durationOf(config.settle ?? 'PT15S'),
    quota: null,
    probe: {
      count: config.probe?.count ?? 5,
      every: durationOf(config.probe?.every ?? 'PT2S'),
    },
    cannot: [
      'Try a role without a token of its consumer: absence from a complete listing proves death then.',
      'End a session before it is over: it stays open for up to an hour, and is denied everything.',
      'Change whom a role trusts: that is another credential.',
    ],
  }
}
