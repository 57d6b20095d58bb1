import type { Call } from '../../src/provider/contract.ts'
import { refuse } from './errors.ts'
import type { Role } from './roles.ts'
import { databasesOf, endSessions, ident, loginOf, loginsOf, rolesOf } from './roles.ts'
import type { PostgresServer, Query } from './server.ts'

/** Switches a login off or on; off ends its sessions too, for they would live on. */
export async function setLogin(
  server: PostgresServer,
  key: string,
  on: boolean,
  call: Call,
): Promise<void> {
  const what = `switching ${key} ${on ? 'on' : 'off'}`
  const role = await server.write(call, what, async (query) => {
    const found = await loginOf(query, key)
    if (found) await query(`alter role ${ident(found.name)} ${on ? 'login' : 'nologin'}`)
    return found
  })
  if (!role && on) throw refuse('notFound', `Role ${key} no longer exists; issue a new one.`)
  if (role && !on) await end(server, role, call)
}

/**
 * Lets no login of the account in any more, whichever of them were on: their number of sessions is
 * limited to none, which leaves LOGIN as it was.
 */
export async function lockOut(
  server: PostgresServer,
  account: string,
  off: boolean,
  call: Call,
): Promise<void> {
  const what = `${off ? 'shutting off' : 'turning on'} ${account}`
  const roles = await server.write(call, what, async (query) => {
    const found = await loginsOf(query, account)
    for (const role of found) {
      if (role.isOff !== off) {
        await query(`alter role ${ident(role.name)} connection limit ${off ? 0 : -1}`)
      }
    }
    return found
  })
  if (off) for (const role of roles) await end(server, role, call)
}

/**
 * Drops a role for good. What it owns goes to its group, or to the heir when it is the group:
 * nothing is ever dropped with it. Each step can be repeated where the last run stopped.
 */
export async function dropRole(
  server: PostgresServer,
  role: Role,
  heir: string,
  call: Call,
): Promise<void> {
  const { name, oid, mark } = role
  if (mark.key !== null) {
    await server.write(call, `switching ${name} off`, (query) =>
      query(`alter role ${ident(name)} nologin`),
    )
    await end(server, role, call)
  }
  const databases = await server.read(call, `finding what ${name} owns`, (query) =>
    databasesOf(query, oid),
  )
  const group = mark.key === null ? null : await groupName(server, role, call)
  const to = group ?? heir
  for (const database of databases) {
    await server.writeIn(database, call, `giving away what ${name} owns`, async (query) => {
      for (const side of [name, to]) await join(query, side)
      await query(`reassign owned by ${ident(name)} to ${ident(to)}`)
      // Only its privileges are left by now.
      await query(`drop owned by ${ident(name)}`)
    })
  }
  await server.write(call, `dropping ${name}`, (query) => drop(query, name))
}

async function groupName(server: PostgresServer, role: Role, call: Call): Promise<string | null> {
  const roles = await server.read(call, `finding the group of ${role.name}`, (query) =>
    rolesOf(query, role.mark.credential),
  )
  return roles.find((other) => other.mark.key === null)?.name ?? null
}

/**
 * Giving away asks for the rights of both sides. PostgreSQL 15 gives a role's maker none of them, later
 * versions give them to whoever made it. It ends with the role.
 */
async function join(query: Query, name: string): Promise<void> {
  const [row] = await query<{ readonly has: boolean }>(
    `select pg_has_role(current_user, oid, 'USAGE') as has from pg_roles where rolname = $1`,
    [name],
  )
  if (row?.has === false) await query(`grant ${ident(name)} to current_user`)
}

async function drop(query: Query, name: string): Promise<void> {
  await query(`drop role if exists ${ident(name)}`)
}

async function end(server: PostgresServer, { oid, name }: Role, call: Call): Promise<void> {
  const left = await server.read(call, `ending the sessions of ${name}`, (query) =>
    endSessions(query, oid),
  )
  if (left > 0) {
    throw refuse('unavailable', `${left} sessions of ${name} have not ended yet.`)
  }
}
