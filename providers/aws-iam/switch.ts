import type { User } from '@aws-sdk/client-iam'
import type { Instant } from '../../src/domain/time.ts'
import type { Call } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import {
  boundaryPolicyName,
  oldSessionsDocument,
  shutOffDocument,
  shutOffPolicyName,
} from './policies.ts'

/** AWS's own: for users whose inline policies leave no room for ours. */
export const denyAll = (partition: string) => `arn:${partition}:iam::aws:policy/AWSDenyAll`

/**
 * Denies everything, sessions made with the user's keys included. A user that was adopted may have
 * used up the 2 048 characters of its inline policies: then AWS's AWSDenyAll is attached instead.
 */
export async function shutOffUser(account: AwsAccount, user: User, call: Call): Promise<void> {
  const iam = account.iam(call)
  const { UserName } = user
  const inline = { UserName, PolicyName: shutOffPolicyName, PolicyDocument: shutOffDocument }
  try {
    await iam.putUserPolicy(inline, within(call))
  } catch (error) {
    if (!(error instanceof ProviderError && error.kind === 'limit')) throw error
    const { partition } = await account.own(call)
    await iam.attachUserPolicy({ UserName, PolicyArn: denyAll(partition) }, within(call))
  }
}

async function denyOldSessions(
  account: AwsAccount,
  { UserName, now }: { readonly UserName: string | undefined; readonly now: Instant },
  call: Call,
): Promise<void> {
  const iam = account.iam(call)
  const inline = { UserName, PolicyName: shutOffPolicyName }
  try {
    const PolicyDocument = oldSessionsDocument(now)
    await iam.putUserPolicy({ ...inline, PolicyDocument }, within(call))
  } catch (error) {
    if (!(error instanceof ProviderError && error.kind === 'limit')) throw error
    await unlessGone(iam.deleteUserPolicy(inline, within(call)))
  }
}

/**
 * Takes `shutOffUser` back. Sessions from before stay denied, where there can be any: Custody's own
 * boundary forbids making them.
 */
export async function turnOnUser(
  account: AwsAccount,
  user: User,
  now: Instant,
  call: Call,
): Promise<void> {
  const iam = account.iam(call)
  const { UserName } = user
  const inline = { UserName, PolicyName: shutOffPolicyName }
  if (user.PermissionsBoundary?.PermissionsBoundaryArn?.endsWith(`/${boundaryPolicyName}`)) {
    await unlessGone(iam.deleteUserPolicy(inline, within(call)))
  } else {
    await denyOldSessions(account, { UserName, now }, call)
  }
  // Of our own users, too: a limit that was reached for a moment is enough to have attached it, and a
  // key that signs in and may do nothing looks alive to every probe.
  const { partition } = await account.own(call)
  const attached = { UserName, PolicyArn: denyAll(partition) }
  await unlessGone(iam.detachUserPolicy(attached, within(call)))
}
