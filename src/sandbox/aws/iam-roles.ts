import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { Action } from './iam.ts'
import type { IamRole, IamState } from './iam-state.ts'
import { setTags, trustAt, wellFormed } from './iam-state.ts'
import { parseTrust } from './trust-policy.ts'

const attachedPoliciesPerRoleMax = 10
const inlineCharactersMax = 10_240
const trustCharactersMax = 2_048

/** The rules of IAM for roles: trust, policies, boundary, instance profiles. */
export const roleActions = {
  CreateRole(state: IamState, input: iam.CreateRoleRequest): iam.CreateRoleResponse {
    const name = input.RoleName!
    const path = input.Path ?? '/'
    state.checkName(name, 64)
    state.checkPath(path)
    const taken = [...state.roles.keys()].some((n) => n.toLowerCase() === name.toLowerCase())
    if (taken) throw new AwsError('EntityAlreadyExists', `Role with name ${name} already exists.`)
    const boundary = input.PermissionsBoundary ?? null
    if (boundary !== null) state.policy(boundary)
    const role: IamRole = {
      name,
      path,
      roleId: state.newId('AROA'),
      createdAt: state.now(),
      deletedAt: null,
      description: input.Description,
      maxSessionSeconds: sessionSeconds(input.MaxSessionDuration),
      trust: [{ at: state.now(), value: checkedTrust(state, input.AssumeRolePolicyDocument!) }],
      tags: new Map(),
      inline: new Map(),
      attached: new Set(),
      boundary,
      instanceProfiles: new Set(),
      lastUsed: null,
    }
    setTags(role, input.Tags ?? [])
    state.roles.set(name, role)
    return { Role: shownRole(state, role) }
  },

  GetRole(state: IamState, input: iam.GetRoleRequest): iam.GetRoleResponse {
    return { Role: shownRole(state, state.role(input.RoleName!)) }
  },

  ListRoles(state: IamState, input: iam.ListRolesRequest): iam.ListRolesResponse {
    const prefix = input.PathPrefix ?? '/'
    const seenAt = state.now() - state.lagSeconds * 1_000
    const roles = [...state.roles.values(), ...state.goneRoles]
      .filter((role) => role.path.startsWith(prefix) && trustAt(role, seenAt) !== null)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
    const { items, ...rest } = page(roles, input, state.pageSizeMax)
    return {
      // As of users, a listing shows neither tags nor boundary nor last use: GetRole does.
      Roles: items.map((role) => {
        const {
          Tags: _tags,
          PermissionsBoundary: _boundary,
          RoleLastUsed: _used,
          ...listed
        } = shownRole(state, role)
        return {
          ...listed,
          AssumeRolePolicyDocument: encodeURIComponent(trustAt(role, seenAt)!),
        }
      }),
      ...rest,
    }
  },

  UpdateRole(state: IamState, input: iam.UpdateRoleRequest): iam.UpdateRoleResponse {
    const role = state.role(input.RoleName!)
    if (input.Description !== undefined) role.description = input.Description
    if (input.MaxSessionDuration !== undefined) {
      role.maxSessionSeconds = sessionSeconds(input.MaxSessionDuration)
    }
    return {}
  },

  UpdateAssumeRolePolicy(state: IamState, input: iam.UpdateAssumeRolePolicyRequest): undefined {
    const role = state.role(input.RoleName!)
    const value = checkedTrust(state, input.PolicyDocument!)
    if (role.trust.at(-1)!.value !== value) role.trust.push({ at: state.now(), value })
    return undefined
  },

  DeleteRole(state: IamState, input: iam.DeleteRoleRequest): undefined {
    const role = state.role(input.RoleName!)
    const left = remains(role)
    if (left !== null) {
      throw new AwsError('DeleteConflict', `Cannot delete entity, must ${left} first.`)
    }
    role.deletedAt = state.now()
    state.roles.delete(role.name)
    state.goneRoles.push(role)
    return undefined
  },

  TagRole(state: IamState, input: iam.TagRoleRequest): undefined {
    setTags(state.role(input.RoleName!), input.Tags ?? [])
    return undefined
  },

  UntagRole(state: IamState, input: iam.UntagRoleRequest): undefined {
    const role = state.role(input.RoleName!)
    for (const key of input.TagKeys ?? []) role.tags.delete(key)
    return undefined
  },

  ListRoleTags(state: IamState, input: iam.ListRoleTagsRequest): iam.ListRoleTagsResponse {
    const tags = [...state.role(input.RoleName!).tags].map(([Key, Value]) => ({ Key, Value }))
    const { items, ...rest } = page(tags, input, state.pageSizeMax)
    return { Tags: items, ...rest }
  },

  PutRolePermissionsBoundary(
    state: IamState,
    input: iam.PutRolePermissionsBoundaryRequest,
  ): undefined {
    state.role(input.RoleName!).boundary = state.policy(input.PermissionsBoundary!).arn
    return undefined
  },

  DeleteRolePermissionsBoundary(
    state: IamState,
    input: iam.DeleteRolePermissionsBoundaryRequest,
  ): undefined {
    const role = state.role(input.RoleName!)
    if (role.boundary === null) {
      throw new AwsError('NoSuchEntity', `Role ${role.name} has no permissions boundary.`)
    }
    role.boundary = null
    return undefined
  },

  PutRolePolicy(state: IamState, input: iam.PutRolePolicyRequest): undefined {
    const role = state.role(input.RoleName!)
    state.checkName(input.PolicyName!, 128)
    state.parse(input.PolicyDocument!)
    const after = new Map(role.inline).set(input.PolicyName!, input.PolicyDocument!)
    if ([...after.values()].join('').replaceAll(/\s/g, '').length > inlineCharactersMax) {
      throw new AwsError(
        'LimitExceeded',
        `Maximum policy size of ${inlineCharactersMax} bytes exceeded for role ${role.name}`,
      )
    }
    role.inline.set(input.PolicyName!, input.PolicyDocument!)
    return undefined
  },

  GetRolePolicy(state: IamState, input: iam.GetRolePolicyRequest): iam.GetRolePolicyResponse {
    const role = state.role(input.RoleName!)
    const document = role.inline.get(input.PolicyName!)
    if (document === undefined) throw noInlinePolicy(input.PolicyName!)
    return {
      RoleName: role.name,
      PolicyName: input.PolicyName,
      PolicyDocument: encodeURIComponent(document),
    }
  },

  DeleteRolePolicy(state: IamState, input: iam.DeleteRolePolicyRequest): undefined {
    const role = state.role(input.RoleName!)
    if (!role.inline.delete(input.PolicyName!)) throw noInlinePolicy(input.PolicyName!)
    return undefined
  },

  ListRolePolicies(
    state: IamState,
    input: iam.ListRolePoliciesRequest,
  ): iam.ListRolePoliciesResponse {
    const names = [...state.role(input.RoleName!).inline.keys()].sort()
    const { items, ...rest } = page(names, input, state.pageSizeMax)
    return { PolicyNames: items, ...rest }
  },

  AttachRolePolicy(state: IamState, input: iam.AttachRolePolicyRequest): undefined {
    const role = state.role(input.RoleName!)
    const { arn } = state.policy(input.PolicyArn!)
    if (!role.attached.has(arn) && role.attached.size >= attachedPoliciesPerRoleMax) {
      throw new AwsError('LimitExceeded', 'Cannot exceed quota for PoliciesPerRole: 10')
    }
    role.attached.add(arn)
    return undefined
  },

  DetachRolePolicy(state: IamState, input: iam.DetachRolePolicyRequest): undefined {
    if (!state.role(input.RoleName!).attached.delete(input.PolicyArn!)) {
      throw new AwsError('NoSuchEntity', `Policy ${input.PolicyArn} was not attached.`)
    }
    return undefined
  },

  ListAttachedRolePolicies(
    state: IamState,
    input: iam.ListAttachedRolePoliciesRequest,
  ): iam.ListAttachedRolePoliciesResponse {
    const attached = [...state.role(input.RoleName!).attached].sort()
    const { items, ...rest } = page(attached, input, state.pageSizeMax)
    return {
      AttachedPolicies: items.map((arn) => ({
        PolicyName: state.policy(arn).name,
        PolicyArn: arn,
      })),
      ...rest,
    }
  },

  CreateInstanceProfile(
    state: IamState,
    input: iam.CreateInstanceProfileRequest,
  ): iam.CreateInstanceProfileResponse {
    const name = input.InstanceProfileName!
    state.checkName(name, 128)
    if (state.instanceProfiles.has(name)) {
      throw new AwsError('EntityAlreadyExists', `Instance Profile ${name} already exists.`)
    }
    const made = { id: state.newId('AIPA'), createdAt: state.now(), detail: input.Path ?? '/' }
    state.instanceProfiles.set(name, made)
    return { InstanceProfile: shownProfile(state, name) }
  },

  AddRoleToInstanceProfile(state: IamState, input: iam.AddRoleToInstanceProfileRequest): undefined {
    const name = profileName(state, input.InstanceProfileName)
    if (rolesIn(state, name).length > 0) {
      throw new AwsError(
        'LimitExceeded',
        'Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1',
      )
    }
    state.role(input.RoleName!).instanceProfiles.add(name)
    return undefined
  },

  RemoveRoleFromInstanceProfile(
    state: IamState,
    input: iam.RemoveRoleFromInstanceProfileRequest,
  ): undefined {
    const name = profileName(state, input.InstanceProfileName)
    if (!state.role(input.RoleName!).instanceProfiles.delete(name)) {
      throw new AwsError('NoSuchEntity', `Role ${input.RoleName} is not in profile ${name}.`)
    }
    return undefined
  },

  ListInstanceProfilesForRole(
    state: IamState,
    input: iam.ListInstanceProfilesForRoleRequest,
  ): iam.ListInstanceProfilesForRoleResponse {
    const names = [...state.role(input.RoleName!).instanceProfiles].sort()
    const { items, ...rest } = page(names, input, state.pageSizeMax)
    return { InstanceProfiles: items.map((name) => shownProfile(state, name)), ...rest }
  },
} satisfies Readonly<Record<string, Action>>

/** Also checks that every user and role it trusts exists, as IAM does. */
function checkedTrust(state: IamState, document: string): string {
  const statements = wellFormed(() => parseTrust(document))
  if (document.replaceAll(/\s/g, '').length > trustCharactersMax) {
    throw new AwsError(
      'LimitExceeded',
      `Cannot exceed quota for ACLSizePerRole: ${trustCharactersMax}`,
    )
  }
  const known = new Set(
    [...state.users.values()]
      .map((u) => state.arnOf('user', u.path, u.name))
      .concat([...state.roles.values()].map((r) => state.arnOf('role', r.path, r.name))),
  )
  const own = new RegExp(`^arn:aws:iam::${state.accountId}:(user|role)/`)
  for (const arn of statements.flatMap((s) => s.aws)) {
    if (!own.test(arn) || known.has(arn)) continue
    throw new AwsError('MalformedPolicyDocument', `Invalid principal in policy: "AWS":"${arn}"`)
  }
  return document
}

function sessionSeconds(asked: number | undefined): number {
  const wanted = asked ?? 3_600
  if (wanted < 3_600 || wanted > 43_200) {
    throw new AwsError('ValidationError', 'maxSessionDuration must be between 3600 and 43200.')
  }
  return wanted
}

function remains(role: IamRole): string | null {
  if (role.inline.size > 0) return 'delete policies'
  if (role.attached.size > 0) return 'detach all policies'
  if (role.instanceProfiles.size > 0) return 'remove roles from instance profile'
  return null
}

function rolesIn(state: IamState, profile: string): readonly IamRole[] {
  return [...state.roles.values()].filter((role) => role.instanceProfiles.has(profile))
}

function profileName(state: IamState, name: string | undefined): string {
  if (name !== undefined && state.instanceProfiles.has(name)) return name
  throw new AwsError('NoSuchEntity', `Instance Profile ${name} cannot be found.`)
}

function shownProfile(state: IamState, name: string): iam.InstanceProfile {
  const { id, createdAt, detail } = state.instanceProfiles.get(name)!
  return {
    Path: detail,
    InstanceProfileName: name,
    InstanceProfileId: id,
    Arn: state.arnOf('instance-profile', detail, name),
    CreateDate: new Date(createdAt),
    Roles: rolesIn(state, name).map((role) => shownRole(state, role)),
  }
}

export function shownRole(state: IamState, role: IamRole): iam.Role {
  return {
    Path: role.path,
    RoleName: role.name,
    RoleId: role.roleId,
    Arn: state.arnOf('role', role.path, role.name),
    CreateDate: new Date(role.createdAt),
    AssumeRolePolicyDocument: encodeURIComponent(role.trust.at(-1)!.value),
    MaxSessionDuration: role.maxSessionSeconds,
    RoleLastUsed: role.lastUsed
      ? { LastUsedDate: new Date(role.lastUsed.at), Region: role.lastUsed.region }
      : {},
    ...(role.description === undefined ? {} : { Description: role.description }),
    ...(role.boundary === null
      ? {}
      : {
          PermissionsBoundary: {
            PermissionsBoundaryType: 'PermissionsBoundaryPolicy',
            PermissionsBoundaryArn: role.boundary,
          },
        }),
    ...(role.tags.size === 0
      ? {}
      : { Tags: [...role.tags].map(([Key, Value]) => ({ Key, Value })) }),
  }
}

function noInlinePolicy(name: string): AwsError {
  return new AwsError('NoSuchEntity', `The role policy with name ${name} cannot be found.`)
}
