import type { Call } from '../../src/provider/contract.ts'
import type { GithubClient } from './client.ts'
import type { Attempt } from './errors.ts'
import { refusal } from './refusals.ts'

/** What GitHub says of the installation; asked with the App's own JWT, so it works while suspended. */
export interface InstallationState {
  readonly suspended: boolean
  readonly permissions: Readonly<Record<string, string | undefined>>
  readonly selection: string
}

/** @throws ProviderError `denied` when the App or its installation is not there any more */
export async function readInstallation(
  client: GithubClient,
  call: Call,
): Promise<InstallationState> {
  const id = client.installationId
  const attempt = { request: `GET /app/installations/${id}`, writes: false }
  const { data } = await client.asApp(attempt, call, (octokit, options) =>
    octokit.rest.apps.getInstallation({ installation_id: id, ...options }),
  )
  return {
    suspended: data.suspended_at !== null && data.suspended_at !== undefined,
    permissions: data.permissions,
    selection: data.repository_selection,
  }
}

/**
 * Refuses work that the installation cannot carry before anything is made for it: a suspended one
 * lists fine and fails only at the first write.
 * @param needs `administration: 'write'`
 */
export function assertUsable(
  state: InstallationState,
  needs: Readonly<Record<string, string>>,
  id: number,
): void {
  if (state.suspended) {
    throw refusal(
      'denied',
      `Installation ${id} is suspended; resume it with "custody provider resume", or unsuspend it in the organisation settings.`,
    )
  }
  for (const [name, level] of Object.entries(needs)) {
    if (grants(state, name, level)) continue
    const { [name]: granted = 'none' } = state.permissions
    throw refusal(
      'denied',
      `Installation ${id} grants ${name}=${granted} and needs ${name}=${level}; grant it in the App's settings and accept it in the organisation.`,
    )
  }
}

const levels: readonly string[] = ['read', 'write', 'admin']

export function grants(state: InstallationState, name: string, level: string): boolean {
  // Every installation may read metadata, whether it says so or not.
  if (name === 'metadata') return true
  return levels.indexOf(state.permissions[name] ?? '') >= levels.indexOf(level)
}

/**
 * Stops every token of the installation, Custody's own included, until it is resumed; deploy keys
 * go on working. Already suspended is success.
 */
export async function suspendInstallation(client: GithubClient, call: Call): Promise<void> {
  const id = client.installationId
  if ((await readInstallation(client, call)).suspended) return
  const attempt: Attempt = {
    request: `PUT /app/installations/${id}/suspended`,
    writes: true,
    ends: true,
  }
  await client.asApp(attempt, call, (octokit, options) =>
    octokit.rest.apps.suspendInstallation({ installation_id: id, ...options }),
  )
}

/** Takes `suspendInstallation` back: tokens that have not ended by then work again. */
export async function resumeInstallation(client: GithubClient, call: Call): Promise<void> {
  const id = client.installationId
  if (!(await readInstallation(client, call)).suspended) return
  const attempt = { request: `DELETE /app/installations/${id}/suspended`, writes: true }
  await client.asApp(attempt, call, (octokit, options) =>
    octokit.rest.apps.unsuspendInstallation({ installation_id: id, ...options }),
  )
}
