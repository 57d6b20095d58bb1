import type { CredentialKind } from '../../src/domain/credential.ts'
import { Secret } from '../../src/domain/secret.ts'
import { parseDuration, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  Capabilities,
  CheckReport,
  Drift,
  EnsuredPrincipal,
  ExternalCredential,
  HostContext,
  InventoryPage,
  Issued,
  Listing,
  Prepared,
  ProbeAnswer,
  Released,
  Provider,
  ProviderModule,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { checkServer } from './check.ts'
import { driftsOfLogins, revertLogin } from './drift.ts'
import { refuse } from './errors.ts'
import { dropRole, lockOut, setLogin } from './ending.ts'
import { issueLogin, rescopeGroup } from './issuing.ts'
import type { Role } from './roles.ts'
import { groupsOf, ident, loginName, loginOf, loginPage, loginsOf } from './roles.ts'
import { refusedScope } from './scopes.ts'
import { isVerifier, scramVerifier } from './scram.ts'
import type { Connection } from './server.ts'
import { connectionProperties, PostgresServer } from './server.ts'

interface Config extends Connection {
  readonly prefix?: string
  readonly allowedRoles?: readonly string[]
  readonly heir?: string
  readonly settle?: string
}

/**
 * PostgreSQL roles that may log in. One credential is one role without login that holds its grants,
 * and below it one login per generation, which PostgreSQL itself ends at `VALID UNTIL`. The password
 * is made here and only its SCRAM verifier leaves, so that issuing is idempotent by it.
 * PostgreSQL 15 to 18.
 */
export const postgres: ProviderModule = {
  type: 'postgres',
  role: 'provider',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['host', 'user'],
    // Of the two at most one.
    not: { required: ['password', 'passwordFile'] },
    properties: {
      ...connectionProperties,
      // With the longest suffix it stays within the 63 bytes of a name.
      prefix: { type: 'string', pattern: '^[a-z_][a-z0-9_]{0,15}$' },
      allowedRoles: {
        type: 'array',
        uniqueItems: true,
        items: { type: 'string', minLength: 1, maxLength: 63 },
      },
      heir: { type: 'string', minLength: 1, maxLength: 63 },
      settle: { type: 'string', format: 'duration' },
    },
  },
  create: (host, config) => new PostgresLogins(host, config as unknown as Config),
}

/** A page is compared and committed at once; see the inventory of `token`. */
const inventoryPageSize = 100

class PostgresLogins implements Provider {
  readonly name: string
  readonly type = postgres.type
  readonly capabilities: Capabilities
  readonly #host: HostContext
  readonly #server: PostgresServer
  readonly #prefix: string
  readonly #allowedRoles: readonly string[]
  readonly #heir: string

  constructor(host: HostContext, config: Config) {
    this.name = host.name
    this.#host = host
    this.#server = new PostgresServer(host, config)
    this.#prefix = config.prefix ?? 'custody_'
    this.#allowedRoles = config.allowedRoles ?? []
    this.#heir = config.heir ?? config.user
    // A standby that answers reads lags; one server does not.
    const settle = parseDuration(config.settle ?? 'PT0S') ?? seconds(0)
    this.capabilities = {
      password: {
        canCreate: true,
        canRevoke: true,
        canList: true,
        maxLive: null,
        canDisable: true,
        canRescope: 'inPlace',
        canProbe: true,
        canLastUsed: true,
        lastUsedLag: seconds(0),
        mint: 'client',
        lease: null,
        keepsSecret: false,
        settleMin: seconds(0),
        settleMax: settle,
        quota: null,
        probe: { count: 1, every: seconds(0) },
        cannot: [
          'Know of sessions that are over: a login counts as used while a session of it is open.',
          'Keep a role name: each generation has a login of its own, so consumers read the user name with the password.',
          'Judge a server that asks for no password (trust): `provider check` says so.',
        ],
      },
    }
  }

  checkScopes(kind: CredentialKind, scopes: readonly string[]) {
    if (kind !== 'password') return { scope: '', reason: `kind "${kind}" is not issued here.` }
    return refusedScope(scopes, this.#allowedRoles)
  }

  /** Makes nothing: roles belong to a credential. Signs in, so that a wrong password shows first. */
  async ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    await this.#server.read(call, 'signing in', (query) => query('select 1'))
    // True because all that is ever listed for it bears the account's id.
    return { external: want.account, created: true }
  }

  prepare(want: WantedCredential): Prepared {
    // 256 bits; base64url is printable ASCII, so no connection string needs it escaped.
    const password = Buffer.from(Buffer.from(this.#host.random(32)).toString('base64url'))
    const verifier = scramVerifier(password, this.#host.random(16))
    const { host, port, database } = this.#server.place
    const username = loginName(this.#prefix, want)
    const secret = Secret.ofText(
      JSON.stringify({
        engine: 'postgres',
        host,
        port,
        dbname: database,
        username,
        password: password.toString(),
      }),
    )
    password.fill(0)
    const fingerprint = secret.fingerprint()
    return { secret, publicPart: JSON.stringify({ verifier, fingerprint }), fingerprint }
  }

  async issue(_principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    const refused = this.checkScopes(want.kind, want.scopes)
    if (refused) throw refuse('invalid', `Scope "${refused.scope}" is refused: ${refused.reason}`)
    const { verifier, fingerprint } = readPublicPart(want.publicPart)
    const terms = {
      prefix: this.#prefix,
      allowedRoles: this.#allowedRoles,
      now: this.#host.clock.now(),
      verifier,
    }
    const keyId = await issueLogin(this.#server, terms, want, call)
    return { keyId, secret: null, fingerprint, expiresAt: want.expiresAt }
  }

  async rescope(_principal: string, want: WantedScopes, call: Call): Promise<void> {
    const refused = this.checkScopes(want.kind, want.scopes)
    if (refused) throw refuse('invalid', `Scope "${refused.scope}" is refused: ${refused.reason}`)
    await rescopeGroup(this.#server, { allowedRoles: this.#allowedRoles }, want, call)
  }

  driftOf(_principal: string, want: readonly WantedScopes[], call: Call): Promise<Listing<Drift>> {
    return driftsOfLogins(this.#server, this.#allowedRoles, want, call)
  }

  revertDrift(
    _principal: string,
    want: readonly WantedScopes[],
    drift: Drift,
    call: Call,
  ): Promise<readonly string[]> {
    return revertLogin(this.#server, want, drift, call)
  }

  async disable(_principal: string, keyId: string, call: Call): Promise<void> {
    await setLogin(this.#server, keyId, false, call)
  }

  async enable(_principal: string, keyId: string, call: Call): Promise<void> {
    await setLogin(this.#server, keyId, true, call)
  }

  async revoke(_principal: string, keyId: string, call: Call): Promise<void> {
    const role = await this.#server.read(call, `finding ${keyId}`, (query) => loginOf(query, keyId))
    if (role) await dropRole(this.#server, role, this.#heir, call)
  }

  async shutOff(principal: string, call: Call): Promise<void> {
    await lockOut(this.#server, principal, true, call)
  }

  async turnOn(principal: string, call: Call): Promise<void> {
    await lockOut(this.#server, principal, false, call)
  }

  async probe(secret: Secret, _kind: CredentialKind, call: Call): Promise<ProbeAnswer> {
    const login = secret.use(readLogin)
    if (login === null) throw refuse('invalid', 'The secret is not one of a PostgreSQL login.')
    return this.#server.tryLogin(login, call)
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const roles = await this.#server.read(call, 'listing the logins', (query) =>
      loginsOf(query, principal),
    )
    return { items: roles.map((role) => this.#listed(role)), complete: true }
  }

  async inventory(from: string | null, call: Call): Promise<InventoryPage> {
    const { roles, next } = await this.#server.read(call, 'taking its inventory', (query) =>
      loginPage(query, { prefix: this.#prefix, from, limit: inventoryPageSize }),
    )
    const entries = roles.flatMap((role) => {
      const { lastUsedAt: _, ...key } = this.#listed(role)
      const { account } = role.mark
      return [{ external: account, name: role.name, account, createdAt: null, keys: [key] }]
    })
    return { entries, next, complete: true }
  }

  /** `VALID UNTIL` stays: to lift it would be a change of a key. */
  async release(principal: string, call: Call): Promise<Released> {
    return this.#server.write(call, 'handing the roles back', async (query) => {
      const roles = [...(await loginsOf(query, principal)), ...(await groupsOf(query, principal))]
      for (const { name } of roles) await query(`comment on role ${ident(name)} is null`)
      return {
        removed: roles.map(({ name }) => `comment of role ${name}`),
        stays: ['The roles and their grants.', 'VALID UNTIL of the logins: the server ends them.'],
      }
    })
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const [logins, groups] = await this.#server.read(call, 'listing the roles', async (query) => [
      await loginsOf(query, principal),
      await groupsOf(query, principal),
    ])
    for (const role of [...logins, ...groups]) {
      await dropRole(this.#server, role, this.#heir, call)
    }
  }

  check(call: Call): Promise<CheckReport> {
    return checkServer(
      this.#server,
      { allowedRoles: this.#allowedRoles, heir: this.#heir },
      this.#host.clock,
      call,
    )
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  #listed({ mark, canLogin, isOff, isOver, sessions }: Role): ExternalCredential {
    return {
      keyId: mark.key!,
      // Of the password PostgreSQL keeps a verifier that only a superuser may read.
      fingerprint: null,
      kind: 'password',
      active: canLogin && !isOff && !isOver,
      createdAt: mark.madeAt,
      lastUsedAt: sessions > 0 ? this.#host.clock.now() : null,
      operation: mark.operation,
    }
  }
}

/** What `prepare` leaves for `issue`. */
interface PublicPart {
  readonly verifier: string
  readonly fingerprint: string
}

function readPublicPart(text: string | null): PublicPart {
  try {
    const part = JSON.parse(text ?? '') as Partial<PublicPart>
    if (isVerifier(part.verifier ?? '') && part.fingerprint) return part as PublicPart
  } catch {
    // Falls through to the same refusal.
  }
  throw refuse('invalid', 'A login is issued from a verifier that was prepared before.')
}

function readLogin(bytes: Buffer): { readonly user: string; readonly password: string } | null {
  try {
    const login = JSON.parse(bytes.toString('utf8')) as Readonly<Record<string, unknown>>
    const { username: user, password } = login
    return typeof user === 'string' && typeof password === 'string' ? { user, password } : null
  } catch {
    return null
  }
}
