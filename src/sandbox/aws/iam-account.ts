import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { Action } from './iam.ts'
import { shown } from './iam.ts'
import type { IamState } from './iam-state.ts'

/** What IAM tells about the account as a whole. */
export const accountActions = {
  /** Users alone, which is all that Custody asks for. */
  GetAccountAuthorizationDetails(
    state: IamState,
    input: iam.GetAccountAuthorizationDetailsRequest,
  ): iam.GetAccountAuthorizationDetailsResponse {
    if (input.Filter?.length !== 1 || input.Filter[0] !== 'User') {
      throw new AwsError('ValidationError', 'The sandbox tells the details of users only.')
    }
    const users = [...state.users.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
    const { items, ...rest } = page(users, input, state.pageSizeMax)
    const UserDetailList = items.map((user) => {
      const { PermissionsBoundary, ...detail } = shown(state, user)
      return {
        ...detail,
        ...(PermissionsBoundary ? { PermissionsBoundary } : {}),
        UserPolicyList: [...user.inline].map(([PolicyName, document]) => ({
          PolicyName,
          PolicyDocument: encodeURIComponent(document),
        })),
        GroupList: [...user.groups],
        AttachedManagedPolicies: [...user.attached].map((PolicyArn) => ({
          PolicyName: state.policy(PolicyArn).name,
          PolicyArn,
        })),
      }
    })
    return {
      UserDetailList,
      GroupDetailList: [],
      RoleDetailList: [],
      Policies: [],
      ...rest,
    }
  },

  ListAccountAliases(
    _state: IamState,
    _input: iam.ListAccountAliasesRequest,
  ): iam.ListAccountAliasesResponse {
    return { AccountAliases: ['sandbox'], IsTruncated: false }
  },
} satisfies Readonly<Record<string, Action>>
