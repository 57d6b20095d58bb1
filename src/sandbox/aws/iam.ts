import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { AccessKey, IamState, IamUser, ManagedPolicy } from './iam-state.ts'
import { setTags, statusAt } from './iam-state.ts'

/** The rules of IAM for users, access keys and policies: one function per action, by its name. */
export type Action = (state: IamState, input: never, caller: string | null) => object | undefined

const accessKeysPerUserMax = 2
const attachedPoliciesPerUserMax = 10

export const iamActions = {
  CreateUser(state: IamState, input: iam.CreateUserRequest): iam.CreateUserResponse {
    const name = input.UserName!
    const path = input.Path ?? '/'
    state.checkName(name, 64)
    state.checkPath(path)
    // Names of users are unique without regard to case.
    const taken = [...state.users.keys()].some((n) => n.toLowerCase() === name.toLowerCase())
    if (taken) throw new AwsError('EntityAlreadyExists', `User with name ${name} already exists.`)
    const boundary = input.PermissionsBoundary ?? null
    if (boundary !== null) state.policy(boundary)
    const user: IamUser = {
      name,
      path,
      userId: state.newId('AIDA'),
      createdAt: state.now(),
      tags: new Map(),
      inline: new Map(),
      attached: new Set(),
      boundary,
      groups: new Set(),
      loginProfile: null,
      mfaDevices: new Map(),
      certificates: new Map(),
      sshKeys: new Map(),
      serviceCredentials: new Map(),
    }
    setTags(user, input.Tags ?? [])
    state.users.set(name, user)
    return { User: shown(state, user) }
  },

  GetUser(state: IamState, input: iam.GetUserRequest, caller: string | null): iam.GetUserResponse {
    return { User: shown(state, named(state, input.UserName, caller)) }
  },

  UpdateUser(state: IamState, input: iam.UpdateUserRequest): undefined {
    const user = state.user(input.UserName!)
    const name = input.NewUserName ?? user.name
    if (name !== user.name) {
      state.checkName(name, 64)
      if (state.users.has(name)) {
        throw new AwsError('EntityAlreadyExists', `User with name ${name} already exists.`)
      }
    }
    if (input.NewPath !== undefined) state.checkPath(input.NewPath)
    state.users.delete(user.name)
    user.name = name
    user.path = input.NewPath ?? user.path
    state.users.set(name, user)
    return undefined
  },

  DeleteUser(state: IamState, input: iam.DeleteUserRequest): undefined {
    const user = state.user(input.UserName!)
    const left = remains(state, user)
    if (left !== null) {
      throw new AwsError('DeleteConflict', `Cannot delete entity, must ${left} first.`)
    }
    state.removeUser(user)
    return undefined
  },

  ListUsers(state: IamState, input: iam.ListUsersRequest): iam.ListUsersResponse {
    const prefix = input.PathPrefix ?? '/'
    const users = state
      .listedUsers()
      .filter((user) => user.path.startsWith(prefix))
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    const { items, ...rest } = page(users, input, state.pageSizeMax)
    // ListUsers never returns tags nor the boundary: GetUser does.
    return {
      Users: items.map((user) => {
        const { Tags: _tags, PermissionsBoundary: _boundary, ...listed } = shown(state, user)
        return listed
      }),
      ...rest,
    }
  },

  TagUser(state: IamState, input: iam.TagUserRequest): undefined {
    setTags(state.user(input.UserName!), input.Tags ?? [])
    return undefined
  },

  UntagUser(state: IamState, input: iam.UntagUserRequest): undefined {
    const user = state.user(input.UserName!)
    for (const key of input.TagKeys ?? []) user.tags.delete(key)
    return undefined
  },

  ListUserTags(state: IamState, input: iam.ListUserTagsRequest): iam.ListUserTagsResponse {
    const tags = [...state.user(input.UserName!).tags].map(([Key, Value]) => ({ Key, Value }))
    const { items, ...rest } = page(tags, input, state.pageSizeMax)
    return { Tags: items, ...rest }
  },

  PutUserPermissionsBoundary(
    state: IamState,
    input: iam.PutUserPermissionsBoundaryRequest,
  ): undefined {
    const user = state.user(input.UserName!)
    user.boundary = state.policy(input.PermissionsBoundary!).arn
    return undefined
  },

  DeleteUserPermissionsBoundary(
    state: IamState,
    input: iam.DeleteUserPermissionsBoundaryRequest,
  ): undefined {
    const user = state.user(input.UserName!)
    if (user.boundary === null) {
      throw new AwsError('NoSuchEntity', `User ${user.name} has no permissions boundary.`)
    }
    user.boundary = null
    return undefined
  },

  CreateAccessKey(
    state: IamState,
    input: iam.CreateAccessKeyRequest,
    caller: string | null,
  ): iam.CreateAccessKeyResponse {
    const user = named(state, input.UserName, caller)
    // Inactive keys count: the trap that blocks a third generation.
    if (state.keysOf(user).length >= accessKeysPerUserMax) {
      throw new AwsError(
        'LimitExceeded',
        `Cannot exceed quota for AccessKeysPerUser: ${accessKeysPerUserMax}`,
      )
    }
    const key: AccessKey = {
      id: state.newId('AKIA'),
      secret: state.newSecret(),
      userId: user.userId,
      createdAt: state.now(),
      history: [{ at: state.now(), status: 'Active' }],
      deletedAt: null,
      lastUsed: null,
    }
    state.addKey(key)
    return {
      AccessKey: {
        UserName: user.name,
        AccessKeyId: key.id,
        Status: 'Active',
        SecretAccessKey: key.secret,
        CreateDate: new Date(key.createdAt),
      },
    }
  },

  UpdateAccessKey(
    state: IamState,
    input: iam.UpdateAccessKeyRequest,
    caller: string | null,
  ): undefined {
    const key = keyOf(state, input, caller)
    const status = input.Status
    if (status !== 'Active' && status !== 'Inactive') {
      throw new AwsError('ValidationError', 'Status must be Active or Inactive.')
    }
    if (key.history.at(-1)!.status !== status) key.history.push({ at: state.now(), status })
    return undefined
  },

  DeleteAccessKey(
    state: IamState,
    input: iam.DeleteAccessKeyRequest,
    caller: string | null,
  ): undefined {
    keyOf(state, input, caller).deletedAt = state.now()
    return undefined
  },

  ListAccessKeys(
    state: IamState,
    input: iam.ListAccessKeysRequest,
    caller: string | null,
  ): iam.ListAccessKeysResponse {
    const user = named(state, input.UserName, caller)
    const seenAt = state.now() - state.lagSeconds * 1_000
    const seen = state.everyKeyOf(user).flatMap((key) => {
      const status = statusAt(key, seenAt)
      return status === null ? [] : [{ key, status }]
    })
    const { items, ...rest } = page(seen, input, state.pageSizeMax)
    return {
      AccessKeyMetadata: items.map(({ key, status }) => ({
        UserName: user.name,
        AccessKeyId: key.id,
        Status: status,
        CreateDate: new Date(key.createdAt),
      })),
      ...rest,
    }
  },

  GetAccessKeyLastUsed(
    state: IamState,
    input: iam.GetAccessKeyLastUsedRequest,
  ): iam.GetAccessKeyLastUsedResponse {
    const key = state.keys.get(input.AccessKeyId!)
    const user = key && key.deletedAt === null ? state.userById(key.userId) : null
    // AWS does not tell a key of another account from one that does not exist.
    if (!key || !user) throw new AwsError('AccessDenied', 'The access key is not of this account.')
    return {
      UserName: user.name,
      AccessKeyLastUsed:
        key.lastUsed === null
          ? { ServiceName: 'N/A', Region: 'N/A' }
          : {
              LastUsedDate: new Date(key.lastUsed.at),
              ServiceName: key.lastUsed.service,
              Region: key.lastUsed.region,
            },
    }
  },

  PutUserPolicy(state: IamState, input: iam.PutUserPolicyRequest): undefined {
    const user = state.user(input.UserName!)
    state.checkName(input.PolicyName!, 128)
    state.parse(input.PolicyDocument!)
    user.inline.set(input.PolicyName!, input.PolicyDocument!)
    const size = [...user.inline.values()].join('').replaceAll(/\s/g, '').length
    if (size > 2_048) {
      user.inline.delete(input.PolicyName!)
      throw new AwsError('LimitExceeded', 'Maximum policy size of 2048 bytes exceeded for user.')
    }
    return undefined
  },

  GetUserPolicy(state: IamState, input: iam.GetUserPolicyRequest): iam.GetUserPolicyResponse {
    const user = state.user(input.UserName!)
    const document = user.inline.get(input.PolicyName!)
    if (document === undefined) throw noInlinePolicy(input.PolicyName!)
    return {
      UserName: user.name,
      PolicyName: input.PolicyName,
      PolicyDocument: encodeURIComponent(document),
    }
  },

  DeleteUserPolicy(state: IamState, input: iam.DeleteUserPolicyRequest): undefined {
    const user = state.user(input.UserName!)
    if (!user.inline.delete(input.PolicyName!)) throw noInlinePolicy(input.PolicyName!)
    return undefined
  },

  ListUserPolicies(
    state: IamState,
    input: iam.ListUserPoliciesRequest,
  ): iam.ListUserPoliciesResponse {
    const names = [...state.user(input.UserName!).inline.keys()].sort()
    const { items, ...rest } = page(names, input, state.pageSizeMax)
    return { PolicyNames: items, ...rest }
  },

  CreatePolicy(state: IamState, input: iam.CreatePolicyRequest): iam.CreatePolicyResponse {
    const path = input.Path ?? '/'
    state.checkName(input.PolicyName!, 128)
    state.checkPath(path)
    state.parse(input.PolicyDocument!)
    const arn = state.arnOf('policy', path, input.PolicyName!)
    if (state.policies.has(arn)) {
      throw new AwsError('EntityAlreadyExists', `A policy called ${input.PolicyName} exists.`)
    }
    const policy: ManagedPolicy = {
      arn,
      name: input.PolicyName!,
      path,
      id: state.newId('ANPA'),
      document: input.PolicyDocument!,
      createdAt: state.now(),
    }
    state.policies.set(arn, policy)
    return { Policy: shownPolicy(state, policy) }
  },

  GetPolicy(state: IamState, input: iam.GetPolicyRequest): iam.GetPolicyResponse {
    return { Policy: shownPolicy(state, state.policy(input.PolicyArn!)) }
  },

  GetPolicyVersion(
    state: IamState,
    input: iam.GetPolicyVersionRequest,
  ): iam.GetPolicyVersionResponse {
    const policy = state.policy(input.PolicyArn!)
    if (input.VersionId !== 'v1') {
      throw new AwsError('NoSuchEntity', `Policy ${policy.arn} has no version ${input.VersionId}.`)
    }
    return {
      PolicyVersion: {
        Document: encodeURIComponent(policy.document),
        VersionId: 'v1',
        IsDefaultVersion: true,
        CreateDate: new Date(policy.createdAt),
      },
    }
  },

  DeletePolicy(state: IamState, input: iam.DeletePolicyRequest): undefined {
    const policy = state.policy(input.PolicyArn!)
    const { AttachmentCount, PermissionsBoundaryUsageCount } = shownPolicy(state, policy)
    if (AttachmentCount! + PermissionsBoundaryUsageCount! > 0) {
      throw new AwsError('DeleteConflict', 'Cannot delete a policy attached to entities.')
    }
    state.policies.delete(policy.arn)
    return undefined
  },

  AttachUserPolicy(state: IamState, input: iam.AttachUserPolicyRequest): undefined {
    const user = state.user(input.UserName!)
    const { arn } = state.policy(input.PolicyArn!)
    if (!user.attached.has(arn) && user.attached.size >= attachedPoliciesPerUserMax) {
      throw new AwsError('LimitExceeded', 'Cannot exceed quota for PoliciesPerUser: 10')
    }
    user.attached.add(arn)
    return undefined
  },

  DetachUserPolicy(state: IamState, input: iam.DetachUserPolicyRequest): undefined {
    if (!state.user(input.UserName!).attached.delete(input.PolicyArn!)) {
      throw new AwsError('NoSuchEntity', `Policy ${input.PolicyArn} was not attached.`)
    }
    return undefined
  },

  ListAttachedUserPolicies(
    state: IamState,
    input: iam.ListAttachedUserPoliciesRequest,
  ): iam.ListAttachedUserPoliciesResponse {
    const attached = [...state.user(input.UserName!).attached].sort()
    const { items, ...rest } = page(attached, input, state.pageSizeMax)
    return {
      AttachedPolicies: items.map((arn) => ({
        PolicyName: state.policy(arn).name,
        PolicyArn: arn,
      })),
      ...rest,
    }
  },
} satisfies Readonly<Record<string, Action>>

/** The user an action means: the one named, else the caller; an account's root has no user. */
export function named(
  state: IamState,
  userName: string | undefined,
  caller: string | null,
): IamUser {
  const name = userName ?? caller
  if (name === null || name === undefined) {
    throw new AwsError(
      'ValidationError',
      'Must specify userName when calling with non-User credentials',
    )
  }
  return state.user(name)
}

function keyOf(
  state: IamState,
  input: { readonly UserName?: string | undefined; readonly AccessKeyId: string | undefined },
  caller: string | null,
): AccessKey {
  const user = named(state, input.UserName, caller)
  const key = state.keys.get(input.AccessKeyId!)
  if (!key || key.deletedAt !== null || key.userId !== user.userId) {
    throw new AwsError(
      'NoSuchEntity',
      `The Access Key with id ${input.AccessKeyId} cannot be found.`,
    )
  }
  return key
}

/** What still hangs on a user, in the words of the DeleteConflict; null when it may go. */
function remains(state: IamState, user: IamUser): string | null {
  if (state.keysOf(user).length > 0) return 'delete access keys'
  if (user.inline.size > 0) return 'delete policies'
  if (user.attached.size > 0) return 'detach all policies'
  if (user.groups.size > 0) return 'remove user from all groups'
  if (user.loginProfile) return 'delete login profile'
  if (user.mfaDevices.size > 0) return 'delete MFA device'
  if (user.certificates.size > 0) return 'delete signing certificates'
  if (user.sshKeys.size > 0) return 'delete SSH public keys'
  if (user.serviceCredentials.size > 0) return 'delete service specific credentials'
  return null
}

export function shown(state: IamState, user: IamUser): iam.User {
  return {
    Path: user.path,
    UserName: user.name,
    UserId: user.userId,
    Arn: state.arnOf('user', user.path, user.name),
    CreateDate: new Date(user.createdAt),
    ...(user.boundary === null
      ? {}
      : {
          PermissionsBoundary: {
            PermissionsBoundaryType: 'PermissionsBoundaryPolicy',
            PermissionsBoundaryArn: user.boundary,
          },
        }),
    ...(user.tags.size === 0
      ? {}
      : { Tags: [...user.tags].map(([Key, Value]) => ({ Key, Value })) }),
  }
}

function shownPolicy(state: IamState, policy: ManagedPolicy): iam.Policy {
  const holders = [...state.users.values(), ...state.roles.values()]
  return {
    PolicyName: policy.name,
    PolicyId: policy.id,
    Arn: policy.arn,
    Path: policy.path,
    DefaultVersionId: 'v1',
    AttachmentCount: holders.filter((h) => h.attached.has(policy.arn)).length,
    PermissionsBoundaryUsageCount: holders.filter((h) => h.boundary === policy.arn).length,
    IsAttachable: true,
    CreateDate: new Date(policy.createdAt),
    UpdateDate: new Date(policy.createdAt),
  }
}

function noInlinePolicy(name: string): AwsError {
  return new AwsError('NoSuchEntity', `The user policy with name ${name} cannot be found.`)
}
