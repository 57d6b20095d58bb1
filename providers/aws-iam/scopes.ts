import type { User } from '@aws-sdk/client-iam'
import type { Call, WantedCredential } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import { tagAccount, tagGeneration, tagOf, tagOperation } from './marks.ts'
import type { Scope } from './policies.ts'
import { parseScope, scopesDocument, scopesPolicyName } from './policies.ts'

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
  if (ours) {
    const Tags = [
      { Key: tagGeneration, Value: String(want.generation) },
      { Key: tagOperation, Value: want.operation },
    ]
    await iam.tagUser({ UserName, Tags }, within(call))
  }
  const scopes = want.scopes.map((s) => parseScope(s, allowedPolicies) as Scope)
  const PolicyDocument = scopesDocument(scopes)
  const inline = { UserName, PolicyName: scopesPolicyName }
  if (PolicyDocument === null) await unlessGone(iam.deleteUserPolicy(inline, within(call)))
  else await iam.putUserPolicy({ ...inline, PolicyDocument }, within(call))
  if (allowedPolicies.length === 0) return

  const arns = new Map<string, string>()
  for (const policy of allowedPolicies) arns.set(policy, await policyArn(account, policy, call))
  const wanted = new Set(scopes.flatMap((s) => (s.type === 'managed' ? [arns.get(s.policy)!] : [])))
  for (const PolicyArn of wanted) {
    await iam.attachUserPolicy({ UserName, PolicyArn }, within(call))
  }
  // What hangs on an adopted user besides is somebody's decision.
  if (!ours) return
  for (const PolicyArn of arns.values()) {
    if (wanted.has(PolicyArn)) continue
    await unlessGone(iam.detachUserPolicy({ UserName, PolicyArn }, within(call)))
  }
}

async function policyArn(account: AwsAccount, policy: string, call: Call): Promise<string> {
  return policy.startsWith('arn:') ? policy : account.arnOf(`policy/${policy}`, call)
}
