import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/host/clock.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import type { Json, TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

/** Answers as whatever stands in front of a provider may: by the host name it is asked under. */
function startStranger(): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>Sign in first</html>')
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

describe('providers over HTTP', () => {
  let custody: TestCustody
  let aws: AwsSandbox
  let stranger: Server
  let home: string
  const tokens: Record<string, string> = {}

  beforeAll(async () => {
    aws = await startAwsSandbox({ clock: systemClock })
    stranger = await startStranger()
    home = await mkdtemp(path.join(tmpdir(), 'custody-providers-'))
    const { port } = stranger.address() as AddressInfo
    const { accessKeyId, secretAccessKey } = aws.world.admin
    const iam = (name: string, endpoint: string, secret = secretAccessKey) => ({
      name,
      type: 'aws-iam',
      config: {
        region: 'us-east-1',
        endpoint,
        credentials: { accessKeyId, secretAccessKey: secret },
      },
    })
    const config = {
      providers: [
        { name: 'tokens', type: 'token' },
        iam('aws', aws.url),
        iam('wrong-secret', aws.url, 'x'.repeat(40)),
        iam('unreachable', 'http://127.0.0.1:9'),
        iam('stranger', `http://127.0.0.1:${port}`),
      ],
      sinks: [{ name: 'tokens', type: 'file', config: { directory: 'secrets' } }],
    }
    await writeFile(path.join(home, 'custody.yaml'), JSON.stringify(config))
    custody = await startTestCustody({ home, config: true })
    for (const role of ['auditor', 'security', 'requester', 'verifier']) {
      tokens[role] = (await custody.createClient(role)).token
    }
  })
  afterAll(async () => {
    await custody.close()
    await aws.close()
    stranger.closeAllConnections()
    stranger.close()
    await rm(home, { recursive: true, force: true })
  })

  const get = async (route: string, role?: string): Promise<Json> =>
    custody.call('GET', route, undefined, role ? { token: tokens[role]! } : {})
  const check = async (name: string, role?: string): Promise<Json> =>
    custody.call(
      'POST',
      `/api/v1/providers/${name}/check`,
      {},
      role ? { token: tokens[role]! } : {},
    )

  it('lists providers and sinks with their kinds, what they can and how calls fare', async () => {
    const { body } = await get('/api/v1/providers')

    expect(body.cursor).toBeNull()
    expect(body.items.map((i: Json) => `${i.role} ${i.name} ${i.type}`)).toEqual([
      'provider tokens token',
      'provider aws aws-iam',
      'provider wrong-secret aws-iam',
      'provider unreachable aws-iam',
      'provider stranger aws-iam',
      'sink tokens file',
    ])
    expect(body.items[1]).toMatchObject({
      kinds: [
        { kind: 'access-key', maxLive: 2, canDisable: true, mint: 'server' },
        { kind: 'federated-role', mint: 'none' },
      ],
      can: { check: true, discover: true, suspend: false },
      gate: { state: 'open', restsUntil: null, callsPerSecond: null, waiting: 0 },
    })
  })

  it('shows one, and the sink of the same name when asked for', async () => {
    expect((await get('/api/v1/providers/tokens')).body).toMatchObject({ role: 'provider' })
    expect((await get('/api/v1/providers/tokens?role=sink')).body).toMatchObject({ type: 'file' })
    expect((await get('/api/v1/providers/aws?role=sink')).status).toBe(404)
    expect((await get('/api/v1/providers/none')).status).toBe(404)
    expect((await get('/api/v1/providers/tokens?role=both')).status).toBe(400)
  })

  it('checks what is reached, and says who Custody is there', async () => {
    const { status, body } = await check('aws')

    expect(status).toBe(200)
    expect(body).toMatchObject({ name: 'aws', type: 'aws-iam', role: 'provider' })
    expect(body.findings.filter((finding: Json) => finding.state === 'failed')).toEqual([])
    expect(body.findings[0].message).toContain('account 123456789012 ("sandbox")')
    expect(JSON.parse(body.leastPolicy)).toMatchObject({ Version: '2012-10-17' })
  })

  it.each([
    ['wrong-secret', /SignatureDoesNotMatch/, /goes with its secret/],
    ['unreachable', /ECONNREFUSED/, /127\.0\.0\.1:9 can be reached/],
    ['stranger', /no request id of AWS/, /that it is AWS that answers/],
  ])('answers in the same shape for %s', async (name, message, remedy) => {
    const { status, body, text } = await check(name)

    expect(status).toBe(200)
    expect(body.state).toBe('failed')
    expect(body.findings[0].message).toMatch(message)
    expect(body.findings[0].remedy).toMatch(remedy)
    expect(text).not.toMatch(/Sign in first|xxxx/)
  })

  it('asks a provider once for all who ask at the same time', async () => {
    const answers = await Promise.all([check('aws'), check('aws')])

    expect(answers[0].body).toEqual(answers[1].body)
  })

  it('is for administrators, security and auditors', async () => {
    const statuses = async (role: string) => [
      (await get('/api/v1/providers', role)).status,
      (await get('/api/v1/providers/aws', role)).status,
      (await check('aws', role)).status,
    ]

    for (const role of ['auditor', 'security'])
      expect(await statuses(role)).toEqual([200, 200, 200])
    for (const role of ['requester', 'verifier']) {
      expect(await statuses(role)).toEqual([403, 403, 403])
    }
  })
})
