import type { Clock } from '../../src/domain/time.ts'
import type { Call, CheckFinding, CheckReport } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { ident } from './roles.ts'
import type { PostgresServer, Query } from './server.ts'

interface Terms {
  readonly allowedRoles: readonly string[]
  readonly heir: string
}

const oldestVersion = 150_000
const skewSecondsMax = 30

/** Tries what the provider was configured with; changes nothing. */
export async function checkServer(
  server: PostgresServer,
  terms: Terms,
  clock: Clock,
  call: Call,
): Promise<CheckReport> {
  const findings: CheckFinding[] = []
  try {
    await server.read(call, 'signing in', async (query) => {
      findings.push(finding('credentials', true, `Signed in as ${server.user}.`))
      findings.push(await version(query), await clockOf(query, clock), await mayCreate(query))
      for (const role of terms.allowedRoles) findings.push(await mayGrant(query, role))
      findings.push(await mayEndSessions(query), await inherits(query, terms.heir))
    })
    findings.push(await asksForPasswords(server, call))
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    const remedy = 'Check host, port, user and password of the provider, and that the server runs.'
    findings.push(finding('credentials', false, error.message, remedy))
  }
  return { findings, leastPolicy: leastPolicy(server.user, terms) }
}

async function version(query: Query): Promise<CheckFinding> {
  const [row] = await query<{ readonly v: number; readonly name: string }>(
    `select current_setting('server_version_num')::int as v, current_setting('server_version') as name`,
  )
  const message = `PostgreSQL ${row!.name}.`
  return finding('version', row!.v >= oldestVersion, message, 'PostgreSQL 15 or later is needed.')
}

async function clockOf(query: Query, clock: Clock): Promise<CheckFinding> {
  const [row] = await query<{ readonly at: string }>('select extract(epoch from now())::text as at')
  const skew = Math.round(Number(row!.at) - Date.parse(clock.now()) / 1_000)
  const message = `Its clock is ${Math.abs(skew)} s ${skew < 0 ? 'behind' : 'ahead of'} Custody's.`
  const remedy = 'Synchronise both clocks: VALID UNTIL goes by the clock of the server.'
  return finding('clock', Math.abs(skew) <= skewSecondsMax, message, remedy)
}

async function mayCreate(query: Query): Promise<CheckFinding> {
  const [row] = await query<{ readonly may: boolean; readonly name: string }>(
    `select rolsuper or rolcreaterole as may, rolname as name
      from pg_roles where rolname = current_user`,
  )
  const name = ident(row!.name)
  const message = row!.may ? 'May create roles.' : 'May not create roles.'
  return finding('createrole', row!.may, message, `alter role ${name} createrole;`)
}

async function mayGrant(query: Query, role: string): Promise<CheckFinding> {
  const at = `role:${role}`
  const rows = await query<{ readonly me: string; readonly may: boolean; readonly super: boolean }>(
    `select current_user as me, r.rolsuper or r.rolcreaterole as super,
        (select rolsuper from pg_roles where rolname = current_user)
          or pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION')
          or (current_setting('server_version_num')::int < 160000
            and (select rolcreaterole from pg_roles where rolname = current_user)) as may
      from pg_roles r where r.rolname = $1`,
    [role],
  )
  const [row] = rows
  if (!row) return finding(at, false, `There is no role ${role}.`, `create role ${ident(role)};`)
  if (row.super) {
    const remedy = 'Take it off allowedRoles: whoever holds it can give themselves anything.'
    return finding(at, false, `${role} is a superuser or may create roles.`, remedy)
  }
  const message = row.may ? `May grant ${role}.` : `May not grant ${role}.`
  return finding(
    at,
    row.may,
    message,
    `grant ${ident(role)} to ${ident(row.me)} with admin option;`,
  )
}

async function mayEndSessions(query: Query): Promise<CheckFinding> {
  const [row] = await query<{ readonly name: string; readonly may: boolean }>(
    `select current_user as name, (select rolsuper from pg_roles where rolname = current_user)
      or pg_has_role(current_user, 'pg_signal_backend', 'USAGE') as may`,
  )
  const message = row!.may ? 'May end sessions.' : 'May not end sessions of every login.'
  return finding('sessions', row!.may, message, `grant pg_signal_backend to ${ident(row!.name)};`)
}

async function inherits(query: Query, heir: string): Promise<CheckFinding> {
  const [row] = await query<{ readonly may: boolean }>(
    `select pg_has_role(current_user, oid, 'USAGE') as may from pg_roles where rolname = $1`,
    [heir],
  )
  const message = row?.may
    ? `${heir} takes over what a login owned.`
    : `${heir} cannot take over what a login owned.`
  return finding('heir', row?.may ?? false, message, 'Name a role that Custody is a member of.')
}

/** A server that lets everybody in proves nothing by refusing nobody. */
async function asksForPasswords(server: PostgresServer, call: Call): Promise<CheckFinding> {
  // A login that does not exist is refused even where no password is asked for: ours exists.
  const wrong = { user: server.user, password: 'custody-check-of-a-wrong-password' }
  const answer = await server.tryLogin(wrong, call)
  const message =
    answer === 'refused' ? 'A wrong password was refused.' : 'A wrong password was let in.'
  const remedy = 'Ask for scram-sha-256 in pg_hba.conf; Custody can prove nothing otherwise.'
  return finding('authentication', answer === 'refused', message, remedy)
}

function finding(
  name: string,
  isOk: boolean,
  message: string,
  remedy: string | null = null,
): CheckFinding {
  return { name, state: isOk ? 'ok' : 'failed', message, remedy: isOk ? null : remedy }
}

function leastPolicy(user: string, { allowedRoles }: Terms): string {
  return [
    `create role ${ident(user)} login createrole password '…';`,
    `grant pg_signal_backend to ${ident(user)};`,
    ...allowedRoles.map((role) => `grant ${ident(role)} to ${ident(user)} with admin option;`),
  ].join('\n')
}
