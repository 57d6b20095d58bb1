import { readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { csvCell } from '../../src/cli/commands/eject.ts'
import { eventually, startTestCustody, type TestCustody } from '../support/custody.ts'

describe('custody eject', () => {
  let custody: TestCustody
  const file = path.join(tmpdir(), `custody-eject-${process.pid}.csv`)
  beforeAll(async () => {
    custody = await startTestCustody()
  })
  afterAll(async () => {
    await custody.close()
    await rm(file, { force: true })
  })

  async function run(...args: readonly string[]) {
    return runCli(['eject', ...args], {
      env: { CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: custody.adminToken, NO_COLOR: '1' },
      cwd: tmpdir(),
    })
  }

  it('hands accounts back with a list, tokens only when told so, and may be run again', async () => {
    const owner = await custody.createPerson('ada')
    const wanted = await custody.requestAccount('ci-deployer', owner)
    const account = String(wanted.body.id)
    await eventually(
      () => custody.call('GET', `/api/v1/accounts/${account}`),
      ({ body }) => body.status === 'active',
    )
    const dry = await run('--dry-run')
    expect([dry.code, dry.stdout]).toEqual([0, expect.stringContaining('ends with Custody')])

    const none = await run('--account', 'ci-deployer', 'ci-deploier', '--reason', 'x', '--yes')
    expect([none.code, none.stdout]).toEqual([3, ''])
    const lost = ['--reason', 'x', '--yes', '--include-tokens', '--output', '/nowhere/x.csv']
    expect((await run(...lost)).code).toBe(2)
    const kept = await custody.call('GET', `/api/v1/accounts/${account}`)
    expect(kept.body.status).toBe('active')
    const named = await run('--account', 'ci-deployer', '--dry-run')
    expect(named.stdout).toBe(dry.stdout)

    const refused = await run('--reason', 'leaving', '--yes')
    expect(refused.code).toBe(6)
    expect(refused.stderr).toContain('live only in Custody')

    const wish = ['--reason', 'leaving', '--yes', '--include-tokens', '--output', file]
    const done = await run(...wish)
    expect(done.code).toBe(0)
    const text = await readFile(file, 'utf8')
    expect(text.split('\r\n')[0]).toMatch(/^account,userName,owner,state/)
    expect(text).toContain(account)
    const shown = await custody.call('GET', `/api/v1/accounts/${account}`)
    expect(shown.body).toMatchObject({ status: 'retired', statusReason: 'ejected' })
    expect((await custody.call('GET', `/scim/v2/Users/${account}`)).status).toBe(404)

    expect((await run(...wish)).code).toBe(0)
    expect(await readFile(file, 'utf8')).toBe(text)
    expect((await run('--output', 'x.txt', '--dry-run')).code).toBe(2)
    expect((await run('--yes')).code).toBe(2)
    const route = `/api/v1/accounts/${account}/eject`
    const security = (await custody.createClient('security')).token
    expect((await custody.call('POST', route, {}, { token: security })).status).toBe(403)
  })

  it.each([
    ['=cmd()', '"\'=cmd()"'],
    ['-1', '"\'-1"'],
    ['a,"b"', '"a,""b"""'],
    ['plain', 'plain'],
  ])('writes %s into a cell that no spreadsheet runs', (text, cell) => {
    expect(csvCell(text)).toBe(cell)
  })
})
