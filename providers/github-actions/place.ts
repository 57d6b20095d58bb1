import { ProviderError } from '../../src/provider/contract.ts'
import type { Permissions } from '../github/errors.ts'

/** Where a secret lies: in a repository, in one of its environments, or in an organisation. */
export interface Place {
  /** The secret's name, in upper case as GitHub stores it. */
  readonly name: string
  /** A route of Octokit's, up to and with `secrets`, with `params` for it. */
  readonly route: string
  readonly params: Readonly<Record<string, string>>
  /** One word per place whose secrets share a public key. */
  readonly id: string
  readonly isOrganization: boolean
  readonly needs: Permissions
  /** What consumers are told: `github-actions://acme/app/NAME`. */
  readonly ref: string
}

const grammar =
  'a path is ORGANISATION/NAME, OWNER/REPOSITORY/NAME or OWNER/REPOSITORY/environments/ENVIRONMENT/NAME'

/** Names leave room for the marks that stand beside them. */
const nameMax = 100

/** @throws ProviderError `invalid` for a path that names no Actions secret */
export function placeOf(path: string): Place {
  const parts = path.split('/')
  const [owner = '', repo = '', environments, environment = ''] = parts
  const name = (parts.at(-1) ?? '').toUpperCase()
  if (parts.includes('')) throw wrong(`${grammar}; "${path}" has an empty part`)
  if (!/^[A-Z_][A-Z0-9_]*$/.test(name) || name.startsWith('GITHUB_') || name.length > nameMax) {
    throw wrong(
      `"${name}" is no name for an Actions secret: letters, digits and underscores, at most ${nameMax}, neither a digit nor GITHUB_ in front`,
    )
  }
  const common = { name, ref: `github-actions://${[...parts.slice(0, -1), name].join('/')}` }
  const id = parts.slice(0, -1).join('/').toLowerCase()
  switch (parts.length) {
    case 2:
      return {
        ...common,
        id,
        route: '/orgs/{org}/actions/secrets',
        params: { org: owner },
        isOrganization: true,
        needs: { organization_secrets: 'write' },
      }
    case 3:
      return {
        ...common,
        id,
        route: '/repos/{owner}/{repo}/actions/secrets',
        params: { owner, repo },
        isOrganization: false,
        needs: { secrets: 'write' },
      }
    case 5:
      if (environments !== 'environments') break
      return {
        ...common,
        id,
        route: '/repos/{owner}/{repo}/environments/{environment_name}/secrets',
        params: { owner, repo, environment_name: environment },
        isOrganization: false,
        needs: { environments: 'write' },
      }
  }
  throw wrong(`${grammar}; "${path}" is neither`)
}

function wrong(sentence: string): ProviderError {
  return new ProviderError('invalid', `${sentence[0]!.toUpperCase()}${sentence.slice(1)}.`, {
    outcome: 'notApplied',
  })
}
