import type { Call, Drift, Listing, WantedScopes } from '../../src/provider/contract.ts'
import { refuse } from './errors.ts'
import type { Role } from './roles.ts'
import { ident, rolesOf } from './roles.ts'
import { namedRole } from './scopes.ts'
import type { PostgresServer, Query } from './server.ts'

interface Attributes {
  readonly name: string
  readonly rolsuper: boolean
  readonly rolcreaterole: boolean
  readonly rolcreatedb: boolean
  readonly rolreplication: boolean
  readonly rolbypassrls: boolean
  readonly rolconnlimit: number
  readonly endless: boolean
  readonly member_of: readonly string[]
}

/** What Custody gives no role, by the column that shows it and the words that take it away. */
const never = [
  ['rolsuper', 'SUPERUSER', 'nosuperuser'],
  ['rolcreaterole', 'CREATEROLE', 'nocreaterole'],
  ['rolcreatedb', 'CREATEDB', 'nocreatedb'],
  ['rolreplication', 'REPLICATION', 'noreplication'],
  ['rolbypassrls', 'BYPASSRLS', 'nobypassrls'],
] as const

/** Logins and groups of credentials as they are, against what was granted. */
export async function driftsOfLogins(
  server: PostgresServer,
  allowedRoles: readonly string[],
  want: readonly WantedScopes[],
  call: Call,
): Promise<Listing<Drift>> {
  const items = await server.read(call, 'comparing grants', async (query) => {
    const found: Drift[] = []
    for (const one of want) found.push(...(await driftsOfOne(query, allowedRoles, one)))
    return found
  })
  return { items, complete: true }
}

async function driftsOfOne(
  query: Query,
  allowedRoles: readonly string[],
  want: WantedScopes,
): Promise<readonly Drift[]> {
  const { login, group } = await ownRoles(query, want)
  const { keyId } = want
  const found: Drift[] = []
  const extra = (what: string, name: string, more: Partial<Drift> = {}): void => {
    found.push({ what, name, keyId, granted: null, actual: name, reach: 'more', ...more })
  }
  for (const role of [login, group]) {
    const now = role && (await attributesOf(query, role))
    if (!now) continue
    for (const [column, attribute] of never) {
      if (now[column]) extra('attribute', `${attribute} of ${now.name}`)
    }
  }
  const heldByLogin = login ? await attributesOf(query, login) : null
  if (heldByLogin) {
    for (const role of heldByLogin.member_of) {
      if (role !== group?.name) extra('membership', `${role} of ${heldByLogin.name}`)
    }
    // None is how an account that is off is kept out: that is Custody's own.
    const { rolconnlimit: limit, endless, name } = heldByLogin
    if (limit > 0) {
      extra('connectionLimit', name, { granted: '-1', actual: String(limit), reach: 'less' })
    }
    if (endless) {
      extra('validUntil', name, { granted: 'a date', actual: 'infinity', reach: 'more' })
    }
  }
  const held = group ? ((await attributesOf(query, group))?.member_of ?? []) : []
  const granted = want.scopes.flatMap((scope) => namedRole(scope) ?? [])
  for (const role of held.filter((one) => !granted.includes(one))) {
    const asScopes = { add: [`role:${role}`], remove: [] }
    extra('grant', role, allowedRoles.includes(role) ? { asScopes } : {})
  }
  for (const role of group ? granted.filter((one) => !held.includes(one)) : []) {
    const asScopes = { add: [], remove: [`role:${role}`] }
    extra('grant', role, { granted: role, actual: null, reach: 'less', asScopes })
  }
  return found
}

/** Puts one difference back. @throws ProviderError `invalid` for an end that was taken away */
export async function revertLogin(
  server: PostgresServer,
  want: readonly WantedScopes[],
  drift: Drift,
  call: Call,
): Promise<readonly string[]> {
  const one = want.find(({ keyId }) => keyId === drift.keyId)
  if (!one) return []
  return server.write(call, `putting back ${drift.what} ${drift.name}`, async (query) => {
    const { login, group } = await ownRoles(query, one)
    const statement = statementFor(drift, login, group)
    if (statement === null) return []
    await query(statement)
    return [statement]
  })
}

function statementFor(
  { what, name, granted }: Drift,
  login: Role | null,
  group: Role | null,
): string | null {
  switch (what) {
    case 'grant':
      if (!group) return null
      return granted === null
        ? `revoke ${ident(name)} from ${ident(group.name)}`
        : `grant ${ident(name)} to ${ident(group.name)}`
    case 'attribute': {
      const [word] = name.split(' of ', 1)
      const role = [login, group].find((r) => r && name === `${word} of ${r.name}`)
      const off = never.find(([, attribute]) => attribute === word)?.[2]
      return role && off ? `alter role ${ident(role.name)} ${off}` : null
    }
    case 'membership': {
      const role = login && name.slice(0, -` of ${login.name}`.length)
      return role ? `revoke ${ident(role)} from ${ident(login.name)}` : null
    }
    case 'connectionLimit':
      return login && `alter role ${ident(login.name)} connection limit -1`
    default:
      throw refuse(
        'invalid',
        `The end of ${name} is set when a login is made: rotate the credential instead.`,
      )
  }
}

async function ownRoles(
  query: Query,
  { credential, keyId }: WantedScopes,
): Promise<{ readonly login: Role | null; readonly group: Role | null }> {
  const roles = await rolesOf(query, credential)
  return {
    login: roles.find((role) => role.mark.key === keyId) ?? null,
    group: roles.find((role) => role.mark.key === null) ?? null,
  }
}

async function attributesOf(query: Query, { oid }: Role): Promise<Attributes | null> {
  const [row] = await query<Attributes>(
    `select r.rolname as name, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolreplication,
      r.rolbypassrls, r.rolconnlimit,
      r.rolcanlogin and (r.rolvaliduntil is null or r.rolvaliduntil = 'infinity') as endless,
      array(select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid
        where m.member = r.oid order by 1) as member_of
      from pg_roles r where r.oid = $1`,
    [oid],
  )
  return row ?? null
}
