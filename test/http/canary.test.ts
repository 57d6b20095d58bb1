import { readFile, readdir } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Sealed } from '../../src/store/store.ts'
import type { Reply, TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, patchUrn, startTestCustody } from '../support/custody.ts'

/** What must not be found anywhere but where it was delivered: the text itself and how it hides. */
function disguises(secret: string): readonly string[] {
  const bytes = Buffer.from(secret, 'utf8')
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    encodeURIComponent(secret),
  ]
}

describe('a secret', () => {
  let custody: TestCustody
  const secrets = new Map<string, string>()
  const replies: string[] = []
  let owner: string
  let account: string
  let rotated: Reply
  let sealed: readonly Sealed[]
  let sealedAnew: readonly Sealed[]

  const call = async (...args: Parameters<TestCustody['call']>): Promise<Reply> => {
    const reply = await custody.call(...args)
    replies.push(`${args[0]} ${args[1]} ${JSON.stringify([...reply.headers])} ${reply.text}`)
    return reply
  }
  const sealedRows = () => custody.running.engine.life.store.read.allSealed(null, 100)
  const awsSecret = (): string | null => {
    const text = custody.aws!.world.secret('custody/default/canary/key')?.current ?? null
    return text === null
      ? null
      : ((JSON.parse(text) as { secretAccessKey?: string }).secretAccessKey ?? null)
  }
  /** The private half alone: the armour around it is no secret. */
  const pemBody = (pem: string | null): string | null =>
    pem?.split('\n').filter((l) => l && !l.startsWith('-----'))[2] ?? null

  const collect = async (generation: number): Promise<void> => {
    for (const [name, read] of [
      ['secret access key', () => awsSecret()],
      ['token', () => custody.secretAt('canary/token')],
      ['app token', () => custody.secretAt('canary/lease')],
      ['deploy key', async () => pemBody(await custody.secretAt('canary/pem'))],
    ] as const) {
      const known = secrets.get(`${name} ${generation - 1}`) ?? null
      const found = await eventually(
        async () => read(),
        (s) => s !== null && s !== known,
      )
      secrets.set(`${name} ${generation}`, found!)
    }
  }

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    owner = await custody.createPerson('canary@example.com')
    secrets.set('administrator token', custody.adminToken)
    secrets.set('client token', (await custody.createClient('auditor')).token)
    const requested = await call('POST', '/scim/v2/Users', {
      schemas: ['urn:ietf:params:scim:schemas:core:2.0:User', nhiUrn],
      userName: 'canary',
      [nhiUrn]: {
        kind: 'serviceAccount',
        owner: { value: owner },
        purpose: 'canary',
        credentials: [
          {
            provider: 'aws-prod',
            kind: 'access-key',
            scopes: ['s3:GetObject on arn:aws:s3:::a/*'],
            deliverTo: 'aws-secrets:canary/key',
          },
          {
            provider: 'github-acme',
            kind: 'deploy-key',
            scopes: ['repo:acme/website'],
            deliverTo: 'files:canary/pem',
          },
          {
            provider: 'github-acme',
            kind: 'app-token',
            scopes: ['repository:acme/website', 'permission:contents=read'],
            deliverTo: 'files:canary/lease',
          },
          {
            provider: 'tokens',
            kind: 'api-token',
            scopes: ['read'],
            deliverTo: 'files:canary/token',
          },
        ],
      },
    })
    if (requested.status !== 201) throw new Error(requested.text)
    account = requested.body.id
    const credentials = requested.body[nhiUrn].credentials as { value: string }[]
    await collect(1)
    await eventually(
      async () => (await call('GET', `/api/v1/accounts/${account}`)).body.status,
      (s) => s === 'active',
    )
    // A failing call on the way: errors are where secrets leak.
    custody.aws!.faults.arm('PutSecretValue', { kind: 'serverError', effect: false }, 1)
    custody.aws!.faults.arm('CreateAccessKey', { kind: 'lostResponse' }, 1)
    for (const { value } of credentials) await call('POST', `/api/v1/credentials/${value}/rotate`)
    await collect(2)
    const token = secrets.get('token 2')!
    await call('POST', '/oauth2/introspect', { token })
    await call('POST', '/oauth2/introspect', `{"token": "${token}"`)
    await call('GET', `/scim/v2/Users?filter=${encodeURIComponent(`userName eq "${token}"`)}`)
    await call('GET', `/scim/v2/Users/${encodeURIComponent(token)}`, undefined, { token })
    sealed = await sealedRows()
    rotated = await call('POST', '/api/v1/seal/rotate', { reason: 'a backup was lost' })
    sealedAnew = await sealedRows()
    await call('PATCH', `/scim/v2/Users/${owner}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    })
    await eventually(
      async () => (await call('GET', `/api/v1/reports/offboarding/${owner}`)).body.verdict,
      (v) => v === 'complete',
    )
    for (const route of [
      '/scim/v2/Users',
      '/scim/v2/Credentials',
      '/api/v1/accounts',
      `/api/v1/accounts/${account}`,
      '/api/v1/credentials',
      '/api/v1/operations?limit=200',
      '/api/v1/audit?limit=200',
      '/api/v1/clients',
      `/api/v1/owners/${owner}/impact`,
      '/readyz',
      '/scim/v2/ServiceProviderConfig',
    ]) {
      const { status } = await call('GET', route)
      if (status !== 200) throw new Error(`${route}: ${status}`)
    }
  })
  afterAll(() => custody.close())

  it('is there to be found: every kind, both generations, and our own tokens', () => {
    expect([...secrets.keys()].sort()).toEqual([
      'administrator token',
      'app token 1',
      'app token 2',
      'client token',
      'deploy key 1',
      'deploy key 2',
      'secret access key 1',
      'secret access key 2',
      'token 1',
      'token 2',
    ])
    for (const [name, secret] of secrets) expect(secret.length, name).toBeGreaterThan(30)
    expect(new Set(secrets.values()).size).toBe(secrets.size)
  })

  const nowhereIn = (where: string, text: string): void => {
    for (const [name, secret] of secrets) {
      for (const form of disguises(secret)) {
        const at = text.indexOf(form)
        if (at >= 0)
          throw new Error(
            `the ${name} stands in ${where}: …${text.slice(Math.max(0, at - 80), at)}`,
          )
      }
    }
  }

  it('stands in no log line, at trace level', () => {
    expect(custody.log.length).toBeGreaterThan(20)
    nowhereIn('the log', custody.log.join('\n'))
  })

  it('stands in no answer but to the one who asked for it by sending it', () => {
    // A filter or an id that was sent comes back in the sentence about it: that is the client's own text.
    const echoes = replies.filter((r) => !/^GET \/scim\/v2\/Users(\/csk|\?filter)/.test(r))
    expect(echoes.length).toBeGreaterThan(10)
    nowhereIn('an answer', echoes.join('\n'))
  })

  it('stands in no audit row and in no operation', async () => {
    const { store } = custody.running.engine.life
    const tenant = 'default' as never
    const audit = await store.read.audit(tenant, { after: null, limit: 1_000 })
    const operations = await store.read.operations({ tenant, after: null, limit: 1_000 })
    expect(audit.length).toBeGreaterThan(20)
    expect(operations.some((o) => 'mint' in o.memo)).toBe(true)
    nowhereIn('the audit', JSON.stringify(audit))
    nowhereIn('an operation', JSON.stringify(operations))
  })

  it('stands in no byte of the database and its log', async () => {
    const files = (await readdir(custody.home)).filter((f) => f.startsWith('custody.db'))
    expect(files.sort()).toEqual(['custody.db', 'custody.db-shm', 'custody.db-wal'])
    for (const file of files) {
      nowhereIn(file, (await readFile(path.join(custody.home, file))).toString('latin1'))
    }
  })

  it('stands in no file of the home but the sink’s own and the administrator’s token', async () => {
    const files = await readdir(custody.home, { recursive: true, withFileTypes: true })
    const found: string[] = []
    for (const file of files) {
      if (!file.isFile()) continue
      const where = path.join(file.parentPath, file.name)
      const text = (await readFile(where)).toString('latin1')
      if ([...secrets.values()].some((s) => text.includes(s)))
        found.push(path.relative(custody.home, where))
    }
    expect(found.filter((f) => !f.startsWith('secrets/'))).toEqual(['admin-token'])
    expect(found.some((f) => f.startsWith('secrets/'))).toBe(true)
  })

  it('was sealed in the database, wrapped anew under another key, and ended its tokens still', async () => {
    const { read } = custody.running.engine.life.store
    const tokens = ['app token 1', 'app token 2'].map((name) => secrets.get(name)!)
    const truths = custody
      .github!.world.installationTokens()
      .filter(({ token }) => tokens.includes(token))
    const rows = await read.audit('default' as never, {
      action: 'seal.rotated',
      after: null,
      limit: 10,
    })
    const body = (of: readonly Sealed[]) => of.map(({ envelope }) => envelope.split('.')[3])
    const key = (of: readonly Sealed[]) => of.map(({ envelope }) => envelope.split('.')[1])

    expect(sealed).toHaveLength(2)
    expect([rotated.status, rotated.body]).toEqual([200, { wrapped: 2 }])
    expect(body(sealedAnew)).toEqual(body(sealed))
    expect(key(sealedAnew)).not.toEqual(key(sealed))
    expect(truths.map((truth) => truth.revokedAt !== null)).toEqual([true, true])
    expect(rows.map(({ facts }) => facts)).toEqual([{ wrapped: 2, reason: 'a backup was lost' }])
    expect(rows[0]!.actor.type).toBe('client')
  })

  it.each(['directory', 'auditor', 'security'])(
    'is not sealed anew for a client of role %s',
    async (role) => {
      const { token } = await custody.createClient(role)
      const rotate = (body: unknown, options = {}) =>
        custody.call('POST', '/api/v1/seal/rotate', body, options)

      expect((await rotate({ reason: 'x' }, { token })).status).toBe(403)
      expect((await rotate({ reason: 'x' }, { token: null })).status).toBe(401)
      expect((await rotate({})).status).toBe(400)
    },
  )
})
