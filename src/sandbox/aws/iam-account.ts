import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { Action } from './iam.ts'
import { shown } from './iam.ts'
import type { IamRole, IamState, IamUser } from './iam-state.ts'
import { isAllowed, isDenied } from './policy.ts'

/** What IAM tells about the account as a whole, and about what its principals may do. */
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

  /** By the policies of a user or role and its boundary; there are neither SCPs nor others here. */
  SimulatePrincipalPolicy(
    state: IamState,
    input: iam.SimulatePrincipalPolicyRequest,
  ): iam.SimulatePolicyResponse {
    const holder = holderOf(state, input.PolicySourceArn!)
    const managed = [...holder.attached].map((arn) => state.policy(arn).document)
    const identity = [...holder.inline.values(), ...managed].map((d) => state.parse(d))
    const boundary =
      holder.boundary === null ? null : state.parse(state.policy(holder.boundary).document)
    const keys = Object.fromEntries(
      (input.ContextEntries ?? []).map((e) => [
        e.ContextKeyName!.toLowerCase(),
        (e.ContextKeyValues ?? []).join('\n'),
      ]),
    )
    const pairs = (input.ActionNames ?? []).flatMap((action) =>
      (input.ResourceArns ?? ['*']).map((resource) => ({ action, resource, keys })),
    )
    const { items, ...rest } = page(pairs, input, state.pageSizeMax)
    return {
      EvaluationResults: items.map((context) => ({
        EvalActionName: context.action,
        EvalResourceName: context.resource,
        EvalDecision: isAllowed(identity, boundary, context)
          ? 'allowed'
          : isDenied([...identity, ...(boundary ? [boundary] : [])], context)
            ? 'explicitDeny'
            : 'implicitDeny',
      })),
      ...rest,
    }
  },
} satisfies Readonly<Record<string, Action>>

function holderOf(state: IamState, arn: string): IamUser | IamRole {
  const isIt = (kind: 'user' | 'role') => (it: IamUser | IamRole) =>
    state.arnOf(kind, it.path, it.name) === arn
  const found =
    [...state.users.values()].find(isIt('user')) ?? [...state.roles.values()].find(isIt('role'))
  if (!found) throw new AwsError('NoSuchEntity', `No such principal: ${arn}.`)
  return found
}
