import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { Action } from './iam.ts'
import { shownRole } from './iam-roles.ts'
import { shown } from './iam.ts'
import type { IamRole, IamState, IamUser } from './iam-state.ts'

/** What IAM tells about the account as a whole. */
export const accountActions = {
  /** Users and roles, each in its own list; one marker counts through both. */
  GetAccountAuthorizationDetails(
    state: IamState,
    input: iam.GetAccountAuthorizationDetailsRequest,
  ): iam.GetAccountAuthorizationDetailsResponse {
    const filter = input.Filter ?? []
    const isKnown = filter.every((type) => type === 'User' || type === 'Role')
    if (filter.length === 0 || !isKnown) {
      throw new AwsError('ValidationError', 'The sandbox tells the details of users and roles.')
    }
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
    const users = filter.includes('User') ? [...state.users.values()].sort(byName) : []
    const roles = filter.includes('Role') ? [...state.roles.values()].sort(byName) : []
    const all: readonly (IamUser | IamRole)[] = [...users, ...roles]
    const { items, ...rest } = page(all, input, state.pageSizeMax)
    return {
      UserDetailList: items.filter(isUser).map((user) => ({
        ...shown(state, user),
        UserPolicyList: inlineOf(user),
        GroupList: [...user.groups],
        AttachedManagedPolicies: attachedOf(state, user),
      })),
      GroupDetailList: [],
      RoleDetailList: items
        .filter((item): item is IamRole => !isUser(item))
        .map((role) => {
          const { Description: _, MaxSessionDuration: __, ...detail } = shownRole(state, role)
          return {
            ...detail,
            InstanceProfileList: [],
            RolePolicyList: inlineOf(role),
            AttachedManagedPolicies: attachedOf(state, role),
          }
        }),
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

function isUser(item: IamUser | IamRole): item is IamUser {
  return 'userId' in item
}

function inlineOf({ inline }: IamUser | IamRole): iam.PolicyDetail[] {
  return [...inline].map(([PolicyName, document]) => ({
    PolicyName,
    PolicyDocument: encodeURIComponent(document),
  }))
}

function attachedOf(state: IamState, { attached }: IamUser | IamRole): iam.AttachedPolicy[] {
  return [...attached].map((PolicyArn) => ({ PolicyName: state.policy(PolicyArn).name, PolicyArn }))
}
