import type { Permissions } from './errors.ts'
import { readRepository, type Place, type ScopeRefusal } from './names.ts'

/** What a token is asked to open, and how far. */
export interface AppTokenScope {
  readonly repositories: readonly Place[]
  readonly permissions: Permissions
}

/**
 * Handed out unless the configuration says otherwise: what reads a repository's work. Whatever can
 * change code, workflows, secrets, people or settings is named by an operator first.
 */
export const permissionsByDefault: readonly string[] = [
  'actions=read',
  'checks=read',
  'contents=read',
  'deployments=read',
  'issues=read',
  'metadata=read',
  'packages=read',
  'pull_requests=read',
  'statuses=read',
]

const levels = ['read', 'write', 'admin'] as const
type Level = (typeof levels)[number]
/** Each costs a request when a token is minted; a token for more is better split by its purpose. */
const repositoriesMax = 50
const permissionText = /^permission:([a-z][a-z_]*)=(read|write|admin)$/

/**
 * Reads `repository:<owner>/<name>` and `permission:<name>=<level>`, at least one of each: without
 * them GitHub mints a token with everything the installation has.
 * @param allowed `contents=write`, which allows `contents=read` too
 * @returns a refusal that names the scope and why
 */
export function parseAppTokenScopes(
  scopes: readonly string[],
  allowed: readonly string[],
): AppTokenScope | ScopeRefusal {
  const repositories: Place[] = []
  const permissions: Record<string, Level> = {}
  for (const scope of scopes) {
    const refuse = (reason: string): ScopeRefusal => ({ scope, reason })
    if (scope.startsWith('repository:')) {
      const place = readRepository(scope.slice('repository:'.length))
      if (!place) return refuse('this is no repository; write "repository:<owner>/<name>".')
      if (repositories.some((r) => same(r.owner, place.owner) && same(r.repo, place.repo))) {
        return refuse('it is given twice.')
      }
      if (repositories[0] && !same(repositories[0].owner, place.owner)) {
        return refuse('a token opens repositories of one owner only; ask for a second credential.')
      }
      repositories.push(place)
    } else {
      const m = permissionText.exec(scope)
      if (!m) {
        return refuse(
          'an app token knows "repository:<owner>/<name>" and "permission:<name>=read" (or "=write") only.',
        )
      }
      const [name, level] = [m[1]!, m[2] as Level]
      if (permissions[name]) return refuse(`permission "${name}" is given twice.`)
      if (!isAllowed(name, level, allowed)) {
        return refuse(
          `this provider hands out ${allowed.join(', ')}; an operator adds others under appToken.permissions.`,
        )
      }
      permissions[name] = level
    }
  }
  if (repositories.length === 0) {
    return {
      scope: scopes[0] ?? '',
      reason:
        'name at least one repository as "repository:<owner>/<name>": without any the token would open all of the installation\'s.',
    }
  }
  if (repositories.length > repositoriesMax) {
    return {
      scope: scopes.at(-1) ?? '',
      reason: `one token opens ${repositoriesMax} repositories at most; split it by purpose.`,
    }
  }
  if (Object.keys(permissions).length === 0) {
    return {
      scope: scopes[0] ?? '',
      reason:
        'name at least one permission as "permission:contents=read": without any the token would have all of the installation\'s.',
    }
  }
  return { repositories, permissions }
}

function isAllowed(name: string, level: Level, allowed: readonly string[]): boolean {
  return levels.slice(levels.indexOf(level)).some((l) => allowed.includes(`${name}=${l}`))
}

/** The first permission that `granted` has beyond `asked`; `metadata=read` comes with every token. */
export function excessOf(granted: Readonly<Record<string, unknown>>, asked: Permissions) {
  const rank = (level: unknown) => levels.indexOf(level as Level)
  const found = Object.entries(granted).find(
    ([name, level]) =>
      !(name === 'metadata' && level === 'read') && rank(level) > rank(asked[name] ?? 'none'),
  )
  return found ? `${found[0]}=${String(found[1])}` : null
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}
