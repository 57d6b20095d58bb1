import { afterEach, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { startServer } from './server.ts'

const item = (n: number) => ({
  id: `01890000-0000-7000-8000-00000000000${n}`,
  at: `2026-11-2${n}T10:00:00.000Z`,
  act: 'rotate',
  rule: 'scheduled',
  userName: 'deployer',
  credential: 'c1',
  owner: 'ada',
})
const window = {
  from: '2026-11-08T00:00:00.000Z',
  until: '2026-11-22T00:00:00.000Z',
  counts: { rotate: { acts: 2, accounts: 1 } },
  summary: ['rotated 2 keys of 1 account'],
}

let server: Awaited<ReturnType<typeof startServer>> | null = null
afterEach(async () => {
  await server?.close()
  server = null
})

async function run(args: readonly string[], summary = window.summary) {
  const items = summary.length === 0 ? [] : [item(2), item(1)]
  server = await startServer({
    'GET /api/v1/reports/shadow': ({ url }) => {
      const isSecond = new URL(url, 'http://x').searchParams.has('cursor')
      const page = isSecond ? items.slice(1) : items.slice(0, 1)
      const cursor = isSecond || items.length === 0 ? null : items[0]!.id
      return { body: { ...window, summary, items: page, cursor } }
    },
  })
  return {
    ...(await runCli(['report', 'shadow', ...args], {
      env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'cst_x_y' },
      cwd: '/',
    })),
    seen: server.seen,
  }
}

it('reports what enforcing would have done: all pages as a table, the sum in a sentence', async () => {
  const { code, stdout, stderr, seen } = await run(['--days', '14'])

  expect(code).toBe(0)
  expect(stdout.match(/deployer/g)).toHaveLength(2)
  expect(stderr).toBe(
    'Since 2026-11-08T00:00:00.000Z enforcing would have rotated 2 keys of 1 account.\n',
  )
  expect(seen.map(({ url }) => new URL(url, 'http://x').searchParams.get('days'))).toEqual([
    '14',
    '14',
  ])
})

it('prints one JSON object, and says that there is nothing', async () => {
  const all = await run(['--json'])
  expect(JSON.parse(all.stdout)).toEqual({ ...window, items: [item(2), item(1)] })
  await server!.close()

  const none = await run([], [])
  expect(none).toMatchObject({ code: 0, stdout: '' })
  expect(none.stderr).toContain('enforcing would have done nothing.')
})

const posture = {
  at: '2026-11-22T00:00:00.000Z',
  accounts: { total: 3, open: 3, withActiveOwner: 2, orphaned: 1, watched: 0 },
  coverage: 2 / 3,
  credentials: { total: 4 },
  expiring: [{ withinDays: 7, accounts: 1, credentials: 2 }],
  expired: 0,
  oldestActiveKeys: [{ userName: 'deployer', provider: 'aws', credential: 'c1', ageDays: 40 }],
  rotationsOverdue: { count: 0, first: [] },
  operations: { queued: 0, running: 1, waiting: 0, needsOperator: 0 },
  brakes: [{ name: 'listing', subject: 'aws' }],
  approvalsWaiting: 0,
  restored: true,
  leavers: { open: 1, complete: 2 },
}
const expiry = {
  from: '2026-11-22',
  until: '2026-11-29',
  items: [{ day: '2026-11-25', accounts: 1, credentials: 2 }],
}

const evidence = {
  framework: 'soc2',
  at: '2026-11-22T00:00:00.000Z',
  summary: { holds: 1, partly: 0, exceptions: 0, notCovered: 0 },
  controls: [
    { control: 'CC1.5', title: 'Accountability', verdict: 'holds', exceptions: [], gaps: [] },
  ],
}

async function ask(...args: readonly string[]) {
  server = await startServer({
    'GET /api/v1/reports/posture': () => ({ body: posture }),
    'GET /api/v1/reports/expiry': () => ({ body: expiry }),
    'GET /api/v1/reports/evidence': () => ({ body: evidence }),
  })
  const ended = await runCli(['report', ...args], {
    env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'cst_x_y' },
    cwd: '/',
  })
  const urls = server.seen.map(({ url }) => url)
  await server.close()
  return { ...ended, urls }
}

it('says how things are, with the share of owners never rounded up', async () => {
  const { code, stdout, stderr } = await ask('posture')

  expect(code).toBe(0)
  expect(stdout).toContain('2 (66.6 %)')
  expect(stdout).toContain('listing aws')
  expect(stdout).toMatch(/deployer +aws +c1/)
  expect(stderr).toContain('Restored mode is on')
  expect(JSON.parse((await ask('posture', '--json')).stdout)).toEqual(posture)
})

it('says what ends on which day', async () => {
  const { stdout, urls } = await ask('expiry', '--from', '2026-11-22', '--days', '7')

  expect(stdout).toMatch(/2026-11-25 +1 +2/)
  expect(urls).toEqual(['/api/v1/reports/expiry?days=7&from=2026-11-22'])
})

it('lists what can be shown for each control', async () => {
  const { stdout, stderr, urls } = await ask('evidence', '--framework', 'soc2')

  expect(stdout).toMatch(/CC1\.5 +holds +Accountability +0/)
  expect(stderr).toContain('soc2 at 2026-11-22T00:00:00.000Z: 1 hold,')
  expect(urls).toEqual(['/api/v1/reports/evidence?framework=soc2'])
})
