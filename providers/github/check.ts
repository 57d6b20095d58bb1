import {
  ProviderError,
  type Call,
  type CheckFinding,
  type CheckReport,
} from '../../src/provider/contract.ts'
import { permissionsByDefault } from './app-token-scopes.ts'
import { skewSeconds } from './client.ts'
import { grants, readInstallation, type InstallationState } from './installation.ts'
import type { GithubKind, GithubKit } from './kind.ts'

type Needs = ReadonlyMap<string, { readonly level: string; readonly why: string }>

const levels: readonly string[] = ['read', 'write', 'admin']
/** Of an hour's requests: with less left, a larger sweep would stand still before the hour is over. */
const shareLeftLeast = 0.1

/** Tries the App's key, its installation and each permission that the configuration calls for. */
export async function checkGithub(
  kit: GithubKit,
  kinds: readonly GithubKind[],
  call: Call,
): Promise<CheckReport> {
  const needs = needsOf(kit, kinds)
  const leastPolicy = textOf(needs)
  const findings: CheckFinding[] = []
  const app = await trying('credentials', () => theApp(kit, call))
  findings.push(...app.findings)
  const clock = clockOf(kit)
  if (clock) findings.push(clock)
  if (!app.value) return { findings, leastPolicy }

  const installed = await trying('installation', () => readInstallation(kit.client, call))
  findings.push(...installed.findings)
  const state = installed.value
  if (!state) return { findings, leastPolicy }
  findings.push(installationOf(kit, state))
  const isChosen = kit.config.kinds !== undefined
  for (const [name, need] of needs) findings.push(permissionOf(state, name, need, isChosen))
  if (state.suspended) return { findings, leastPolicy }

  const use = await trying('requests', () => requestsLeft(kit, call))
  findings.push(...(use.value ? [use.value] : use.findings))
  for (const kind of kinds) {
    if (!kind.check) continue
    // Without its permissions a kind can say nothing, and that has been said already.
    if (Object.entries(kind.permissions).some(([name, level]) => !grants(state, name, level))) {
      continue
    }
    const own = await trying(kind.kind, () => kind.check!(call))
    findings.push(...(own.value ?? own.findings))
  }
  return { findings, leastPolicy }
}

/** A failure is a finding in the words of the error; anything but a `ProviderError` is a bug. */
async function trying<T>(
  name: string,
  run: () => Promise<T>,
): Promise<{ readonly value: T | null; readonly findings: readonly CheckFinding[] }> {
  try {
    return { value: await run(), findings: [] }
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    // What may pass says nothing about the configuration.
    const passes = error.kind === 'throttled'
    const remedy = passes
      ? 'Check again later.'
      : 'See the message; docs: providers/github/README.md.'
    const state = passes ? 'unknown' : 'failed'
    return { value: null, findings: [{ name, state, message: error.message, remedy }] }
  }
}

async function theApp(kit: GithubKit, call: Call): Promise<true> {
  const attempt = { request: 'GET /app', writes: false }
  await kit.client.asApp(attempt, call, (octokit, options) =>
    octokit.rest.apps.getAuthenticated({ ...options }),
  )
  return true
}

function clockOf({ client }: GithubKit): CheckFinding | null {
  if (client.skew === null) return null
  const off = Math.round(Math.abs(client.skew))
  const isOff = Math.abs(client.skew) >= skewSeconds
  return {
    name: 'clock',
    state: isOff ? 'failed' : 'ok',
    message: `This machine's clock is ${off} s ${client.skew > 0 ? 'behind' : 'ahead of'} GitHub's.`,
    remedy: isOff ? 'Set the clock by NTP; leases are renewed and ended by it.' : null,
  }
}

function installationOf(kit: GithubKit, state: InstallationState): CheckFinding {
  const id = kit.installationId
  return state.suspended
    ? {
        name: 'installation',
        state: 'failed',
        message: `Installation ${id} is suspended: nothing is issued, and nothing can be revoked.`,
        remedy: `custody provider resume ${kit.host.name} --reason …`,
      }
    : {
        name: 'installation',
        state: 'ok',
        message: `The App signs in; installation ${id} reaches ${state.selection === 'all' ? 'all repositories' : 'selected repositories'}.`,
        remedy: null,
      }
}

function permissionOf(
  state: InstallationState,
  name: string,
  need: { readonly level: string; readonly why: string },
  isChosen: boolean,
): CheckFinding {
  const { [name]: granted = name === 'metadata' ? 'read' : 'none' } = state.permissions
  const isGranted = grants(state, name, need.level)
  return {
    name,
    // Who named no kinds may want just those that the App was granted.
    state: isGranted ? 'ok' : isChosen ? 'failed' : 'unknown',
    message: `${name}=${granted} is granted, ${name}=${need.level} is needed for ${need.why}.`,
    remedy: isGranted
      ? null
      : `Grant ${name}=${need.level} in the App's settings and accept it in the organisation, or name under "kinds" only what is wanted.`,
  }
}

async function requestsLeft(kit: GithubKit, call: Call): Promise<CheckFinding> {
  const attempt = { request: 'GET /installation/repositories', writes: false }
  const { headers, data } = await kit.client.asInstallation(attempt, call, (octokit, options) =>
    octokit.rest.apps.listReposAccessibleToInstallation({ per_page: 1, ...options }),
  )
  const left = Number(headers['x-ratelimit-remaining'])
  const limit = Number(headers['x-ratelimit-limit'])
  const sees = `${data.total_count} repositories are in reach.`
  if (!(limit > 0) || Number.isNaN(left)) {
    return {
      name: 'requests',
      state: 'unknown',
      message: `GitHub does not say how many requests are left. ${sees}`,
      remedy: null,
    }
  }
  const isLow = left < limit * shareLeftLeast
  return {
    name: 'requests',
    state: isLow ? 'failed' : 'ok',
    message: `${left} of ${limit} requests are left this hour. ${sees}`,
    remedy: isLow ? 'See what else uses this App; work waits until the hour is over.' : null,
  }
}

/** What the App must be granted, the highest level of each; by name. */
function needsOf(kit: GithubKit, kinds: readonly GithubKind[]): Needs {
  const needs = new Map<string, { level: string; why: string }>()
  const add = (name: string, level: string, why: string) => {
    const known = needs.get(name)
    const higher = !known || levels.indexOf(level) > levels.indexOf(known.level)
    const whys = known && !known.why.split(', ').includes(why) ? `${known.why}, ${why}` : why
    needs.set(name, { level: higher ? level : known.level, why: whys })
  }
  add('metadata', 'read', 'finding repositories')
  for (const kind of kinds) {
    for (const [name, level] of Object.entries(kind.permissions)) add(name, level, kind.kind)
  }
  const { appToken, people } = kit.config
  // A list written by the operator is meant; of the default each installation grants what it likes.
  if (kinds.some((k) => k.kind === 'app-token') && appToken?.permissions !== undefined) {
    for (const permission of appToken.permissions) {
      const [name, level] = permission.split('=') as [string, string]
      add(name, level, 'app-token')
    }
  }
  if (people?.removeMembership || people?.removeOutsideCollaborator) {
    add('members', 'write', 'people who leave')
  }
  if (people?.revokeGrants) {
    add('organization_personal_access_tokens', 'write', 'people who leave')
  }
  return new Map([...needs].sort(([a], [b]) => (a < b ? -1 : 1)))
}

function textOf(needs: Needs): string {
  const lines = [...needs].map(([name, { level, why }]) => `${name}: ${level}   # ${why}`)
  const besides = `# And whatever app tokens are to hand out, unless named above: ${permissionsByDefault.join(', ')}`
  return [...lines, besides].join('\n')
}
