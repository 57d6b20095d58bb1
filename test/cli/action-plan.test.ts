import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ActionPlan, hashOf } from '../../src/cli/action-plan.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { runCli } from '../support/run-cli.ts'
import { startServer } from './server.ts'

const accountId = '01890000-0000-7000-8000-00000000000a'
const key = { id: 'c1', status: 'active', generation: 1, keyId: 'AKIA1', lastUsedAt: null }
const personId = '01890000-0000-7000-8000-00000000000b'
const fresh = { id: accountId, userName: 'ci', status: 'active', credentials: [key] }

let account: object = fresh
let failing = 0
let decision = 'disable'
let asked = 0
let server: Awaited<ReturnType<typeof startServer>>
let cwd = ''

beforeAll(async () => {
  const queued = { status: 202, body: { id: 'o1', kind: 'disable', status: 'queued' } }
  server = await startServer({
    [`GET /api/v1/accounts/${accountId}`]: () => ({ body: account }),
    'GET /api/v1/credentials/c1': () => ({ body: key }),
    [`POST /api/v1/accounts/${accountId}/disable`]: () =>
      failing-- > 0 ? { status: 503, body: { detail: 'Not now.' } } : queued,
    [`POST /api/v1/accounts/${accountId}/enable`]: () => queued,
    [`GET /api/v1/owners/${personId}`]: () => ({ body: { id: personId, userName: 'ada' } }),
    [`GET /api/v1/owners/${personId}/impact`]: () => ({
      body: {
        items: [{ userName: 'ci', decision, disableAt: String(asked++), credentials: [key] }],
      },
    }),
    [`POST /api/v1/owners/${personId}/leave`]: () => queued,
    'POST /api/v1/events/e1/undo': () => ({
      body: {
        accounts: 2,
        cannot: [],
        operations: [],
        items: [{ userName: 'a' }, { userName: 'b' }, { userName: 'c', act: 'none' }],
      },
    }),
  })
})
afterAll(() => server.close())
beforeEach(async () => {
  account = fresh
  failing = 0
  decision = 'disable'
  server.seen.length = 0
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-plan-'))
  return () => rm(cwd, { recursive: true, force: true })
})

async function run(line: string, change: Partial<Terminal> = {}) {
  return runCli(line, { env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 't' }, cwd, ...change })
}

const changes = () => server.seen.filter(({ method }) => method !== 'GET')
const dryRun = `account disable ${accountId} --reason leak --dry-run`

describe('plans of actions', () => {
  it('say what would be sent and what it hits, and change nothing', async () => {
    const { code, stdout } = await run(`${dryRun} --output -`)

    expect([code, changes()]).toEqual([0, []])
    expect(JSON.parse(stdout)).toMatchObject({
      custody: 'action-plan/1',
      server: server.url,
      command: 'account disable',
      entries: [
        {
          request: {
            method: 'POST',
            path: `/api/v1/accounts/${accountId}/disable`,
            body: { reason: 'leak' },
          },
          subject: { name: 'ci', state: { status: 'active' }, credentials: [key] },
        },
      ],
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  it('are done once, with a key of their own, however often they are applied', async () => {
    const made = await run(dryRun)
    const file = path.join(cwd, 'plan-account-disable-ci.json')
    const { sha256 } = JSON.parse(await readFile(file, 'utf8')) as { sha256: string }

    const unconfirmed = await run(`apply ${file}`)
    const applied = await run(`apply ${file} --yes`)
    const again = await run(`apply ${file} --yes`)

    expect([made.code, unconfirmed.code, applied.code, again.code]).toEqual([0, 2, 0, 0])
    expect(again.stderr).toBe('This plan was applied already; nothing was sent.\n')
    expect(changes().map((seen) => seen.idempotencyKey)).toEqual([`plan-${sha256}-0`])
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    expect((await run(dryRun)).code).toBe(5)
  })

  it('go on with the same key after an answer that was lost, though something changed', async () => {
    await run(`${dryRun} --output p.json`)
    failing = 1

    const lost = await run('apply p.json --yes')
    account = { ...fresh, status: 'disabled' }
    const again = await run('apply p.json --yes')

    expect([lost.code, again.code]).toEqual([8, 0])
    expect(new Set(changes().map((seen) => seen.idempotencyKey)).size).toBe(1)
  })

  it.each([
    [{ ...fresh, status: 'orphaned' }, 'account ci: status was active and is orphaned'],
    [
      { ...fresh, credentials: [{ ...key, generation: 2 }] },
      'of account ci: credential c1: generation was 1 and is 2',
    ],
    [{ ...fresh, credentials: [] }, 'of account ci: credential c1 is gone'],
  ])('are refused when something changed since: %#', async (changed, sentence) => {
    await run(`${dryRun} --output p.json`)
    account = changed

    const { code, stderr } = await run('apply p.json --yes')

    expect([code, changes()]).toEqual([5, []])
    expect(stderr).toContain(sentence)
  })

  it('do not mind that a key was used meanwhile', async () => {
    await run(`${dryRun} --output p.json`)
    account = { ...fresh, credentials: [{ ...key, lastUsedAt: '2026-11-01T00:00:00Z' }] }

    expect((await run('apply p.json --yes')).code).toBe(0)
  })

  it('of a leaving hold for as long as the same is decided, whenever it is counted from', async () => {
    const line = `owner leave ${personId} --dry-run --output p.json`
    const made = await run(line)
    const held = await run('apply p.json --yes')
    decision = 'offer'
    await rm(path.join(cwd, 'p.json.applied'))
    const changed = await run('apply p.json --yes')

    expect([made.code, held.code, changed.code]).toEqual([0, 0, 5])
    expect(changed.stderr).toContain('of owner ada: ci: decision was disable and is offer')
  })

  it('are refused when somebody edited them, or they are for another server or too old', async () => {
    await run(`${dryRun} --output p.json`)
    const file = path.join(cwd, 'p.json')
    const text = await readFile(file, 'utf8')

    await writeFile(file, text.replace('leak', 'liar'))
    const edited = await run('apply p.json --yes')
    await writeFile(file, text)
    const other = {
      CUSTODY_SERVER: server.url.replace('127.0.0.1', 'localhost'),
      CUSTODY_TOKEN: 't',
    }
    const elsewhere = await run('apply p.json --yes', { env: other })

    const tomorrow = vi.spyOn(Date, 'now').mockReturnValue(Date.now() + 86_400_001)
    const late = await run('apply p.json --yes')
    tomorrow.mockRestore()

    expect([edited.code, elsewhere.code, late.code, changes()]).toEqual([9, 2, 5, []])
  })

  it('show what they send, whatever they call themselves, and send nothing out of the API', async () => {
    await run(`${dryRun} --output plan.json`)
    const file = path.join(cwd, 'plan.json')
    const plan = JSON.parse(await readFile(file, 'utf8')) as ActionPlan
    const write = async (change: Partial<ActionPlan>): Promise<void> => {
      const changed = { ...plan, ...change }
      await writeFile(file, JSON.stringify({ ...changed, sha256: hashOf(changed) }))
    }
    await write({ command: 'account enable' })
    const renamed = await run('apply plan.json --yes')
    expect(renamed.stderr).toContain(`POST /api/v1/accounts/${accountId}/disable`)

    const [entry] = plan.entries
    const request = { ...entry!.request, path: '/api/v1/../metrics' }
    await write({ entries: [{ ...entry!, request }] })
    expect((await run('apply plan.json --yes')).code).toBe(2)
  })

  it('are made of what the server plans too, and several things need their number', async () => {
    const made = await run('undo --cause e1 --reason mistake --dry-run --output p.json')
    const before = changes().map(({ url }) => url)

    const uncounted = await run('apply p.json --yes')
    const counted = await run('apply p.json --yes --confirm-count 2')

    expect([made.code, uncounted.code, counted.code]).toEqual([0, 2, 0])
    expect(uncounted.stderr).toContain('--confirm-count 2')
    expect(before).toEqual(['/api/v1/events/e1/undo?dryRun=true'])
    expect(changes().at(-1)).toMatchObject({
      url: '/api/v1/events/e1/undo',
      body: { reason: 'mistake' },
    })
  })

  it('ask nothing where nothing is taken away', async () => {
    await run(`account enable ${accountId} --dry-run --output p.json`)

    expect((await run('apply p.json')).code).toBe(0)
  })
})
