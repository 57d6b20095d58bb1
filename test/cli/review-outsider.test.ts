import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { patchUrn, startTestCustody, type TestCustody } from '../support/custody.ts'
import { startServer } from './server.ts'

let custody: TestCustody
let cwd: string
let held: string
beforeAll(async () => {
  custody = await startTestCustody({ roles: ['http'] })
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-cli-outsider-'))
  for (let i = 0; i < 7; i++) {
    held = await custody.createPerson(`person-${i}`)
    await custody.requestAccount(`svc-${i}`, held)
  }
  const { body } = await custody.call('GET', '/api/v1/owners')
  for (const person of body.items as { id: string }[]) {
    await custody.call('PATCH', `/scim/v2/Users/${person.id}`, {
      schemas: [patchUrn],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    })
  }
})
afterAll(async () => {
  await custody.close()
  await rm(cwd, { recursive: true, force: true })
})

async function run(line: string) {
  return runCli(line, {
    env: { CUSTODY_HOME: custody.home },
    cwd,
  })
}

describe('what is held', () => {
  it('is counted with the last one who left, and shown with the way on', async () => {
    const { stdout, stderr } = await run('brake list')

    expect(stdout).toContain('"leftWithinHour":7')
    expect(stdout).toContain('what the held people own is decided later')
    expect(stderr).toContain('custody approval list')
  })

  it('shows what letting go would do', async () => {
    const { stdout } = await run('owner impact person-6')

    expect(stdout).toMatch(/ONCE LET GO/)
    expect(stdout).toMatch(/svc-6 +none +held +disable/)
  })
})

describe('refusals that say what to do', () => {
  it.each([
    ['brake release listing --reason x --yes', 3, 'on are: leavers:default'],
    ['brake release nonsense --reason x --yes', 3, 'on are: leavers:default'],
    ['owner show nobody', 3, 'its id if it was deleted or retired'],
    [
      'account request x --owner a --purpose b --credential tokens:api-token',
      2,
      'is not understood. Use provider=',
    ],
  ])('%s', async (line, exit, text) => {
    const { code, stderr } = await run(line)

    expect(stderr).toContain(text)
    expect(code).toBe(exit)
  })

  it('tell why an operation can be neither retried nor cancelled', async () => {
    const { body: operations } = await custody.call('GET', '/api/v1/operations')
    const issue = operations.items.find((o: { kind: string }) => o.kind === 'issue')
    const leave = operations.items.find((o: { kind: string }) => o.kind === 'leave')

    expect((await run(`operation cancel ${issue.id}`)).code).toBe(0)
    const again = await run(`operation retry ${issue.id}`)
    expect(again.stderr).toContain('It has ended: ask for the same anew.')
    expect(again.code).toBe(5)
    const never = await run(`operation cancel ${leave.id}`)
    expect(never.stderr).toContain('What takes access away is never given up.')
    expect(never.code).toBe(5)
  })

  it.each([
    [{ reason: 'x'.repeat(1_025) }, 'reason: must be a text of 1 to 1024 characters.'],
    [{ extend: 'yes' }, 'extend: must be true or false, without quotes.'],
  ])('name what a field must be', async (body, detail) => {
    const { body: accounts } = await custody.call('GET', '/api/v1/accounts')
    const route = `/api/v1/accounts/${accounts.items[0].id}/certify`

    expect((await custody.call('POST', route, body)).body.detail).toBe(detail)
  })
})

describe('sweep run', () => {
  it('shows acts, operations and failures, and ends with 6 when something failed', async () => {
    const items = [
      { act: 'reconcile', id: 'aws', operations: ['operation-1'], error: null },
      { act: 'reconcile', id: 'github', operations: [], error: 'GitHub is down' },
    ]
    const answer = { sweep: 'reconcile', dryRun: false, items }
    const server = await startServer({ 'POST /api/v1/sweeps/reconcile': () => ({ body: answer }) })
    const { code, stdout, stderr } = await run(`sweep run reconcile --server ${server.url}`)
    await server.close()

    expect(stdout).toMatch(/aws +reconcile +operation-1/)
    expect(stdout).toContain('GitHub is down')
    expect(stderr).toBe('1 started.\n1 could not be started; they stay due.\n')
    expect(code).toBe(6)
  })
})

it('accepts a transfer by the name people know', async () => {
  const [from, to] = [await custody.createPerson('from'), await custody.createPerson('to')]
  const { body: account } = await custody.requestAccount('moving', from)
  await custody.call('POST', `/api/v1/accounts/${account.id}/transfer`, { owner: to })

  const { code, stderr } = await run('transfer accept moving')
  expect(stderr).toContain('moving')
  expect(code).not.toBe(3)
})
