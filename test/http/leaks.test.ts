import { readFile, readdir } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, startTestCustody } from '../support/custody.ts'

const foreignTokens = 3

describe('reporting leaked secrets', () => {
  let custody: TestCustody
  let security: { readonly token: string }
  let account: string
  const secrets: Record<string, string> = {}
  const foreign: string[] = []

  const report = (body: unknown, options: Parameters<TestCustody['call']>[3] = security) =>
    custody.call('POST', '/api/v1/leaks', body, options)
  const outcomes = (items: readonly { readonly outcome: string }[]) =>
    items.map(({ outcome }) => outcome)

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    security = { token: (await custody.createClient('security')).token }
    const owner = await custody.createPerson('finder@example.com')
    const files = (name: string) => ({ deliverTo: `files:leak/${name}` })
    const requested = await custody.requestAccount('leaky', owner, {
      credentials: [
        { provider: 'tokens', kind: 'api-token', scopes: ['read'], ...files('token') },
        {
          provider: 'aws-prod',
          kind: 'access-key',
          scopes: ['s3:GetObject on arn:aws:s3:::a/*'],
          ...files('key'),
        },
        {
          provider: 'github-acme',
          kind: 'deploy-key',
          scopes: ['repo:acme/website'],
          ...files('pem'),
        },
      ],
    })
    account = requested.body.id
    for (const name of ['token', 'key', 'pem']) {
      secrets[name] = (await eventually(
        () => custody.secretAt(`leak/${name}`),
        (found) => found !== null,
      ))!
    }
    await eventually(
      async () => (await custody.call('GET', `/api/v1/accounts/${account}`)).body.status,
      (status) => status === 'active',
    )
    for (let n = 0; n < foreignTokens; n++) {
      const { people } = custody.github!.world
      foreign.push(people.addToken({ owner: 'ada', name: `t${n}`, prefix: 'ghp' }).token.text)
    }
    secrets['client'] = (await custody.createClient('auditor')).token
  })
  afterAll(() => custody.close())

  it('is refused to whoever may not, and to a body that is none, without repeating it', async () => {
    const requester = { token: (await custody.createClient('requester')).token }
    const secret = foreign[0]!

    expect((await report({ credentials: [secret] }, requester)).status).toBe(403)
    for (const body of [
      { [secret]: true },
      { credentials: secret },
      { credentials: [] },
      { credentials: Array.from({ length: 1_001 }, () => secret) },
      { credentials: [{ secret }] },
      [secret],
    ]) {
      const { status, text } = await report(body)
      expect(status).toBe(400)
      expect(text).not.toContain(secret)
    }
  })

  it('says what could be ended elsewhere, and leaves it until told to', async () => {
    const { status, body } = await report({ credentials: [foreign[0], 'just a word'] })

    expect(status).toBe(202)
    expect(outcomes(body.items)).toEqual(['needsConfirmation', 'unknown'])
    expect(body.items[0]).toMatchObject({ index: 0, provider: 'github-acme', credential: null })
    expect(custody.github!.requests.filter((r) => r.includes('/credentials/revoke'))).toEqual([])
  })

  it('revokes keys of ours by secret, id or fingerprint, ends our own tokens, and hands on the rest', async () => {
    const wrongSecret = `${secrets['client']!.slice(0, 17)}${'0'.repeat(49)}`
    const found = {
      credentials: [
        secrets['token'],
        `found in a log: ${JSON.parse(secrets['key']!).accessKeyId} and more`,
        secrets['pem'],
        secrets['client'],
        wrongSecret,
        foreign[0],
        secrets['token'],
      ],
      source: `a gist, with ${foreign[1]}`,
      revokeForeign: true,
    }
    const once = { ...security, headers: { 'idempotency-key': 'leak-1' } }
    const { body } = await report(found, once)

    expect(
      body.items.map((i: { kind: string; outcome: string }) => `${i.kind} ${i.outcome}`),
    ).toEqual([
      'api-token revoking',
      'access-key revoking',
      'deploy-key revoking',
      'client-token ended',
      'null unknown',
      'null submitted',
      'api-token revoking',
    ])
    expect(body.items[6].operation).toBe(body.items[0].operation)
    expect((await custody.introspect(secrets['token']!)).active).toBe(false)
    expect(
      (await custody.call('GET', '/api/v1/clients', undefined, { token: secrets['client']! }))
        .status,
    ).toBe(401)
    const { people } = custody.github!.world
    expect(people.tokens.map(({ revokedAt }) => revokedAt !== null)).toEqual([true, false, false])
    const { credentials } = (
      await eventually(
        () => custody.call('GET', `/api/v1/accounts/${account}`),
        (reply) => reply.body.credentials.every((c: { status: string }) => c.status === 'revoked'),
      )
    ).body
    expect(credentials).toHaveLength(3)

    // One with the same key is answered as before; a new one finds it all ended.
    const { headers } = await report(found, once)
    expect(headers.get('idempotency-replayed')).toBe('true')
    const again = await report({ credentials: [secrets['token'], secrets['client']] })
    expect(outcomes(again.body.items)).toEqual(['alreadyEnded', 'alreadyEnded'])
  })

  it('is a command, whose exit code tells how far it came', async () => {
    const run = async (args: readonly string[], stdin: string) => {
      const out: string[] = []
      const code = await main(['leak', 'report', '-', '--server', custody.url, ...args], {
        env: { CUSTODY_TOKEN: security.token, NO_COLOR: '1' },
        cwd: custody.home,
        stdout: (text) => out.push(text),
        stderr: (text) => out.push(text),
        columns: null,
        isInteractive: false,
        ask: () => Promise.reject(new Error('nobody is there')),
        stdin: () => Promise.resolve(stdin),
      })
      return { code, out: out.join('') }
    }

    expect(await run([], '\n \n')).toMatchObject({ code: 2 })
    expect(await run([], 'nothing-known')).toMatchObject({ code: 3 })
    expect(await run([], foreign[1]!)).toMatchObject({ code: 7 })
    expect(await run(['--revoke-foreign'], foreign[1]!)).toMatchObject({ code: 2 })
    const done = await run(
      ['--revoke-foreign', '--yes', '--json'],
      `${secrets['pem']}${foreign[1]}`,
    )
    expect(done.code).toBe(0)
    expect(outcomes(JSON.parse(done.out))).toEqual(['alreadyEnded', 'submitted'])
    expect(await run([], `${secrets['token']}\nnothing`)).toMatchObject({ code: 6 })
    for (let n = 0; n < 60; n++) custody.github!.world.people.spendAnonymous()
    const refused = await run(['--revoke-foreign', '--yes'], foreign[2]!)
    expect(refused.code).toBe(8)
    expect(refused.out).toContain('60 an hour')
    expect(refused.out).not.toContain(foreign[2]!)
  })

  it('leaves nothing of the texts in database, log or audit', async () => {
    const pem = secrets['pem']!.split('\n')[2]!
    const texts = [secrets['token']!, secrets['client']!, pem, ...foreign]
    const { store } = custody.running.engine.life
    const audit = await store.read.audit('default' as never, { after: null, limit: 1_000 })
    const actions = audit.map(({ action }) => action)
    expect(actions).toContain('leak.reported')
    expect(actions).toContain('leak.submitted')
    expect(actions).toContain('leak.notSubmitted')
    expect(actions).toContain('client.tokenRevoked')
    const places: [string, string][] = [
      ['the audit', JSON.stringify(audit)],
      ['the log', custody.log.join('\n')],
    ]
    for (const file of (await readdir(custody.home)).filter((f) => f.startsWith('custody.db'))) {
      places.push([file, (await readFile(path.join(custody.home, file))).toString('latin1')])
    }
    expect(places.length).toBeGreaterThan(2)
    for (const [where, content] of places) {
      for (const [n, text] of texts.entries()) {
        expect(content.includes(text), `text ${n} stands in ${where}`).toBe(false)
      }
    }
  })
})
