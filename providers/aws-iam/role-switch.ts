import type { Role } from '@aws-sdk/client-iam'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Call } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import { refuse } from './marks.ts'
import { consumerOf, grants, trustDocument, withEffect } from './trust.ts'

/** The inline policy that ends sessions of a role whose trust was taken away. */
export const endedPolicyName = 'custody-ended'

/**
 * How long after the trust was taken away a session may still be opened: changes of IAM spread within
 * seconds, and our clock may run behind AWS's.
 */
const spreadSeconds = seconds(300)

/**
 * Denies everything to every session whose token was issued before now, or while the loss of trust
 * still spreads. A session cannot be ended otherwise: it lives up to an hour, whatever the trust says.
 * Source: IAM user guide, "Revoke IAM role temporary security credentials".
 */
export function endedDocument(now: Instant): string {
  const until = addSeconds(now, spreadSeconds).replace(/\.\d+Z$/, 'Z')
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'CustodyEnded',
        Effect: 'Deny',
        Action: '*',
        Resource: '*',
        Condition: { DateLessThan: { 'aws:TokenIssueTime': until } },
      },
    ],
  })
}

/** The trust of a role as text; IAM answers with documents percent-encoded (RFC 3986). */
export function trustOf({ AssumeRolePolicyDocument: document }: Role): string {
  try {
    return decodeURIComponent(document ?? '')
  } catch {
    return ''
  }
}

/** Nobody gets in any more, and whoever is in can do nothing. Repeating is harmless. */
export async function switchOffRole(
  account: AwsAccount,
  role: Role,
  now: Instant,
  call: Call,
): Promise<void> {
  const { RoleName } = role
  const iam = account.iam(call)
  const trust = trustOf(role)
  if (grants(trust)) {
    const PolicyDocument = withEffect(trust, 'Deny')
    await unlessGone(iam.updateAssumeRolePolicy({ RoleName, PolicyDocument }, within(call)))
  }
  const ended = { PolicyName: endedPolicyName, PolicyDocument: endedDocument(now) }
  await unlessGone(iam.putRolePolicy({ RoleName, ...ended }, within(call)))
}

/**
 * Takes `switchOffRole` back: the same consumer is let in as before.
 * @throws ProviderError `conflict` when the trust is not the one Custody left
 */
export async function switchOnRole(account: AwsAccount, role: Role, call: Call): Promise<void> {
  const { RoleName } = role
  const iam = account.iam(call)
  const trust = trustOf(role)
  const consumer = consumerOf(trust)
  const PolicyDocument =
    consumer &&
    trustDocument(await account.arnOf(`oidc-provider/${consumer.issuer}`, call), consumer)
  if (PolicyDocument === null || withEffect(trust, 'Allow') !== PolicyDocument) {
    throw refuse(
      'conflict',
      `The trust of role ${RoleName} was changed by somebody else; look at it, or issue a new credential.`,
    )
  }
  // The sessions' end goes first: a role that lets in and then refuses everything looks broken.
  const ended = { RoleName, PolicyName: endedPolicyName }
  await unlessGone(iam.deleteRolePolicy(ended, within(call)))
  await iam.updateAssumeRolePolicy({ RoleName, PolicyDocument }, within(call))
}
