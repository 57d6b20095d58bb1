import { randomBytes, randomUUID } from 'node:crypto'
import { inspect } from 'node:util'
import { beforeEach, describe, expect, it } from 'vitest'
import { token } from '../../providers/token/index.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { hashToken, parseToken, sameHash } from '../../src/domain/token.ts'
import type {
  Call,
  IssuedToken,
  Provider,
  TokenBook,
  WantedCredential,
} from '../../src/provider/contract.ts'
import { providerConformance } from '../conformance/provider.ts'
import { refusalOf } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

/** The smallest book that keeps the promises of `TokenBook`; the store has the real one. */
class MemoryBook implements TokenBook {
  readonly rows = new Map<string, IssuedToken>()
  readonly #pepper: Secret
  readonly #clock: ManualClock
  accountsOff = new Set<AccountId>()
  broken = false

  constructor(pepper: Secret, clock: ManualClock) {
    this.#pepper = pepper
    this.#clock = clock
  }

  async register(row: IssuedToken): Promise<void> {
    if (this.broken) throw new Error('disk full')
    if (!this.rows.has(row.id)) this.rows.set(row.id, row)
  }

  async find(id: string): Promise<IssuedToken | null> {
    return this.rows.get(id) ?? null
  }

  async setActive(id: string, active: boolean): Promise<void> {
    if (this.broken) throw new Error('disk full')
    const row = this.rows.get(id)
    // As the store does, which knows no write to a row that is not there.
    if (!row) throw new Error('token write refused: missing')
    this.rows.set(id, { ...row, active })
  }

  async setScopes(id: string, scopes: readonly string[]): Promise<void> {
    if (this.broken) throw new Error('disk full')
    const row = this.rows.get(id)
    if (!row) throw new Error('token write refused: missing')
    this.rows.set(id, { ...row, scopes })
  }

  async remove(id: string): Promise<void> {
    if (this.broken) throw new Error('disk full')
    this.rows.delete(id)
  }

  async list(account: AccountId, provider: string): Promise<readonly IssuedToken[]> {
    if (this.broken) throw new Error('disk full')
    return [...this.rows.values()].filter((r) => r.account === account && r.provider === provider)
  }

  async page(provider: string, after: string | null, limit: number) {
    if (this.broken) throw new Error('disk full')
    return [...this.rows.values()]
      .filter((r) => r.provider === provider && r.id > (after ?? ''))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, limit)
  }

  async isAccepted(secret: Secret): Promise<boolean> {
    if (this.broken) throw new Error('disk full')
    const text = secret.use((bytes) => bytes.toString())
    const row = this.rows.get(parseToken(text)?.id ?? '')
    if (!row || !row.active || row.expiresAt <= this.#clock.now()) return false
    if (this.accountsOff.has(row.account)) return false
    return this.#pepper.use((key) => sameHash(row.hash, hashToken(key, text)))
  }
}

const account = randomUUID() as AccountId
let clock: ManualClock
let book: MemoryBook
let provider: Provider

const call: Call = {
  key: randomUUID(),
  operation: null,
  signal: new AbortController().signal,
  fence: () => Promise.resolve(true),
}

function wanted(options: Partial<WantedCredential> = {}): WantedCredential {
  return {
    tenant: defaultTenant,
    account,
    credential: randomUUID() as CredentialId,
    kind: 'api-token',
    generation: 1,
    scopes: ['orders:read'],
    expiresAt: addSeconds(clock.now(), 3_600),
    operation: randomUUID() as OperationId,
    publicPart: null,
    ...options,
  }
}

async function issue(options: Partial<WantedCredential> = {}) {
  const want = wanted(options)
  const prepared = provider.prepare!(want)
  const issued = await provider.issue(account, { ...want, publicPart: prepared.publicPart }, call)
  return { ...issued, want, prepared, token: prepared.secret }
}

const probe = (secret: Secret) => provider.probe(secret, 'api-token', call)

beforeEach(() => {
  clock = new ManualClock()
  const pepper = Secret.ofText('pepper')
  book = new MemoryBook(pepper, clock)
  provider = token.create(
    {
      name: 'tokens',
      clock,
      random: (n) => randomBytes(n),
      resolvePath: (path) => path,
      tokens: book,
      pepper,
    },
    {},
  )
})

describe('the token provider', () => {
  it('issues tokens that the book accepts', async () => {
    const issued = await issue()

    const text = issued.token.use((bytes) => bytes.toString())
    expect(parseToken(text)).toEqual({ prefix: 'csk', id: issued.keyId })
    expect(await probe(issued.token)).toBe('accepted')
    expect(issued.fingerprint).toBe(issued.token.fingerprint())
    expect(issued.expiresAt).toBe(issued.want.expiresAt)
  })

  it('leaves nothing behind from which the token could be rebuilt', async () => {
    const issued = await issue()
    const text = issued.token.use((bytes) => bytes.toString())
    const secretPart = text.split('_')[2]!

    const left = JSON.stringify([issued.prepared, [...book.rows.values()]]) + inspect(issued)

    expect(left).not.toContain(secretPart)
    expect(JSON.parse(issued.prepared.publicPart)).toEqual({
      id: issued.keyId,
      hash: book.rows.get(issued.keyId)!.hash,
      fingerprint: issued.fingerprint,
    })
  })

  it('registers once when issuing is repeated', async () => {
    const { want, prepared, keyId } = await issue()

    const again = await provider.issue(
      account,
      { ...want, publicPart: prepared.publicPart },
      { ...call, key: randomUUID() },
    )

    expect(again.keyId).toBe(keyId)
    expect(book.rows.size).toBe(1)
  })

  it('switches one token off and on again, and no other', async () => {
    const one = await issue()
    const two = await issue()

    await provider.disable(account, one.keyId, call)
    expect([await probe(one.token), await probe(two.token)]).toEqual(['refused', 'accepted'])

    await provider.enable(account, one.keyId, call)
    expect(await probe(one.token)).toBe('accepted')
  })

  it('revokes for good, and gone already is success', async () => {
    const { keyId, token: secret } = await issue()

    await provider.revoke(account, keyId, call)
    await provider.revoke(account, keyId, call)
    await provider.disable(account, keyId, call)

    expect(await probe(secret)).toBe('refused')
  })

  it('cannot switch on what is gone', async () => {
    const { keyId } = await issue()
    await provider.revoke(account, keyId, call)

    expect(await refusalOf(provider.enable(account, keyId, call))).toMatchObject({
      kind: 'notFound',
      outcome: 'notApplied',
    })
  })

  it('leaves shutting off to the account’s row, which keeps what was off before off', async () => {
    const on = await issue()
    const off = await issue()
    await provider.disable(account, off.keyId, call)

    book.accountsOff.add(account)
    await provider.shutOff(account, call)
    expect([await probe(on.token), await probe(off.token)]).toEqual(['refused', 'refused'])

    book.accountsOff.delete(account)
    await provider.turnOn(account, call)
    expect([await probe(on.token), await probe(off.token)]).toEqual(['accepted', 'refused'])
  })

  it('lists the account’s own tokens with their state', async () => {
    const one = await issue()
    await issue({ account: randomUUID() as AccountId })
    await provider.disable(account, one.keyId, call)

    expect(await provider.list(account, call)).toEqual({
      complete: true,
      items: [
        {
          keyId: one.keyId,
          fingerprint: null,
          kind: 'api-token',
          active: false,
          createdAt: clock.now(),
          lastUsedAt: null,
        },
      ],
    })
  })

  it('deletes all tokens of a principal and none of another', async () => {
    await issue()
    await issue()
    const other = await issue({ account: randomUUID() as AccountId })

    await provider.deletePrincipal(account, call)
    await provider.deletePrincipal(account, call)

    expect([...book.rows.keys()]).toEqual([other.keyId])
  })

  it('needs no principal beyond the account', async () => {
    const want = { tenant: defaultTenant, account, userName: 'svc', operation: wanted().operation }

    expect(await provider.ensurePrincipal(want, call)).toEqual({ external: account, created: true })
  })

  it('registers nothing once it was overtaken', async () => {
    const want = wanted()
    const { publicPart } = provider.prepare!(want)
    const overtaken = { ...call, fence: () => Promise.resolve(false) }

    const error = await refusalOf(provider.issue(account, { ...want, publicPart }, overtaken))

    expect(error).toMatchObject({ kind: 'fenced', outcome: 'notApplied' })
    expect(book.rows.size).toBe(0)
  })

  it.each([null, '', '{}', '{"id":"x"}', 'not json'])(
    'issues nothing from %j',
    async (publicPart) => {
      const error = await refusalOf(provider.issue(account, wanted({ publicPart }), call))

      expect(error).toMatchObject({ kind: 'invalid', outcome: 'notApplied' })
    },
  )

  it('tells a failing book as unavailable, with the outcome open for writes', async () => {
    const { keyId, token: secret } = await issue()
    const want = wanted()
    const { publicPart } = provider.prepare!(want)
    book.broken = true

    const writes = [
      provider.issue(account, { ...want, publicPart }, call),
      provider.disable(account, keyId, call),
      provider.revoke(account, keyId, call),
    ]
    const reads = [probe(secret), provider.list(account, call)]

    for (const write of writes) {
      expect(await refusalOf(write)).toMatchObject({ kind: 'unavailable', outcome: 'unknown' })
    }
    for (const read of reads) {
      expect(await refusalOf(read)).toMatchObject({ kind: 'unavailable', outcome: 'notApplied' })
    }
  })
})

describe('scopes of a token', () => {
  it.each([[[]], [['orders:read', 'orders:write']], [['a'.repeat(200)]], [['!#[]~']]])(
    'accepts %j',
    (scopes) => {
      expect(provider.checkScopes('api-token', scopes)).toBeNull()
    },
  )

  it.each(['', 'two words', 'quo"te', 'back\\slash', 'tab\t', 'ümlaut', 'line\n'])(
    'refuses %j',
    (scope) => {
      expect(provider.checkScopes('api-token', ['fine', scope])?.scope).toBe(scope)
    },
  )

  it('are fifty at most', () => {
    const scopes = Array.from({ length: 51 }, (_, n) => `s${n}`)

    expect(provider.checkScopes('api-token', scopes.slice(0, 50))).toBeNull()
    expect(provider.checkScopes('api-token', scopes)).toMatchObject({ scope: 's50' })
    expect(provider.checkScopes('deploy-key', [])).not.toBeNull()
  })
})

providerConformance('tokens', () =>
  Promise.resolve({
    provider,
    kind: 'api-token' as const,
    clock,
    refusedScope: 'a"b',
    dispose: () => Promise.resolve(),
  }),
)
