import type { IAM } from '@aws-sdk/client-iam'
import type { Call } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import { within } from './account.ts'

interface Page {
  readonly IsTruncated?: boolean | undefined
  readonly Marker?: string | undefined
}

type Options = ReturnType<typeof within>
type Step = (client: IAM, role: string, options: Options) => Promise<void>

/**
 * Takes away whatever blocks DeleteRole and then the role. Each step lists what is left, so a repeat
 * goes on where the last run stopped. The inline policies go last: among them is the deny that keeps
 * live sessions from acting while their role is taken apart.
 */
export async function deleteRole(client: IAM, RoleName: string, call: Call): Promise<void> {
  for (const step of steps) await step(client, RoleName, within(call))
  await unlessGone(client.deleteRole({ RoleName }, within(call)))
}

const steps: readonly Step[] = [
  each(
    (client, input, o) => client.listInstanceProfilesForRole(input, o),
    (page) => page.InstanceProfiles,
    (client, RoleName, { InstanceProfileName }, o) =>
      client.removeRoleFromInstanceProfile({ RoleName, InstanceProfileName }, o),
  ),
  each(
    (client, input, o) => client.listAttachedRolePolicies(input, o),
    (page) => page.AttachedPolicies,
    (client, RoleName, { PolicyArn }, o) => client.detachRolePolicy({ RoleName, PolicyArn }, o),
  ),
  each(
    (client, input, o) => client.listRolePolicies(input, o),
    (page) => page.PolicyNames,
    (client, RoleName, PolicyName, o) => client.deleteRolePolicy({ RoleName, PolicyName }, o),
  ),
]

/** Lists everything before it removes anything: markers are positions, and removing shifts them. */
function each<P extends Page, T>(
  list: (
    client: IAM,
    input: { readonly RoleName: string; readonly Marker?: string },
    options: Options,
  ) => Promise<P>,
  itemsOf: (page: P) => readonly T[] | undefined,
  remove: (client: IAM, roleName: string, item: T, options: Options) => Promise<unknown>,
): Step {
  return async (client, RoleName, options) => {
    const items: T[] = []
    let marker: string | undefined
    do {
      const input = { RoleName, ...(marker === undefined ? {} : { Marker: marker }) }
      const page = await unlessGone(list(client, input, options))
      if (page === null) return
      items.push(...(itemsOf(page) ?? []))
      marker = page.IsTruncated ? page.Marker : undefined
    } while (marker !== undefined)
    for (const item of items) await unlessGone(remove(client, RoleName, item, options))
  }
}
