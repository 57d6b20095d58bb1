import type { WantedCredential } from '../../src/provider/contract.ts'

/** A repository by its present name. */
export interface Place {
  readonly owner: string
  readonly repo: string
}

/** `<repository id>#<key id>`: stays the same when the repository is renamed or moved. */
export interface KeyId {
  readonly repositoryId: number
  readonly id: number
}

export interface DeployKeyScope extends Place {
  readonly readOnly: boolean
}

export interface ScopeRefusal {
  readonly scope: string
  readonly reason: string
}

// GitHub: logins have letters, digits and single inner hyphens; names add `.` and `_`.
const repositoryName = /^([A-Za-z0-9](?:-?[A-Za-z0-9]){0,38})\/([A-Za-z0-9._-]{1,100})$/

/** Reads `<owner>/<name>`; null for what GitHub would not accept as one. */
export function readRepository(text: string): Place | null {
  const m = repositoryName.exec(text)
  return m && m[2] !== '.' && m[2] !== '..' ? { owner: m[1]!, repo: m[2]! } : null
}

/** Reads `repo:<owner>/<name>` and the optional `write`; a refusal names the scope and why. */
export function parseScopes(scopes: readonly string[]): DeployKeyScope | ScopeRefusal {
  const repos = scopes.filter((scope) => scope.startsWith('repo:'))
  const other = scopes.find((scope) => !scope.startsWith('repo:') && scope !== 'write')
  if (other !== undefined) {
    return { scope: other, reason: 'a deploy key knows "repo:<owner>/<name>" and "write" only.' }
  }
  if (repos.length !== 1) {
    return {
      scope: repos[1] ?? scopes[0] ?? '',
      reason: 'a deploy key opens exactly one repository; name it as "repo:<owner>/<name>".',
    }
  }
  const place = readRepository(repos[0]!.slice('repo:'.length))
  if (!place) {
    return { scope: repos[0]!, reason: 'this is no repository; write "repo:<owner>/<name>".' }
  }
  if (scopes.length !== new Set(scopes).size) {
    return { scope: 'write', reason: 'it is given twice.' }
  }
  return { ...place, readOnly: !scopes.includes('write') }
}

/** What every key of an account is titled with: how `list` tells ours from all others. */
export function accountPrefix(account: string): string {
  return `custody/${account}/`
}

/** @returns the account a title names; null for one that is not Custody's */
export function accountOfTitle(title: string): string | null {
  return /^custody\/([^/]+)\//.exec(title)?.[1] ?? null
}

/** The title up to the operation, which may differ between attempts. */
export function titlePrefix(want: WantedCredential): string {
  return `${accountPrefix(want.account)}${want.credential}/g${want.generation}/`
}

export function writeKeyId(key: KeyId): string {
  return `${key.repositoryId}#${key.id}`
}

/** @returns null for a text that is no deploy key's id */
export function readKeyId(text: string): KeyId | null {
  const m = /^(\d+)#(\d+)$/.exec(text)
  return m && { repositoryId: Number(m[1]), id: Number(m[2]) }
}

/** What a principal stands for, as `external` keeps it. */
export interface PrincipalNote {
  readonly account: string
  /** Ids of what was found and adopted: nothing at GitHub could be marked as the account's. */
  readonly adopted: readonly string[]
  /** False until something was made for it: then only what was adopted has to be looked for. */
  readonly issues: boolean
}

export function writePrincipal(
  installation: number,
  account: string,
  adopted: readonly string[] = [],
  issues = true,
): string {
  return JSON.stringify({
    installation,
    account,
    ...(adopted.length > 0 ? { adopted: [...new Set(adopted)].sort(), issues } : {}),
  })
}

/** The principal of an account that adopts one thing more. */
export function writeAdopting(
  installation: number,
  want: { readonly account: string; readonly external?: string | null },
  keyId: string,
): string {
  const known = want.external == null ? null : readNote(want.external)
  const adopted = [...(known?.adopted ?? []), keyId]
  return writePrincipal(installation, want.account, adopted, known?.issues ?? false)
}

/** @returns null for a text that is no principal of this provider */
export function readNote(external: string): PrincipalNote | null {
  try {
    const { account, adopted, issues } = JSON.parse(external) as Readonly<Record<string, unknown>>
    if (typeof account !== 'string' || account === '') return null
    const ids = Array.isArray(adopted) ? adopted.filter((id) => typeof id === 'string') : []
    return { account, adopted: ids, issues: ids.length === 0 || issues === true }
  } catch {
    return null
  }
}

/** @returns the account id; null for a text that is no principal of this provider */
export function readPrincipal(external: string): string | null {
  return readNote(external)?.account ?? null
}

export function adoptedOf(external: string): readonly string[] {
  return readNote(external)?.adopted ?? []
}
