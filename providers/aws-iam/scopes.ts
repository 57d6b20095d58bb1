import type { User } from '@aws-sdk/client-iam'
import type { Call, WantedCredential } from '../../src/provider/contract.ts'
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

async function policyArn(account: AwsAccount, policy: string, call: Call): Promise<string> {
  return policy.startsWith('arn:') ? policy : account.arnOf(`policy/${policy}`, call)
}
