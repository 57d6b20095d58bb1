import type { IAM } from '@aws-sdk/client-iam'
import type { Call } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'

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

type Step = (client: IAM, user: string, options: Options) => Promise<void>

/**
 * Takes away whatever blocks DeleteUser and then the user. IAM has no cascade: nine kinds of things
 * must go by hand. Each step lists what is left, so a repeat goes on where the last run stopped.
 * Keys go first and are inactive before they are deleted; the inline policies, custody-shut-off
 * among them, go last: a half-done deletion leaves nothing that could act.
 */
export async function deleteUser(client: IAM, userName: string, call: Call): Promise<void> {
  const options = { abortSignal: call.signal }
  for (const step of steps) await step(client, userName, options)
  await unlessGone(client.deleteUser({ UserName: userName }, options))
}

const steps: readonly Step[] = [
  each(
    (client, input, o) => client.listAccessKeys(input, o),
    (page) => page.AccessKeyMetadata,
    async (client, UserName, { AccessKeyId }, o) => {
      const key = { UserName, AccessKeyId }
      await unlessGone(client.updateAccessKey({ ...key, Status: 'Inactive' }, o))
      await unlessGone(client.deleteAccessKey(key, o))
    },
  ),
  async (client, UserName, o) => {
    await unlessGone(client.deleteLoginProfile({ UserName }, o))
  },
  each(
    (client, input, o) => client.listMFADevices(input, o),
    (page) => page.MFADevices,
    async (client, UserName, { SerialNumber }, o) => {
      await unlessGone(client.deactivateMFADevice({ UserName, SerialNumber }, o))
      // Only virtual devices have an ARN as serial number; hardware is not ours to delete.
      if (!SerialNumber?.startsWith('arn:')) return
      await unlessGone(client.deleteVirtualMFADevice({ SerialNumber }, o))
    },
  ),
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
  return async (client, UserName, options) => {
    const items: T[] = []
    let marker: string | undefined
    do {
      const input = { UserName, ...(marker === undefined ? {} : { Marker: marker }) }
      const page = await unlessGone(list(client, input, options))
      if (page === null) return
      items.push(...(itemsOf(page) ?? []))
      marker = page.IsTruncated ? page.Marker : undefined
    } while (marker !== undefined)
    for (const item of items) await unlessGone(remove(client, UserName, item, options))
  }
}
