import type { IAM, UserDetail } from '@aws-sdk/client-iam'
import type { Call } from '../../src/provider/contract.ts'
import { within } from './account.ts'
import { refuse } from './marks.ts'

/** Each may bring all its inline policies along, so that a page of AWS's thousand can be megabytes. */
const usersPerListing = 100

/**
 * One page of all users of the account with their tags, which ListUsers does not show and asking for
 * each user would take a call.
 */
export async function userDetails(
  iam: IAM,
  marker: string | null,
  call: Call,
): Promise<{ readonly users: readonly UserDetail[]; readonly next: string | null }> {
  const listed = await iam.getAccountAuthorizationDetails(
    {
      Filter: ['User'],
      MaxItems: usersPerListing,
      ...(marker === null ? {} : { Marker: marker }),
    },
    within(call),
  )
  const users = listed.UserDetailList ?? []
  if (listed.IsTruncated !== true) return { users, next: null }
  if (listed.Marker === undefined || listed.Marker === marker) {
    const what = 'AWS GetAccountAuthorizationDetails: the listing is cut without a marker.'
    throw refuse('unavailable', what)
  }
  return { users, next: listed.Marker }
}
