import { createHash } from 'node:crypto'
import type { Instant } from '../../src/domain/time.ts'
import type { Call, WantedCredential, WantedScopes } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { refuse } from './errors.ts'
import type { Mark } from './roles.ts'
import {
  commentOf,
  exists,
  groupName,
  ident,
  literal,
  loginName,
  loginOf,
  rolesOf,
} from './roles.ts'
import { namedRole, roleOf } from './scopes.ts'
import type { PostgresServer, Query } from './server.ts'

interface Terms {
  readonly prefix: string
  readonly allowedRoles: readonly string[]
  readonly now: Instant
  readonly verifier: string
}

/**
 * Makes the login of one generation, and the group of the credential when it is the first. Repeating
 * finds the login by its mark. One transaction: a login never exists without its mark and grants.
 * @returns the key id: the login's name
 */
export async function issueLogin(
  server: PostgresServer,
  terms: Terms,
  want: WantedCredential,
  call: Call,
): Promise<string> {
  const key = loginName(terms.prefix, want)
  if (await isMade(server, key, terms, call)) return key
  if (!(await call.fence())) throw refuse('fenced', `Creating ${key}: overtaken before sending.`)
  const made = server.write(call, `creating ${key}`, async (query) => {
    // In PostgreSQL 16 and later, who makes a role may give away what it owns only with these.
    await query(
      `select set_config('createrole_self_grant', 'set, inherit', true)
        from pg_settings where name = 'createrole_self_grant'`,
    )
    const group = await ensureGroup(query, terms, want)
    await grantExactly(query, group, terms, want)
    await createLogin(query, { key, group }, terms, want)
  })
  try {
    await made
  } catch (error) {
    // Somebody was faster, perhaps our own call whose answer was lost: its mark tells.
    const wasThere = error instanceof ProviderError && error.kind === 'conflict'
    if (!wasThere || !(await isMade(server, key, terms, call))) throw error
  }
  return key
}

/** @throws ProviderError `conflict` when the login is there with another password */
async function isMade(
  server: PostgresServer,
  key: string,
  { verifier }: Terms,
  call: Call,
): Promise<boolean> {
  const there = await server.read(call, `finding ${key}`, (query) => loginOf(query, key))
  if (!there || there.mark.made === digestOf(verifier)) return there !== null
  throw refuse('conflict', `Role ${key} exists with another password; issue a new generation.`)
}

async function ensureGroup(query: Query, terms: Terms, want: WantedCredential): Promise<string> {
  const found = (await rolesOf(query, want.credential)).find((role) => role.mark.key === null)
  if (found) return found.name
  const name = groupName(terms.prefix, want.credential)
  if (await exists(query, name)) {
    throw refuse('conflict', `Role ${name} exists and does not say that it is Custody's.`)
  }
  await query(`create role ${ident(name)} nologin`)
  await query(`comment on role ${ident(name)} is ${commentOf(markOf(terms, want, null))}`)
  return name
}

/**
 * Changes what the credential's logins may do, in one transaction; sessions that are open feel it at
 * once, since a grant is looked up when it is used.
 */
export async function rescopeGroup(
  server: PostgresServer,
  { allowedRoles }: Pick<Terms, 'allowedRoles'>,
  want: WantedScopes,
  call: Call,
): Promise<void> {
  await server.write(call, `changing the roles of ${want.keyId}`, async (query) => {
    const group = (await rolesOf(query, want.credential)).find((role) => role.mark.key === null)
    if (!group) {
      throw refuse('notFound', `The group of ${want.keyId} is gone; issue a new generation.`)
    }
    await grantExactly(query, group.name, { allowedRoles, before: want.before ?? [] }, want)
  })
}

/** Grants live on the group, so that both generations of a rotation have the same. */
async function grantExactly(
  query: Query,
  group: string,
  { allowedRoles, before = [] }: Pick<Terms, 'allowedRoles'> & { before?: readonly string[] },
  { scopes }: Pick<WantedCredential, 'scopes'>,
): Promise<void> {
  const held = await query<{ readonly name: string }>(
    `select g.rolname as name from pg_auth_members m
      join pg_roles g on g.oid = m.roleid join pg_roles r on r.oid = m.member
      where r.rolname = $1`,
    [group],
  )
  const now = new Set(held.map((row) => row.name))
  const wanted = new Set(scopes.flatMap((scope) => roleOf(scope, allowedRoles) ?? []))
  for (const role of wanted) {
    if (!now.has(role)) await query(`grant ${ident(role)} to ${ident(group)}`)
  }
  // What somebody else granted by hand is left: only what this configuration grants, or granted when
  // the credential got it, is taken back.
  const granted = before.flatMap((scope) => namedRole(scope) ?? [])
  for (const role of new Set([...allowedRoles, ...granted])) {
    if (now.has(role) && !wanted.has(role)) {
      await query(`revoke ${ident(role)} from ${ident(group)}`)
    }
  }
}

async function createLogin(
  query: Query,
  made: { readonly key: string; readonly group: string },
  terms: Terms,
  want: WantedCredential,
): Promise<void> {
  const { key, group } = made
  await query(
    `create role ${ident(key)} login inherit nosuperuser nocreatedb nocreaterole noreplication
      password ${literal(terms.verifier)} valid until ${literal(want.expiresAt)} in role ${ident(group)}`,
  )
  // Every session acts as the group: what it makes belongs to the group and outlives the login.
  await query(`alter role ${ident(key)} set role to ${ident(group)}`)
  await query(`comment on role ${ident(key)} is ${commentOf(markOf(terms, want, key))}`)
}

function markOf(
  { now, verifier }: Terms,
  { account, tenant, credential, operation }: WantedCredential,
  key: string | null,
): Mark {
  const of = { account, tenant, credential, operation, madeAt: now }
  return { key, ...of, made: key === null ? null : digestOf(verifier) }
}

/** Comments are for every login to read, and a verifier would let its reader pass for the server. */
function digestOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}
