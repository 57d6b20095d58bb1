import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Terminal } from '../../src/cli/terminal.ts'
import { sweepNames } from '../../src/lifecycle/engine.ts'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
const core = 'urn:ietf:params:scim:schemas:core:2.0:User'
const accountId = '01890000-0000-7000-8000-00000000000a'
const personId = '01890000-0000-7000-8000-00000000000b'
const operationId = '01890000-0000-7000-8000-00000000000c'
const groupId = '01890000-0000-7000-8000-00000000000d'

let cwd = ''
let server: Awaited<ReturnType<typeof startServer>> | null = null
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-cli-'))
})
afterEach(async () => {
  await server?.close()
  server = null
  await rm(cwd, { recursive: true, force: true })
})

/** Leaves in `.custody` what a running local server leaves there. */
async function serve(routes: Readonly<Record<string, (seen: Seen) => Reply>>) {
  server = await startServer(routes)
  await mkdir(path.join(cwd, '.custody'))
  await writeFile(
    path.join(cwd, '.custody/server.json'),
    JSON.stringify({ url: server.url, pid: 1 }),
  )
  await writeFile(path.join(cwd, '.custody/admin-token'), 'local-admin\n', { mode: 0o600 })
  return server
}

async function run(line: string | readonly string[], change: Partial<Terminal> = {}) {
  return runCli(line, { env: {}, cwd, ...change })
}

const accounts = [
  {
    id: accountId,
    userName: 'ci-deployer',
    status: 'active',
    owner: { type: 'User', value: personId, display: 'Ada' },
    environment: null,
    expiresAt: '2027-01-01T00:00:00.000Z',
  },
  {
    id: operationId,
    userName: `evil\u001b[2J${'x'.repeat(60)}`,
    status: 'orphaned',
    owner: { type: 'User', value: personId },
    environment: null,
    expiresAt: '2027-01-01T00:00:00.000Z',
  },
]

const users = (): Reply => ({
  body: {
    Resources: [
      { id: personId, schemas: [core], userName: 'ada' },
      { id: accountId, schemas: [core, nhi], userName: 'ada' },
    ],
  },
})

describe('custody seal rotate', () => {
  it('sends the reason, which it asks for, and says how many were wrapped anew', async () => {
    const { seen } = await serve({ 'POST /api/v1/seal/rotate': () => ({ body: { wrapped: 3 } }) })

    const told = await run(['seal', 'rotate', '--reason', 'a backup was lost'])
    const json = await run(['seal', 'rotate', '--reason', 'again', '--json'])
    const unexplained = await run('seal rotate')

    expect([told.code, told.stdout, told.stderr]).toEqual([
      0,
      '',
      'A new seal key; wrapped anew: 3.\n',
    ])
    expect(JSON.parse(json.stdout)).toEqual({ wrapped: 3 })
    expect(unexplained.code).not.toBe(0)
    expect(seen.map(({ body }) => body)).toEqual([
      { reason: 'a backup was lost' },
      { reason: 'again' },
    ])
  })
})

describe('lists', () => {
  it('are tables that leave out empty columns', async () => {
    await serve({ 'GET /api/v1/accounts': () => ({ body: { items: accounts.slice(0, 1) } }) })

    const { code, stdout, stderr } = await run('account list')

    expect(code).toBe(0)
    expect(stdout.split('\n')).toEqual([
      'ID                                    USERNAME     STATUS  OWNER  EXPIRES',
      `${accountId}  ci-deployer  active  Ada    2027-01-01T00:00:00.000Z`,
      '',
    ])
    expect(stderr).toBe('')
  })

  it.each([80, 96, 120])('fit a terminal of %i columns, with ids whole', async (columns) => {
    await serve({ 'GET /api/v1/accounts': () => ({ body: { items: accounts } }) })

    const { stdout } = await run('account list', { columns, env: { NO_COLOR: '1' } })

    const lines = stdout.trimEnd().split('\n')
    expect(Math.max(...lines.map((l) => l.length))).toBeLessThanOrEqual(columns)
    expect(lines.slice(1).map((l) => l.slice(0, 36))).toEqual([accountId, operationId])
    expect(stdout).toContain('…')
  })

  it('never hand control characters to the terminal, and colour only where it is wanted', async () => {
    await serve({ 'GET /api/v1/accounts': () => ({ body: { items: accounts } }) })

    const plain = await run('account list', { columns: 200, env: { NO_COLOR: '1' } })
    const coloured = await run('account list', { columns: 200 })

    expect(plain.stdout).not.toContain('\u001b')
    expect(plain.stdout).toContain('evil\\u001b[2J')
    expect(coloured.stdout).toContain('\u001b[1mID')
  })

  it('follow the cursor up to the limit, and print JSON untouched', async () => {
    const { seen } = await serve({
      'GET /api/v1/operations': ({ url }) =>
        url.includes('cursor=next')
          ? { body: { items: [{ id: '2' }, { id: '3' }], cursor: null } }
          : { body: { items: [{ id: '1' }], cursor: 'next' } },
    })

    const { stdout } = await run('operation list --json --limit 3 --status failed')

    expect(JSON.parse(stdout)).toEqual([{ id: '1' }, { id: '2' }, { id: '3' }])
    expect(seen.map((s) => s.url)).toEqual([
      '/api/v1/operations?status=failed&limit=4',
      '/api/v1/operations?status=failed&cursor=next&limit=3',
    ])
  })

  const five = ({ url }: Seen): Reply => {
    const query = new URL(url, 'http://x').searchParams
    const after = Number(query.get('cursor') ?? '0')
    const last = Math.min(after + Math.min(Number(query.get('limit')), 2), 5)
    const items = Array.from({ length: last - after }, (_, i) => ({ id: String(after + i + 1) }))
    // As the API does: a full page has a cursor, also when nothing follows.
    return { body: { items, cursor: items.length === 2 ? String(last) : null } }
  }

  it.each([
    ['account list --json', 5, ''],
    ['account list --json --limit 5', 5, ''],
    [
      'account list --json --limit 4',
      4,
      'Only the first 4 are shown, as --limit asks; there are more.\n',
    ],
  ])('"%s" prints %i of five, and never cuts without a word', async (line, count, said) => {
    const { seen } = await serve({ 'GET /api/v1/accounts': five })

    const { stdout, stderr } = await run(line)

    expect(JSON.parse(stdout)).toHaveLength(count)
    expect(stderr).toBe(said)
    expect(seen).toHaveLength(3)
  })

  it('say on stderr that there is nothing', async () => {
    await serve({ 'GET /api/v1/transfers': () => ({ body: { items: [] } }) })

    expect(await run('transfer list')).toEqual({
      code: 0,
      stdout: '',
      stderr: 'No open transfers.\n',
    })
  })
})

describe('one thing', () => {
  it('is shown with what is nested below its name', async () => {
    await serve({
      [`GET /api/v1/findings/${accountId}`]: () => ({
        body: {
          userName: 'ci\u001b[2J',
          owner: { type: 'User', id: personId },
          pendingOwner: null,
          labels: ['team=web', 'tier=1'],
          consumers: [],
          credentials: [
            { id: 'c1', deliverTo: { sink: 'files', path: 'a/b' } },
            { id: 'c2', status: 'active' },
          ],
        },
      }),
    })

    const { stdout } = await run(`finding show ${accountId}`)

    expect(stdout.split('\n')).toEqual([
      'userName     ci\\u001b[2J',
      'owner',
      '  type  User',
      `  id    ${personId}`,
      'labels       team=web, tier=1',
      'credentials',
      '  - id         c1',
      '    deliverTo',
      '      sink  files',
      '      path  a/b',
      '  - id      c2',
      '    status  active',
      '',
    ])
  })

  it('is told of an account as whoever is on call reads it: why, whose, what next', async () => {
    await serve({
      [`GET /api/v1/accounts/${accountId}`]: () => ({
        body: {
          id: accountId,
          userName: 'ci\u001b[2J',
          status: 'orphaned',
          why: { sentence: 'Its owner has left.' },
          owner: { type: 'User', id: personId },
          pendingOwner: { type: 'Group', id: groupId },
          backups: [{ type: 'User', id: personId, acceptedAt: null }],
          expiresAt: '2000-01-01T12:00:00.000Z',
          kind: 'serviceAccount',
          environment: 'prod',
          protected: true,
          enforcement: 'observe',
          credentials: [
            {
              id: personId,
              provider: 'aws',
              status: 'active',
              deliverTo: { sink: 'f', path: 'a/b' },
            },
          ],
          next: [{ at: '2026-01-01T00:00:00.000Z', what: 'it is switched off', effect: 'would' }],
        },
      }),
      'GET /scim/v2/Users': () => ({ body: { Resources: [{ id: personId, userName: 'nora' }] } }),
      'GET /scim/v2/Groups': () => ({ status: 403, body: { code: 'forbidden', detail: 'No.' } }),
    })

    const { code, stdout } = await run(`account show ${accountId}`)

    expect(code).toBe(0)
    for (const line of [
      /^userName +ci\\u001b\[2J$/m,
      /^status +orphaned, only watched$/m,
      /^why +Its owner has left\.$/m,
      new RegExp(`^owner +nora  ${personId}$`, 'm'),
      new RegExp(`^offered to +${groupId} \\(group\\)$`, 'm'),
      /^backups +nora .* \(has not agreed\)$/m,
      /^expires +2000-01-01 12:00 UTC, \d+ days ago$/m,
      /^kind +serviceAccount, prod$/m,
      /^protected +it takes two people/m,
      new RegExp(`^${personId}  aws +active +f:a/b$`, 'm'),
      /^2026-01-01 00:00 +it is switched off +would$/m,
    ]) {
      expect(stdout).toMatch(line)
    }
    const all = JSON.parse((await run(`account show ${accountId} --json`)).stdout)
    expect(all.owner).toEqual({ type: 'User', id: personId })
  })

  it('is listed by the names of people, asked for at once; the ids stay in JSON', async () => {
    const items = Array.from({ length: 3 }, (_, i) => ({
      id: accountId,
      userName: `ci-${i}`,
      owner: { type: 'User', id: personId },
    }))
    let asked = 0
    await serve({
      'GET /api/v1/accounts': () => ({ body: { items } }),
      'GET /scim/v2/Users': () => {
        asked += 1
        return { body: { Resources: [{ id: personId, userName: 'nora' }] } }
      },
    })

    const { stdout } = await run('account list')

    expect(stdout.match(/ci-\d +nora$/gm)).toHaveLength(3)
    expect(JSON.parse((await run('account list --json')).stdout)).toEqual(items)
    expect(asked).toBe(1)
  })
})

describe('server and token', () => {
  it('are the local ones by default', async () => {
    const { seen } = await serve({ 'GET /api/v1/clients': () => ({ body: { items: [] } }) })

    await run('client list')

    expect(seen[0]?.authorization).toBe('Bearer local-admin')
  })

  it('come from the environment, and options win', async () => {
    const { url, seen } = await serve({ 'GET /api/v1/clients': () => ({ body: { items: [] } }) })
    await writeFile(path.join(cwd, 'token'), 'from-file\n', { mode: 0o644 })
    const env = { CUSTODY_SERVER: `${url}/`, CUSTODY_TOKEN: 'from-env', CUSTODY_HOME: 'nowhere' }

    await run('client list', { env })
    await run(`client list --server ${url} --token-file token`, { env })

    expect(seen.map((s) => s.authorization)).toEqual(['Bearer from-env', 'Bearer from-file'])
  })

  it('never show the local administrator’s token to another machine', async () => {
    await serve({})

    const { code, stderr } = await run('client list --server https://custody.example')

    expect(code).toBe(2)
    expect(stderr).toContain('A token for https://custody.example is needed')
  })

  it.each([
    ['no server was started', {}, 2, 'No server is running here'],
    ['the address is none', { CUSTODY_SERVER: 'custody' }, 2, 'is not an http or https address'],
    ['the token is missing', { CUSTODY_SERVER: 'http://127.0.0.1:1' }, 2, 'The token cannot be'],
    [
      'nobody listens',
      { CUSTODY_SERVER: 'http://127.0.0.1:1', CUSTODY_TOKEN: 'x' },
      1,
      'cannot be reached',
    ],
  ])('are explained when %s', async (_, env, expected, sentence) => {
    const { code, stderr } = await run('client list', { env })

    expect(code).toBe(expected)
    expect(stderr).toContain(sentence)
  })

  it('are not followed to where a redirect points', async () => {
    const { seen } = await serve({
      'GET /api/v1/clients': () => ({ status: 302, headers: { location: '/elsewhere' } }),
    })

    const { code } = await run('client list')

    expect(code).toBe(1)
    expect(seen).toHaveLength(1)
  })
})

describe('exit codes', () => {
  it.each([
    [400, 2],
    [401, 4],
    [403, 4],
    [404, 3],
    [409, 5],
    [412, 5],
    [422, 2],
    [428, 2],
    [500, 1],
    [502, 8],
    [503, 8],
  ])('turn status %i into %i, with the server’s own sentence', async (status, expected) => {
    await serve({
      [`GET /api/v1/credentials/c1`]: () => ({
        status,
        body: { title: 'x', detail: 'Do this next.\u001b[2J' },
      }),
    })

    const { code, stdout, stderr } = await run('credential show c1')

    expect({ code, stdout, stderr }).toEqual({
      code: expected,
      stdout: '',
      stderr: 'Do this next.\\u001b[2J\n',
    })
  })

  it.each([
    ['an unknown noun', 'acount list', 'Did you mean account?'],
    ['an unknown option', 'account list --ower x', 'Did you mean --owner?'],
    ['a missing argument', 'account show', "missing required argument 'account'"],
    ['a missing option', 'client create --name x', "required option '--role <role>'"],
    ['a wrong role', 'client create --name x --role boss', '--role must be one of'],
    ['a directory client without directory', 'client create --name x --role directory', '--dir'],
    ['a transfer at once without reason', 'account transfer a --to b --now', '--reason'],
    ['help on nothing there is', 'help account lisst', 'Did you mean list?'],
    ['a wrong limit', 'account list --limit many', '--limit must be a whole number'],
    ['a bad credential', 'account request x --owner o --purpose p --credential provder=x', 'did'],
  ])('are 2 for %s', async (_, line, sentence) => {
    await serve({})

    const { code, stdout, stderr } = await run(line)

    expect(code).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).toContain(sentence)
  })

  it('are 0 for help and version, and 2 for a noun alone', async () => {
    expect(await run('--help')).toMatchObject({ code: 0, stderr: '' })
    expect((await run('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect((await run('account')).code).toBe(2)
    expect(await run('help account list')).toEqual(await run('account list --help'))
    expect(await run('help')).toEqual(await run('--help'))
  })
})

describe('sweep run', () => {
  it('names exactly the sweeps there are', async () => {
    const { stdout } = await run('sweep run --help')

    expect(stdout).toContain(`do now what ${sweepNames.join(', ')} would do by itself`)
  })
})

describe('client attributes', () => {
  const report = {
    client: { id: 'c1', name: 'entra', dialect: 'lenient' },
    attributes: [
      {
        resource: 'User',
        path: 'active',
        expected: 'boolean',
        forms: [
          { form: 'boolean as text', treatment: 'repaired', count: 3, operation: 'PATCH replace' },
        ],
      },
      {
        resource: 'User',
        path: 'colour',
        expected: null,
        forms: [{ form: 'text', treatment: 'ignored', count: 1, operation: 'POST' }],
      },
    ],
    neverSent: [{ resource: 'User', path: 'externalId', why: 'it tells people apart' }],
  }

  it('shows each form of each attribute, and what is never sent beside it', async () => {
    await serve({ 'GET /api/v1/clients/c1/attributes': () => ({ body: report }) })

    const { code, stdout, stderr } = await run('client attributes c1')

    expect(code).toBe(0)
    expect(stdout).toMatch(/User +active +boolean +boolean as text +3 +repaired +PATCH replace/)
    expect(stdout).toMatch(/User +colour +unknown +text +1 +ignored +POST/)
    expect(stderr).toBe('Never sent: User externalId (it tells people apart).\n')
    const { stdout: json } = await run('client attributes c1 --json')
    expect(JSON.parse(json)).toEqual(report)
  })
})

describe('client create', () => {
  it('prints id and token once, and says that this is the only time', async () => {
    const { seen } = await serve({
      'POST /api/v1/clients': () => ({
        status: 201,
        body: { id: 'c1', token: 'cst_x', name: 'n' },
      }),
    })

    const { code, stdout, stderr } = await run(
      'client create --name okta --role directory --directory hr --dialect rfc --json',
    )

    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({ id: 'c1', token: 'cst_x' })
    expect(stderr).toContain('shown this once')
    expect(seen[0]).toMatchObject({
      contentType: 'application/json',
      body: { name: 'okta', role: 'directory', directory: 'hr', dialect: 'rfc' },
    })
  })
})

describe('account request', () => {
  it('sends one SCIM user with the nhi extension, and reports the queued operation', async () => {
    const { seen } = await serve({
      'GET /scim/v2/Users': users,
      'POST /scim/v2/Users': () => ({
        status: 201,
        headers: { 'custody-operation': operationId },
        body: { id: accountId, userName: 'ci', [nhi]: { status: 'provisioning' } },
      }),
    })

    const words = `account request ci --owner ada --backup ${personId} --environment prod --label team=web --credential provider=aws-prod,kind=access-key,scope=arn:aws:x,scope=b,path=a/b`
    const { code, stdout } = await run([...words.split(' '), '--purpose', 'Deploys the shop'])

    expect(code).toBe(0)
    expect(stdout).toContain(`operation  ${operationId}`)
    expect(seen[0]?.url).toContain(encodeURIComponent('userName eq "ada"'))
    expect(seen[1]).toMatchObject({
      contentType: 'application/scim+json',
      body: {
        schemas: [core, nhi],
        userName: 'ci',
        [nhi]: {
          kind: 'serviceAccount',
          owner: { value: personId, type: 'User' },
          backupOwners: [{ value: personId, type: 'User' }],
          purpose: 'Deploys the shop',
          environment: 'prod',
          labels: ['team=web'],
          credentials: [
            {
              provider: 'aws-prod',
              kind: 'access-key',
              scopes: ['arn:aws:x', 'b'],
              deliverTo: { path: 'a/b' },
            },
          ],
        },
      },
    })
  })

  it('does not know an owner by another’s name', async () => {
    await serve({ 'GET /scim/v2/Users': () => ({ body: { Resources: [] } }) })

    const { code, stderr } = await run('account request ci --owner ghost --purpose p')

    expect(code).toBe(3)
    expect(stderr).toContain('No owner "ghost" was found')
  })
})

describe('effects', () => {
  const queued = { id: operationId, kind: 'disable', status: 'queued', subject: accountId }

  it.each([
    [
      `account disable ada --reason leak --yes`,
      `/api/v1/accounts/${accountId}/disable`,
      { reason: 'leak' },
    ],
    [`account enable ${accountId}`, `/api/v1/accounts/${accountId}/enable`, {}],
    [`account retire ada --yes`, `/api/v1/accounts/${accountId}/retire`, {}],
    [
      `account transfer ada --to ada`,
      `/api/v1/accounts/${accountId}/transfer`,
      { owner: personId },
    ],
    [
      `account transfer ada --to ada --now --reason moved`,
      `/api/v1/accounts/${accountId}/transfer`,
      { owner: personId, atOnce: true, reason: 'moved' },
    ],
    [`credential rotate c1`, '/api/v1/credentials/c1/rotate', {}],
    [`credential revoke c1 --yes`, '/api/v1/credentials/c1/revoke', {}],
    [`owner leave ada --yes`, `/api/v1/owners/${personId}/leave`, {}],
    [
      `owner leave ada --since 2026-01-02T03:04:05Z --yes`,
      `/api/v1/owners/${personId}/leave`,
      { since: '2026-01-02T03:04:05Z' },
    ],
    [`operation retry ${operationId}`, `/api/v1/operations/${operationId}/retry`, {}],
    [`transfer accept ada`, `/api/v1/transfers/${accountId}/accept`, {}],
    [`transfer decline ${accountId}`, `/api/v1/transfers/${accountId}/decline`, {}],
    [`sweep run orphans`, '/api/v1/sweeps/orphans', {}],
    [`sweep run orphans --dry-run`, '/api/v1/sweeps/orphans?dryRun=true', {}],
  ])('"%s" posts to %s', async (line, url, body) => {
    const { seen } = await serve({
      'GET /scim/v2/Users': users,
      [`POST ${url.split('?')[0]}`]: () => ({ status: 202, body: queued }),
    })

    const { code } = await run(line)

    expect(code).toBe(0)
    expect(seen.at(-1)).toMatchObject({ method: 'POST', url, body })
  })

  it('shows the impact of a leaver as a table', async () => {
    await serve({
      [`GET /api/v1/owners/${personId}/impact`]: () => ({
        body: { items: [{ userName: 'ci', decision: 'disable-now', rule: 'no backup' }] },
      }),
    })

    const { stdout } = await run(`owner impact ${personId}`)

    expect(stdout).toBe('ACCOUNT  DECISION     RULE\nci       disable-now  no backup\n')
  })
})

describe('waiting for an operation', () => {
  it.each([
    ['succeeded', null, 0],
    ['failed', { code: 'foreignKey', message: 'm' }, 1],
    ['failed', { code: 'throttled', message: 'm' }, 8],
    ['cancelled', { code: 'preempted', message: 'm' }, 5],
    ['failed', { code: 'notFound', message: 'm' }, 8],
    ['needsOperator', { code: 'revokeBlocked', message: 'm' }, 6],
    ['needsOperator', { code: 'denied', message: 'm' }, 8],
  ])('ends when it is %s (%o) with %i', async (status, failure, expected) => {
    const states = ['queued', 'running', status]
    await serve({
      'POST /api/v1/credentials/c1/revoke': () => ({
        status: 202,
        body: { id: operationId, kind: 'revoke', status: 'queued' },
      }),
      [`GET /api/v1/operations/${operationId}`]: () => ({
        body: { id: operationId, kind: 'revoke', status: states.shift(), failure },
      }),
    })

    const { code, stdout, stderr } = await run('credential revoke c1 --yes --wait --json')

    expect(code).toBe(expected)
    expect(JSON.parse(stdout)).toMatchObject({ id: operationId, status })
    expect(stderr).toBe(`revoke: queued\nrevoke: running\nrevoke: ${status}\n`)
  })

  it('ends for a rotation when the new key works, long before the old one ends', async () => {
    const credentials = [
      { generation: 1, status: 'active', keyId: 'old' },
      { generation: 1, status: 'active', keyId: 'old' },
      { generation: 2, status: 'active', keyId: 'new', previousKeyId: 'old' },
    ]
    await serve({
      'GET /api/v1/credentials/c1': () => ({ body: credentials.shift() }),
      'POST /api/v1/credentials/c1/rotate': () => ({ status: 202, body: { id: operationId } }),
      [`GET /api/v1/operations/${operationId}`]: () => ({
        body: { id: operationId, kind: 'rotate', status: 'waiting', step: 'overlap' },
      }),
    })

    const { code, stderr } = await run('credential rotate c1 --wait')

    expect(code).toBe(0)
    expect(stderr).toBe(
      `rotate: waiting · overlap\nThe new key new works (generation 2). The old key old ends later. Follow the rest with: custody operation watch ${operationId}\n`,
    )
  })
})
