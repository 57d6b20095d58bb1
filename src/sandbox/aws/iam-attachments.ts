import type * as iam from '@aws-sdk/client-iam'
import { AwsError, page } from './error.ts'
import type { Action } from './iam.ts'
import { named } from './iam.ts'
import type { Attachment, IamState } from './iam-state.ts'

/**
 * The other things that hang on a user and block its deletion: groups, login profile, MFA,
 * signing certificates, SSH keys, service-specific credentials. Only as deep as deletion needs:
 * passwords, codes and certificate bodies are not checked and never kept.
 */
export const attachmentActions = {
  CreateGroup(state: IamState, input: iam.CreateGroupRequest): iam.CreateGroupResponse {
    const name = input.GroupName!
    state.checkName(name, 128)
    if (state.groups.has(name)) throw exists(`Group with name ${name}`)
    const path = input.Path ?? '/'
    const group = { id: state.newId('AGPA'), createdAt: state.now(), detail: path }
    state.groups.set(name, group)
    return { Group: shownGroup(state, name, group) }
  },

  AddUserToGroup(state: IamState, input: iam.AddUserToGroupRequest): undefined {
    if (!state.groups.has(input.GroupName!)) throw missing(`group ${input.GroupName}`)
    state.user(input.UserName!).groups.add(input.GroupName!)
    return undefined
  },

  RemoveUserFromGroup(state: IamState, input: iam.RemoveUserFromGroupRequest): undefined {
    if (!state.groups.has(input.GroupName!)) throw missing(`group ${input.GroupName}`)
    state.user(input.UserName!).groups.delete(input.GroupName!)
    return undefined
  },

  ListGroupsForUser(
    state: IamState,
    input: iam.ListGroupsForUserRequest,
  ): iam.ListGroupsForUserResponse {
    const names = [...state.user(input.UserName!).groups].sort()
    const { items, ...rest } = page(names, input, state.pageSizeMax)
    return { Groups: items.map((n) => shownGroup(state, n, state.groups.get(n)!)), ...rest }
  },

  CreateLoginProfile(
    state: IamState,
    input: iam.CreateLoginProfileRequest,
    caller: string | null,
  ): iam.CreateLoginProfileResponse {
    const user = named(state, input.UserName, caller)
    if (user.loginProfile) throw exists(`Login Profile for user ${user.name}`)
    user.loginProfile = { id: user.name, createdAt: state.now(), detail: '' }
    return { LoginProfile: { UserName: user.name, CreateDate: new Date(state.now()) } }
  },

  GetLoginProfile(
    state: IamState,
    input: iam.GetLoginProfileRequest,
    caller: string | null,
  ): iam.GetLoginProfileResponse {
    const user = named(state, input.UserName, caller)
    if (!user.loginProfile) throw missing(`login profile of ${user.name}`)
    return {
      LoginProfile: { UserName: user.name, CreateDate: new Date(user.loginProfile.createdAt) },
    }
  },

  DeleteLoginProfile(
    state: IamState,
    input: iam.DeleteLoginProfileRequest,
    caller: string | null,
  ): undefined {
    const user = named(state, input.UserName, caller)
    if (!user.loginProfile) throw missing(`login profile of ${user.name}`)
    user.loginProfile = null
    return undefined
  },

  CreateVirtualMFADevice(
    state: IamState,
    input: iam.CreateVirtualMFADeviceRequest,
  ): iam.CreateVirtualMFADeviceResponse {
    const serial = state.arnOf('mfa', input.Path ?? '/', input.VirtualMFADeviceName!)
    if (state.virtualMfaDevices.has(serial)) throw exists(serial)
    state.virtualMfaDevices.set(serial, { id: serial, createdAt: state.now(), detail: '' })
    return { VirtualMFADevice: { SerialNumber: serial } }
  },

  EnableMFADevice(state: IamState, input: iam.EnableMFADeviceRequest): undefined {
    const serial = input.SerialNumber!
    const user = state.user(input.UserName!)
    // Hardware has a number of its maker, security keys an ARN of u2f; neither is made here first.
    const isVirtual = serial.includes(':mfa/')
    if (isVirtual && !state.virtualMfaDevices.has(serial)) throw missing(`MFA device ${serial}`)
    if ([...state.users.values()].some((other) => other.mfaDevices.has(serial))) {
      throw exists(`MFA device ${serial}`)
    }
    user.mfaDevices.set(serial, { id: serial, createdAt: state.now(), detail: '' })
    return undefined
  },

  ListMFADevices(
    state: IamState,
    input: iam.ListMFADevicesRequest,
    caller: string | null,
  ): iam.ListMFADevicesResponse {
    const user = named(state, input.UserName, caller)
    const { items, ...rest } = page([...user.mfaDevices.values()], input, state.pageSizeMax)
    return {
      MFADevices: items.map((device) => ({
        UserName: user.name,
        SerialNumber: device.id,
        EnableDate: new Date(device.createdAt),
      })),
      ...rest,
    }
  },

  DeactivateMFADevice(
    state: IamState,
    input: iam.DeactivateMFADeviceRequest,
    caller: string | null,
  ): undefined {
    remove(named(state, input.UserName, caller).mfaDevices, input.SerialNumber!, 'MFA device')
    return undefined
  },

  DeleteVirtualMFADevice(state: IamState, input: iam.DeleteVirtualMFADeviceRequest): undefined {
    const serial = input.SerialNumber!
    if ([...state.users.values()].some((user) => user.mfaDevices.has(serial))) {
      throw new AwsError('DeleteConflict', 'The MFA device is enabled; deactivate it first.')
    }
    remove(state.virtualMfaDevices, serial, 'MFA device')
    return undefined
  },

  ListVirtualMFADevices(
    state: IamState,
    input: iam.ListVirtualMFADevicesRequest,
  ): iam.ListVirtualMFADevicesResponse {
    const status = input.AssignmentStatus ?? 'Any'
    const users = [...state.users.values()]
    const isAssigned = (serial: string) => users.some((user) => user.mfaDevices.has(serial))
    const serials = [...state.virtualMfaDevices.keys()].filter(
      (serial) => status === 'Any' || isAssigned(serial) === (status === 'Assigned'),
    )
    const { items, ...rest } = page(serials, input, state.pageSizeMax)
    return { VirtualMFADevices: items.map((SerialNumber) => ({ SerialNumber })), ...rest }
  },

  UploadSigningCertificate(
    state: IamState,
    input: iam.UploadSigningCertificateRequest,
    caller: string | null,
  ): iam.UploadSigningCertificateResponse {
    const user = named(state, input.UserName, caller)
    const made = add(state, user.certificates, 'ASCA', input.CertificateBody!)
    return { Certificate: shownCertificate(user.name, made) }
  },

  ListSigningCertificates(
    state: IamState,
    input: iam.ListSigningCertificatesRequest,
    caller: string | null,
  ): iam.ListSigningCertificatesResponse {
    const user = named(state, input.UserName, caller)
    const { items, ...rest } = page([...user.certificates.values()], input, state.pageSizeMax)
    return { Certificates: items.map((c) => shownCertificate(user.name, c)), ...rest }
  },

  DeleteSigningCertificate(
    state: IamState,
    input: iam.DeleteSigningCertificateRequest,
    caller: string | null,
  ): undefined {
    const user = named(state, input.UserName, caller)
    remove(user.certificates, input.CertificateId!, 'certificate')
    return undefined
  },

  UploadSSHPublicKey(
    state: IamState,
    input: iam.UploadSSHPublicKeyRequest,
  ): iam.UploadSSHPublicKeyResponse {
    const user = state.user(input.UserName!)
    const made = add(state, user.sshKeys, 'APKA', input.SSHPublicKeyBody!)
    return {
      SSHPublicKey: {
        UserName: user.name,
        SSHPublicKeyId: made.id,
        Fingerprint: 'none',
        SSHPublicKeyBody: made.detail,
        Status: 'Active',
        UploadDate: new Date(made.createdAt),
      },
    }
  },

  ListSSHPublicKeys(
    state: IamState,
    input: iam.ListSSHPublicKeysRequest,
    caller: string | null,
  ): iam.ListSSHPublicKeysResponse {
    const user = named(state, input.UserName, caller)
    const { items, ...rest } = page([...user.sshKeys.values()], input, state.pageSizeMax)
    return {
      SSHPublicKeys: items.map((key) => ({
        UserName: user.name,
        SSHPublicKeyId: key.id,
        Status: 'Active',
        UploadDate: new Date(key.createdAt),
      })),
      ...rest,
    }
  },

  DeleteSSHPublicKey(state: IamState, input: iam.DeleteSSHPublicKeyRequest): undefined {
    remove(state.user(input.UserName!).sshKeys, input.SSHPublicKeyId!, 'SSH key')
    return undefined
  },

  CreateServiceSpecificCredential(
    state: IamState,
    input: iam.CreateServiceSpecificCredentialRequest,
  ): iam.CreateServiceSpecificCredentialResponse {
    const user = state.user(input.UserName!)
    const made = add(state, user.serviceCredentials, 'ACCA', input.ServiceName!)
    return {
      ServiceSpecificCredential: {
        ...shownServiceCredential(user.name, made),
        ServicePassword: state.newSecret(),
      },
    }
  },

  ListServiceSpecificCredentials(
    state: IamState,
    input: iam.ListServiceSpecificCredentialsRequest,
    caller: string | null,
  ): iam.ListServiceSpecificCredentialsResponse {
    const user = named(state, input.UserName, caller)
    const { items, ...rest } = page([...user.serviceCredentials.values()], input, state.pageSizeMax)
    return {
      ServiceSpecificCredentials: items.map((c) => shownServiceCredential(user.name, c)),
      ...rest,
    }
  },

  DeleteServiceSpecificCredential(
    state: IamState,
    input: iam.DeleteServiceSpecificCredentialRequest,
    caller: string | null,
  ): undefined {
    const user = named(state, input.UserName, caller)
    remove(user.serviceCredentials, input.ServiceSpecificCredentialId!, 'credential')
    return undefined
  },
} satisfies Readonly<Record<string, Action>>

function add(
  state: IamState,
  into: Map<string, Attachment>,
  prefix: string,
  detail: string,
): Attachment {
  const made = { id: state.newId(prefix), createdAt: state.now(), detail }
  into.set(made.id, made)
  return made
}

function remove(from: Map<string, Attachment>, id: string, what: string): void {
  if (!from.delete(id)) throw missing(`${what} ${id}`)
}

function missing(what: string): AwsError {
  return new AwsError('NoSuchEntity', `The ${what} cannot be found.`)
}

function exists(what: string): AwsError {
  return new AwsError('EntityAlreadyExists', `${what} already exists.`)
}

function shownGroup(state: IamState, name: string, group: Attachment): iam.Group {
  return {
    Path: group.detail,
    GroupName: name,
    GroupId: group.id,
    Arn: state.arnOf('group', group.detail, name),
    CreateDate: new Date(group.createdAt),
  }
}

function shownCertificate(userName: string, made: Attachment): iam.SigningCertificate {
  return {
    UserName: userName,
    CertificateId: made.id,
    CertificateBody: made.detail,
    Status: 'Active',
    UploadDate: new Date(made.createdAt),
  }
}

function shownServiceCredential(
  userName: string,
  made: Attachment,
): iam.ServiceSpecificCredentialMetadata {
  return {
    UserName: userName,
    Status: 'Active',
    ServiceUserName: `${userName}-at-sandbox`,
    CreateDate: new Date(made.createdAt),
    ServiceSpecificCredentialId: made.id,
    ServiceName: made.detail,
  }
}
