import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Terminal } from '../../src/cli/terminal.ts'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

const batchId = '01890000-0000-7000-8000-00000000000a'
const ada = '01890000-0000-7000-8000-00000000000b'
const eve = '01890000-0000-7000-8000-00000000000c'

const person = (subject: string, userName: string, outcome: string | null = null) => ({
  subject,
  userName,
  action: 'leave',
  since: '2026-11-22T09:00:00.000Z',
  ageSeconds: 7_200,
  outcome,
  reason: null,
})
const batch = (): Reply => ({
  body: {
    id: batchId,
    kind: 'leavers',
    subject: 'default',
    status: 'waiting',
    people: 2,
    hash: 'abc',
    facts: { leftWithinHour: 7, hourly: 5 },
    items: [person(ada, 'ada'), person(eve, 'eve')],
  },
})
const decided = (status: string) => (): Reply => ({
  body: {
    approval: batchId,
    status,
    items: [{ subject: ada, outcome: 'approved', operation: eve, reason: null }],
  },
})

let cwd = ''
let server: Awaited<ReturnType<typeof startServer>> | null = null
beforeEach(async () => {
  cwd = await mkdtemp(`${tmpdir()}/custody-cli-`)
})
afterEach(async () => {
  await server?.close()
  server = null
  await rm(cwd, { recursive: true, force: true })
})

async function run(
  line: string,
  routes: Readonly<Record<string, (seen: Seen) => Reply>>,
  change: Partial<Terminal> = {},
) {
  server ??= await startServer(routes)
  const ran = await runCli(line, {
    env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'token' },
    cwd,
    ...change,
  })
  return { ...ran, sent: server.seen.filter((s) => s.method === 'POST') }
}

const show = `GET /api/v1/approvals/${batchId}`
const approve = `POST /api/v1/approvals/${batchId}/approve`

describe('custody approval', () => {
  it('lists batches, and says when nothing waits', async () => {
    const empty = { 'GET /api/v1/approvals': () => ({ body: { items: [], cursor: null } }) }

    const { code, stderr } = await run('approval list --status waiting', empty)

    expect({ code, stderr }).toEqual({ code: 0, stderr: 'Nothing waits for approval.\n' })
    expect(server!.seen[0]!.url).toContain('status=waiting')
  })

  it('shows who is held, with age', async () => {
    const { code, stdout } = await run(`approval show ${batchId}`, { [show]: batch })

    expect(code).toBe(0)
    expect(stdout).toMatch(/ada .*2 h/)
    expect(stdout).toContain('abc')
  })

  it('does nothing unasked: it shows the plan and ends with 7', async () => {
    const { code, stdout, stderr, sent } = await run(`approval approve ${batchId}`, {
      [show]: batch,
    })

    expect(code).toBe(7)
    expect(stdout).toContain('eve')
    expect(stderr).toContain('2 wait for approval')
    expect(sent).toEqual([])
  })

  it('asks, and sends the hash of what it showed', async () => {
    const routes = { [show]: batch, [approve]: decided('closed') }
    const asked: string[] = []
    const ask = (question: string) => {
      asked.push(question)
      return Promise.resolve('yes')
    }

    const { code, sent } = await run(`approval approve ${batchId}`, routes, {
      isInteractive: true,
      ask,
    })

    expect(code).toBe(0)
    expect(asked).toHaveLength(1)
    expect(sent.map((s) => s.body)).toEqual([{ hash: 'abc' }])
  })

  it('approves some by name, and ends with 7 while others still wait', async () => {
    const routes = { [show]: batch, [approve]: decided('waiting') }

    const { code, sent } = await run(
      `approval approve ${batchId} --only ada --reason confirmed --yes`,
      routes,
    )

    expect(code).toBe(7)
    expect(sent[0]!.body).toEqual({ hash: 'abc', subjects: [ada], reason: 'confirmed' })
  })

  it('denies under a hash seen earlier, and tells what the server says of a stale one', async () => {
    const deny = `POST /api/v1/approvals/${batchId}/deny`
    const stale = (): Reply => ({ status: 409, body: { detail: 'eve changed.' } })

    const { code, stderr, sent } = await run(`approval deny ${batchId} --hash old --yes`, {
      [show]: batch,
      [deny]: stale,
    })

    expect({ code, stderr }).toEqual({ code: 5, stderr: 'eve changed.\n' })
    expect(sent[0]!.body).toEqual({ hash: 'old' })
  })
})

describe('custody brake', () => {
  it('lists what is on and what it stops', async () => {
    const brake = {
      name: 'clock',
      subject: '',
      since: '2026-11-22T09:00:00.000Z',
      stops: ['expire', 'rotate'],
      facts: { jumpSeconds: 3_600 },
    }

    const { code, stdout } = await run('brake list', {
      'GET /api/v1/brakes': () => ({ body: { items: [brake], cursor: null } }),
    })

    expect(code).toBe(0)
    expect(stdout).toContain('expire, rotate')
  })

  it('releases one, with a reason and a yes', async () => {
    const routes = { 'POST /api/v1/brakes/listing/release': () => ({ body: { released: {} } }) }

    const unasked = await run('brake release listing --reason looked', routes)
    expect({ code: unasked.code, sent: unasked.sent }).toEqual({ code: 2, sent: [] })
    expect((await run('brake release listing --yes', routes)).code).toBe(2)

    const { code, sent } = await run(
      'brake release listing --subject aws-prod --reason looked --yes',
      routes,
    )
    expect(code).toBe(0)
    expect(sent[0]!.body).toEqual({ reason: 'looked', subject: 'aws-prod' })
  })
})
