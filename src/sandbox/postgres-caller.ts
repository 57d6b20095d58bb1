import { Client } from 'pg'
import type { Secret } from '../domain/secret.ts'
import type { PostgresSandbox } from './postgres.ts'

/** A consumer of a PostgreSQL login, as delivered, and what the server itself says about that login. */
export interface PostgresCaller {
  readonly user: string
  signIn(): Promise<'accepted' | 'refused'>
  /** Whether the login may not be used any more; asked of the catalogue. */
  isOff(): Promise<boolean>
  close(): void
}

/** @throws SyntaxError when the secret is no login of a database */
export function postgresCaller(server: PostgresSandbox, secret: Secret): PostgresCaller {
  const login = secret.use((bytes) => JSON.parse(bytes.toString('utf8')) as Record<string, string>)
  const { username: user = '', dbname: database = '' } = login
  let password: string | null = login['password'] ?? ''
  const { host, port } = server
  const connect = async (as: { readonly user: string; readonly password: string }) => {
    const client = new Client({ host, port, database, ...as })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }
  return {
    user,
    async signIn() {
      try {
        await (await connect({ user, password: password ?? '' })).end()
        return 'accepted'
      } catch (error) {
        const { code } = error as { readonly code?: string }
        // Invalid authorisation (28xxx), or more connections than the login may have.
        if (code?.startsWith('28') || code === '53300') return 'refused'
        throw error
      }
    },
    async isOff() {
      const admin = await connect({ user: server.user, password: server.password })
      try {
        const { rows } = await admin.query<{ on: boolean }>(
          `select rolcanlogin and rolconnlimit <> 0 as on from pg_roles where rolname = $1`,
          [user],
        )
        return rows[0]?.on !== true
      } finally {
        await admin.end()
      }
    },
    close: () => {
      password = null
    },
  }
}
