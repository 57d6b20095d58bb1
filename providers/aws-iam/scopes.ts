import type { User } from '@aws-sdk/client-iam'
import {
  paginateListAttachedRolePolicies,
  paginateListAttachedUserPolicies,
} from '@aws-sdk/client-iam'
import type { Call, WantedCredential } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import { tagAccount, tagGeneration, tagOf, tagOperation } from './marks.ts'
import type { Scope } from './policies.ts'
import { parseScope, scopesDocument, scopesPolicyName } from './policies.ts'

/** What scopes that were found acceptable grant: one inline document, and managed policies by name. */
export function rightsOf(
  scopes: readonly string[],
  allowedPolicies: readonly string[],
): { readonly document: string | null; readonly managed: readonly string[] } {
  const parsed = scopes.map((s) => parseScope(s, allowedPolicies) as Scope)
  return {
    document: scopesDocument(parsed),
    managed: parsed.flatMap((s) => (s.type === 'managed' ? [s.policy] : [])),
  }
}

export async function managedArns(
  account: AwsAccount,
  policies: readonly string[],
  call: Call,
): Promise<readonly string[]> {
  const arns: string[] = []
  for (const policy of policies) arns.push(await policyArn(account, policy, call))
  return arns
}

/** Marks the user with what is about to be minted and gives it exactly the scopes wanted. */
export async function grantScopes(
  account: AwsAccount,
  allowedPolicies: readonly string[],
  user: User,
  want: WantedCredential,
  call: Call,
): Promise<void> {
  const iam = account.iam(call)
  const UserName = user.UserName!
  const ours = tagOf(user, tagAccount) !== null
  const generation = String(want.generation)
  // A repeated attempt finds its marks there: IAM takes few writes a second.
  const marked =
    tagOf(user, tagOperation) === want.operation && tagOf(user, tagGeneration) === generation
  if (ours && !marked) {
    const Tags = [
      { Key: tagGeneration, Value: generation },
      { Key: tagOperation, Value: want.operation },
    ]
    await iam.tagUser({ UserName, Tags }, within(call))
  }
  const { document: PolicyDocument, managed } = rightsOf(want.scopes, allowedPolicies)
  const inline = { UserName, PolicyName: scopesPolicyName }
  if (PolicyDocument === null) await unlessGone(iam.deleteUserPolicy(inline, within(call)))
  else await iam.putUserPolicy({ ...inline, PolicyDocument }, within(call))
  if (allowedPolicies.length === 0) return

  const wanted = new Set(await managedArns(account, managed, call))
  for (const PolicyArn of wanted) {
    await iam.attachUserPolicy({ UserName, PolicyArn }, within(call))
  }
  // What hangs on an adopted user besides is somebody's decision.
  if (!ours) return
  for (const PolicyArn of await managedArns(account, allowedPolicies, call)) {
    if (wanted.has(PolicyArn)) continue
    await unlessGone(iam.detachUserPolicy({ UserName, PolicyArn }, within(call)))
  }
}

/** What one holder of policies, a user or a role, is changed by. */
export interface PolicyHolder {
  readonly attached: () => Promise<readonly string[]>
  readonly attach: (arn: string) => Promise<unknown>
  readonly detach: (arn: string) => Promise<unknown>
  /** The inline policy with the scopes; null takes it away. */
  readonly putInline: (document: string | null) => Promise<unknown>
}

/**
 * Swaps what a holder may do while its keys go on: what is new comes first, what is over goes last,
 * so that what both allow is allowed all the time. Whoever stops half-way has granted too much for a
 * moment, never too little, and a repeat goes on from what it finds. Policies that neither Custody's
 * vocabulary (`allowedPolicies`, for holders of its own) nor `before` names are somebody else's
 * doing, and stay: `driftOf` tells of them.
 */
export async function swapScopes(
  account: AwsAccount,
  holder: PolicyHolder,
  change: {
    readonly wanted: readonly string[]
    readonly before: readonly string[]
    readonly allowedPolicies: readonly string[]
    /** Made by Custody: then whatever of its vocabulary hangs there was granted by it. */
    readonly ours: boolean
  },
  call: Call,
): Promise<void> {
  const { wanted, before, allowedPolicies, ours } = change
  const { document, managed } = rightsOf(wanted, allowedPolicies)
  const kept = new Set(await managedArns(account, managed, call))
  const attached = new Set(await holder.attached())
  const own = await managedArns(
    account,
    [...(ours ? allowedPolicies : []), ...before.flatMap(managedIn)],
    call,
  )
  const over = [...new Set(own)].filter((arn) => attached.has(arn) && !kept.has(arn))
  const missing = [...kept].filter((arn) => !attached.has(arn))
  const detachAll = async (): Promise<void> => {
    for (const arn of over) await unlessGone(holder.detach(arn))
  }
  for (const [i, arn] of missing.entries()) {
    try {
      await holder.attach(arn)
    } catch (error) {
      // IAM takes ten a user: there is no room for both, so what is over goes first.
      const isFull = error instanceof ProviderError && error.kind === 'limit' && over.length > 0
      if (!isFull) throw error
      await detachAll()
      for (const left of missing.slice(i)) await holder.attach(left)
      break
    }
  }
  await holder.putInline(document)
  await detachAll()
}

/** Of scopes granted earlier, which the configuration may not allow any more. */
function managedIn(scope: string): readonly string[] {
  return scope.startsWith('policy:') ? [scope.slice('policy:'.length)] : []
}

export async function attachedToUser(
  account: AwsAccount,
  UserName: string,
  call: Call,
): Promise<readonly string[]> {
  const arns: string[] = []
  const options = { client: account.iam(call), stopOnSameToken: true }
  for await (const page of paginateListAttachedUserPolicies(options, { UserName }, within(call))) {
    arns.push(...(page.AttachedPolicies ?? []).map((policy) => policy.PolicyArn!))
  }
  return arns
}

export async function attachedToRole(
  account: AwsAccount,
  RoleName: string,
  call: Call,
): Promise<readonly string[]> {
  const arns: string[] = []
  const options = { client: account.iam(call), stopOnSameToken: true }
  for await (const page of paginateListAttachedRolePolicies(options, { RoleName }, within(call))) {
    arns.push(...(page.AttachedPolicies ?? []).map((policy) => policy.PolicyArn!))
  }
  return arns
}

export function userHolder(account: AwsAccount, UserName: string, call: Call): PolicyHolder {
  const iam = account.iam(call)
  const inline = { UserName, PolicyName: scopesPolicyName }
  return {
    attached: () => attachedToUser(account, UserName, call),
    attach: (PolicyArn) => iam.attachUserPolicy({ UserName, PolicyArn }, within(call)),
    detach: (PolicyArn) => iam.detachUserPolicy({ UserName, PolicyArn }, within(call)),
    putInline: (PolicyDocument) =>
      PolicyDocument === null
        ? unlessGone(iam.deleteUserPolicy(inline, within(call)))
        : iam.putUserPolicy({ ...inline, PolicyDocument }, within(call)),
  }
}

export function roleHolder(account: AwsAccount, RoleName: string, call: Call): PolicyHolder {
  const iam = account.iam(call)
  const inline = { RoleName, PolicyName: scopesPolicyName }
  return {
    attached: () => attachedToRole(account, RoleName, call),
    attach: (PolicyArn) => iam.attachRolePolicy({ RoleName, PolicyArn }, within(call)),
    detach: (PolicyArn) => iam.detachRolePolicy({ RoleName, PolicyArn }, within(call)),
    putInline: (PolicyDocument) =>
      PolicyDocument === null
        ? unlessGone(iam.deleteRolePolicy(inline, within(call)))
        : iam.putRolePolicy({ ...inline, PolicyDocument }, within(call)),
  }
}

async function policyArn(account: AwsAccount, policy: string, call: Call): Promise<string> {
  return policy.startsWith('arn:') ? policy : account.arnOf(`policy/${policy}`, call)
}
