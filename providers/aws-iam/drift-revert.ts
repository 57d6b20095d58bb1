import type { Role, User } from '@aws-sdk/client-iam'
import type { Call, Drift } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Granted } from './drift.ts'
import { refuse, tagAccount } from './marks.ts'
import { removeMfaDevices } from './mfa.ts'
import { scopesPolicyName, shutOffPolicyName } from './policies.ts'
import { endedPolicyName } from './role-switch.ts'

/** Puts one difference back. @returns what was done, a line each @throws ProviderError `invalid` */
export async function revertOnUser(
  account: AwsAccount,
  user: User,
  granted: Granted,
  { what, name }: Drift,
  call: Call,
): Promise<readonly string[]> {
  const iam = account.iam(call)
  const UserName = user.UserName!
  const o = within(call)
  switch (what) {
    case 'attachedPolicy': {
      const policy = { UserName, PolicyArn: name }
      if (granted.managed.includes(name)) {
        await iam.attachUserPolicy(policy, o)
        return [`attached ${name} to user ${UserName}`]
      }
      await unlessGone(iam.detachUserPolicy(policy, o))
      return [`detached ${name} from user ${UserName}`]
    }
    case 'inlinePolicy': {
      const inline = { UserName, PolicyName: name }
      if (name === shutOffPolicyName) throw notHere(name)
      if (name === scopesPolicyName && granted.document !== null) {
        await iam.putUserPolicy({ ...inline, PolicyDocument: granted.document }, o)
        return [`wrote ${name} of user ${UserName} as it was granted`]
      }
      await unlessGone(iam.deleteUserPolicy(inline, o))
      return [`deleted the inline policy ${name} of user ${UserName}`]
    }
    case 'boundary': {
      const { boundary } = granted
      await iam.putUserPermissionsBoundary({ UserName, PermissionsBoundary: boundary }, o)
      return [`set the boundary of user ${UserName} to ${boundary}`]
    }
    case 'group':
      await unlessGone(iam.removeUserFromGroup({ UserName, GroupName: name }, o))
      return [`removed user ${UserName} from group ${name}`]
    case 'mark': {
      await iam.tagUser({ UserName, Tags: [markOf(granted, name)] }, o)
      return [`tagged user ${UserName} with ${name}`]
    }
    default:
      await closeWay(account, user, { what, name }, call)
      return [`took ${what} ${name} from user ${UserName}`]
  }
}

/** The ways into a user beside its access keys. */
async function closeWay(
  account: AwsAccount,
  user: User,
  { what, name }: Pick<Drift, 'what' | 'name'>,
  call: Call,
): Promise<void> {
  const iam = account.iam(call)
  const UserName = user.UserName!
  const o = within(call)
  switch (what) {
    case 'loginProfile':
      await unlessGone(iam.deleteLoginProfile({ UserName }, o))
      return
    case 'mfaDevice':
      return removeMfaDevices(iam, user, [name], o)
    case 'certificate':
      await unlessGone(iam.deleteSigningCertificate({ UserName, CertificateId: name }, o))
      return
    case 'sshKey':
      await unlessGone(iam.deleteSSHPublicKey({ UserName, SSHPublicKeyId: name }, o))
      return
    case 'serviceCredential': {
      const credential = { UserName, ServiceSpecificCredentialId: name }
      await unlessGone(iam.deleteServiceSpecificCredential(credential, o))
      return
    }
    default:
      throw refuse('invalid', `Nothing is known of how a ${what} of an IAM user is put back.`)
  }
}

/** As `revertOnUser`. */
export async function revertOnRole(
  account: AwsAccount,
  role: Role,
  granted: Granted,
  { what, name }: Drift,
  call: Call,
): Promise<readonly string[]> {
  const iam = account.iam(call)
  const RoleName = role.RoleName!
  const o = within(call)
  switch (what) {
    case 'attachedPolicy': {
      const policy = { RoleName, PolicyArn: name }
      if (granted.managed.includes(name)) {
        await iam.attachRolePolicy(policy, o)
        return [`attached ${name} to role ${RoleName}`]
      }
      await unlessGone(iam.detachRolePolicy(policy, o))
      return [`detached ${name} from role ${RoleName}`]
    }
    case 'inlinePolicy': {
      const inline = { RoleName, PolicyName: name }
      if (name === shutOffPolicyName || name === endedPolicyName) throw notHere(name)
      if (name === scopesPolicyName && granted.document !== null) {
        await iam.putRolePolicy({ ...inline, PolicyDocument: granted.document }, o)
        return [`wrote ${name} of role ${RoleName} as it was granted`]
      }
      await unlessGone(iam.deleteRolePolicy(inline, o))
      return [`deleted the inline policy ${name} of role ${RoleName}`]
    }
    case 'boundary': {
      const { boundary } = granted
      await iam.putRolePermissionsBoundary({ RoleName, PermissionsBoundary: boundary }, o)
      return [`set the boundary of role ${RoleName} to ${boundary}`]
    }
    case 'mark':
      await iam.tagRole({ RoleName, Tags: [markOf(granted, name)] }, o)
      return [`tagged role ${RoleName} with ${name}`]
    case 'trust':
      await iam.updateAssumeRolePolicy({ RoleName, PolicyDocument: granted.trust! }, o)
      return [`wrote the trust of role ${RoleName} as it was granted`]
    default:
      throw refuse('invalid', `Nothing is known of how a ${what} of an IAM role is put back.`)
  }
}

function markOf({ want }: Granted, name: string): { readonly Key: string; readonly Value: string } {
  return { Key: name, Value: name === tagAccount ? want.account : want.tenant }
}

/** Whether it should be there at all depends on the account being on or off. */
function notHere(name: string): Error {
  return refuse(
    'invalid',
    `${name} is written anew by disabling, or enabling, the account: do that.`,
  )
}
