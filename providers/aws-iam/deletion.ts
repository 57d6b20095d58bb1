import type { IAM, User } from '@aws-sdk/client-iam'
import type { Call } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import { removeMfaDevices } from './mfa.ts'

interface Asked {
  readonly UserName: string
  readonly Marker?: string
}

interface Page {
  readonly IsTruncated?: boolean | undefined
  readonly Marker?: string | undefined
}

interface Options {
  readonly abortSignal: AbortSignal
}

type Step = (client: IAM, user: User, options: Options) => Promise<void>

/**
 * Takes away whatever blocks DeleteUser and then the user. IAM has no cascade: twelve kinds of things
 * must go by hand (README.md). Each step lists what is left, so a repeat goes on where the last run
 * stopped. Every key is inactive before the first is deleted; the inline policies, custody-shut-off
 * among them, go last: a half-done deletion leaves nothing that could act.
 * @param user as GetUser shows it, tags included
 */
export async function deleteUser(client: IAM, user: User, call: Call): Promise<void> {
  const options = { abortSignal: call.signal }
  for (const step of steps) await step(client, user, options)
  await unlessGone(client.deleteUser({ UserName: user.UserName }, options))
}

const steps: readonly Step[] = [
  async (client, { UserName }, o) => {
    const keys = await listed(
      UserName!,
      (input) => client.listAccessKeys(input, o),
      (page) => page.AccessKeyMetadata,
    )
    for (const { AccessKeyId, Status } of keys) {
      if (Status === 'Inactive') continue
      const switched = { UserName, AccessKeyId, Status: 'Inactive' } as const
      await unlessGone(client.updateAccessKey(switched, o))
    }
    for (const { AccessKeyId } of keys) {
      await unlessGone(client.deleteAccessKey({ UserName, AccessKeyId }, o))
    }
  },
  async (client, { UserName }, o) => {
    await unlessGone(client.deleteLoginProfile({ UserName }, o))
  },
  async (client, user, o) => {
    const devices = await listed(
      user.UserName!,
      (input) => client.listMFADevices(input, o),
      (page) => page.MFADevices,
    )
    const serials = devices.map((device) => device.SerialNumber!)
    await removeMfaDevices(client, user, serials, o)
  },
  each(
    (client, input, o) => client.listSigningCertificates(input, o),
    (page) => page.Certificates,
    (client, UserName, { CertificateId }, o) =>
      client.deleteSigningCertificate({ UserName, CertificateId }, o),
  ),
  each(
    (client, input, o) => client.listSSHPublicKeys(input, o),
    (page) => page.SSHPublicKeys,
    (client, UserName, { SSHPublicKeyId }, o) =>
      client.deleteSSHPublicKey({ UserName, SSHPublicKeyId }, o),
  ),
  each(
    (client, input, o) => client.listServiceSpecificCredentials(input, o),
    (page) => page.ServiceSpecificCredentials,
    (client, UserName, { ServiceSpecificCredentialId }, o) =>
      client.deleteServiceSpecificCredential({ UserName, ServiceSpecificCredentialId }, o),
  ),
  each(
    (client, input, o) => client.listGroupsForUser(input, o),
    (page) => page.Groups,
    (client, UserName, { GroupName }, o) => client.removeUserFromGroup({ UserName, GroupName }, o),
  ),
  each(
    (client, input, o) => client.listAttachedUserPolicies(input, o),
    (page) => page.AttachedPolicies,
    (client, UserName, { PolicyArn }, o) => client.detachUserPolicy({ UserName, PolicyArn }, o),
  ),
  each(
    (client, input, o) => client.listUserPolicies(input, o),
    (page) => page.PolicyNames,
    (client, UserName, PolicyName, o) => client.deleteUserPolicy({ UserName, PolicyName }, o),
  ),
]

/** Lists everything before it removes anything: markers are positions, and removing shifts them. */
function each<P extends Page, T>(
  list: (client: IAM, input: Asked, options: Options) => Promise<P>,
  itemsOf: (page: P) => readonly T[] | undefined,
  remove: (client: IAM, userName: string, item: T, options: Options) => Promise<unknown>,
): Step {
  return async (client, { UserName }, options) => {
    const items = await listed(UserName!, (input) => list(client, input, options), itemsOf)
    for (const item of items) await unlessGone(remove(client, UserName!, item, options))
  }
}

/** Every page; nothing for a user that is gone. */
async function listed<P extends Page, T>(
  UserName: string,
  list: (input: Asked) => Promise<P>,
  itemsOf: (page: P) => readonly T[] | undefined,
): Promise<readonly T[]> {
  const items: T[] = []
  let marker: string | undefined
  do {
    const page = await unlessGone(
      list({ UserName, ...(marker === undefined ? {} : { Marker: marker }) }),
    )
    if (page === null) break
    items.push(...(itemsOf(page) ?? []))
    marker = page.IsTruncated ? page.Marker : undefined
  } while (marker !== undefined)
  return items
}
