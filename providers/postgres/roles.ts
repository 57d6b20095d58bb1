import { escapeIdentifier, escapeLiteral } from 'pg'
import type { Instant } from '../../src/domain/time.ts'
import type { WantedCredential } from '../../src/provider/contract.ts'
import { refuse } from './errors.ts'
import type { Query } from './server.ts'

/** What a role of ours says about itself in its comment: whose it is, whatever it is called now. */
export interface Mark {
  /** The login as it was named when it was made; null for a group. */
  readonly key: string | null
  readonly account: string
  readonly tenant: string
  readonly credential: string
  readonly operation: string
  readonly madeAt: Instant
  /** Tells a repeated call from another one: a digest of what PostgreSQL stores of the password. */
  readonly made: string | null
}

export interface Role {
  readonly oid: number
  /** What it is called now. */
  readonly name: string
  readonly canLogin: boolean
  readonly isOff: boolean
  /** `VALID UNTIL` lies in the past, by the server's clock. */
  readonly isOver: boolean
  readonly sessions: number
  readonly mark: Mark
}

interface Row {
  readonly oid: number
  readonly name: string
  readonly can_login: boolean
  readonly conn_limit: number
  readonly is_over: boolean
  readonly sessions: number
  readonly comment: string
}

const commentPrefix = 'custody '

/** `custody_<32 hex of the credential>`, and `…_g<generation>` for a login: 63 bytes are allowed. */
export function groupName(prefix: string, credential: string): string {
  return `${prefix}${credential.replaceAll('-', '')}`
}

export function loginName(
  prefix: string,
  want: Pick<WantedCredential, 'credential' | 'generation'>,
): string {
  return `${groupName(prefix, want.credential)}_g${want.generation}`
}

export const ident = escapeIdentifier
export const literal = escapeLiteral

export function commentOf(mark: Mark): string {
  return literal(`${commentPrefix}${JSON.stringify(mark)}`)
}

// Sessions of our own probes are no use of a key.
const columns = `r.oid::int8::int as oid, r.rolname as name, r.rolcanlogin as can_login,
  r.rolconnlimit as conn_limit, coalesce(r.rolvaliduntil < now(), false) as is_over,
  d.description as comment,
  (select count(*)::int from pg_stat_activity a
    where a.usesysid = r.oid and a.application_name not like 'custody-probe/%') as sessions`

const marked = `pg_roles r join pg_shdescription d
  on d.objoid = r.oid and d.classoid = 'pg_authid'::regclass and d.description like 'custody {%'`

/**
 * Logins by their first name's prefix: one that was renamed since belongs to the inventory all the
 * same. A role whose mark cannot be read is left out, but counts for where the page ends.
 */
export async function loginPage(
  query: Query,
  of: { readonly prefix: string; readonly from: string | null; readonly limit: number },
): Promise<{ readonly roles: readonly Role[]; readonly next: string | null }> {
  const rows = await rowsWhere(
    query,
    'position($1 in d.description) > 0 and r.rolname collate "C" > $2',
    [`"key":"${of.prefix}`, of.from ?? ''],
    of.limit,
  )
  const next = rows.length < of.limit ? null : rows.at(-1)!.name
  return { roles: rolesIn(rows), next }
}

/** By name. */
function rowsWhere(
  query: Query,
  condition: string,
  values: readonly unknown[],
  limit: number | null = null,
): Promise<readonly Row[]> {
  const text = `select ${columns} from ${marked} where ${condition}
    order by r.rolname collate "C" limit ${limit ?? 'all'}`
  return query<Row>(text, values)
}

function rolesIn(rows: readonly Row[]): readonly Role[] {
  return rows.flatMap((row) => {
    const mark = readMark(row.comment)
    if (mark === null) return []
    const { oid, name, sessions } = row
    return [
      {
        oid,
        name,
        sessions,
        mark,
        canLogin: row.can_login,
        isOff: row.conn_limit === 0,
        isOver: row.is_over,
      },
    ]
  })
}

/** Those whose mark has such a member; sought as text, for a comment may hold anything. */
async function rolesMarked(query: Query, member: keyof Mark, value: string) {
  const part = `${JSON.stringify(member)}:${JSON.stringify(value)}`
  const rows = await rowsWhere(query, 'position($1 in d.description) > 0', [part])
  return rolesIn(rows).filter((role) => role.mark[member] === value)
}

/** The logins of an account, whatever they are called today. */
export async function loginsOf(query: Query, account: string): Promise<readonly Role[]> {
  return (await rolesMarked(query, 'account', account)).filter((role) => role.mark.key !== null)
}

/** The roles of an account that hold its grants; they cannot log in. */
export async function groupsOf(query: Query, account: string): Promise<readonly Role[]> {
  return (await rolesMarked(query, 'account', account)).filter((role) => role.mark.key === null)
}

/**
 * The login of a key.
 * @throws ProviderError `denied` when a role has its name and not its mark
 */
export async function loginOf(query: Query, key: string): Promise<Role | null> {
  const [role] = await rolesMarked(query, 'key', key)
  if (role) return role
  if (!(await exists(query, key))) return null
  throw refuse(
    'denied',
    `Role ${key} has lost the comment that says it is Custody's; nothing was done to it. Drop it by hand, or put the comment back.`,
  )
}

/** All roles of one credential: its group and its logins. */
export function rolesOf(query: Query, credential: string): Promise<readonly Role[]> {
  return rolesMarked(query, 'credential', credential)
}

export async function exists(query: Query, name: string): Promise<boolean> {
  return (await query('select 1 from pg_roles where rolname = $1', [name])).length > 0
}

/** Databases in which anything depends on the role: only there can it be given away. */
export async function databasesOf(query: Query, oid: number): Promise<readonly string[]> {
  const rows = await query<{ readonly name: string }>(
    `select distinct coalesce(db.datname, own.datname) as name
      from pg_shdepend d
      left join pg_database db on db.oid = d.dbid
      left join pg_database own on d.classid = 'pg_database'::regclass and own.oid = d.objid
      where d.refclassid = 'pg_authid'::regclass and d.refobjid = $1
        and coalesce(db.datname, own.datname) is not null
      order by 1`,
    [oid],
  )
  return rows.map((row) => row.name)
}

/** Milliseconds PostgreSQL waits for each session to be gone. */
const sessionEndMilliseconds = 2_000

/** Ends every session of a role; new ones are refused by then. @returns how many are left */
export async function endSessions(query: Query, oid: number): Promise<number> {
  const rows = await query<{ readonly ended: boolean }>(
    'select pg_terminate_backend(pid, $2) as ended from pg_stat_activity where usesysid = $1',
    [oid, sessionEndMilliseconds],
  )
  return rows.filter((row) => !row.ended).length
}

function readMark(comment: string): Mark | null {
  try {
    const mark = JSON.parse(comment.slice(commentPrefix.length)) as Partial<Mark>
    const isMark =
      typeof mark.account === 'string' &&
      typeof mark.tenant === 'string' &&
      typeof mark.credential === 'string'
    return isMark ? (mark as Mark) : null
  } catch {
    return null
  }
}
