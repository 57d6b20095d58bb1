import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { patchUrn, startTestCustody, type TestCustody } from '../support/custody.ts'

const personUrn = 'urn:custody:scim:schemas:extension:person:1.0:User'

describe('leave dates', () => {
  let custody: TestCustody
  let cwd: string
  let ada: string
  let max: string
  beforeAll(async () => {
    custody = await startTestCustody({ roles: ['http'] })
    cwd = await mkdtemp(path.join(tmpdir(), 'custody-cli-dates-'))
    ada = await custody.createPerson('ada@x.test')
    max = await custody.createPerson('max@x.test')
  })
  afterAll(async () => {
    await custody.close()
    await rm(cwd, { recursive: true, force: true })
  })

  async function run(line: string, list: string | Buffer) {
    await writeFile(path.join(cwd, 'dates.csv'), list)
    return runCli(`directory leave-dates dates.csv ${line}`.trim(), {
      env: { CUSTODY_HOME: custody.home },
      cwd,
    })
  }
  const leavesAt = async (id: string) =>
    (await custody.call('GET', `/api/v1/owners/${id}`)).body.leavesAt as string | null

  it('come from a list: looked at first, then set, in the zone that was said', async () => {
    const list = '\uFEFFuserName,date\r\nADA@x.test,2099-01-31\r\nmax@x.test,\r\n'
    const dry = await run('--dry-run', list)
    expect([dry.code, await leavesAt(ada)]).toEqual([0, null])
    expect(dry.stdout).toMatch(/2 +ada@x\.test +2099-02-01T00:00:00\.000Z/)

    expect((await run('', list)).code).toBe(2)
    expect((await run('--yes --zone Europe/Berlin', list)).code).toBe(0)
    expect([await leavesAt(ada), await leavesAt(max)]).toEqual(['2099-01-31T23:00:00.000Z', null])
    const { body } = await custody.call('GET', `/api/v1/owners/${ada}/impact`)
    expect(body).toMatchObject({ leavesAt: '2099-01-31T23:00:00.000Z', items: [] })
  })

  it.each([
    ['a formula', 'userName,date\n=cmd,2099-01-01\n', /dates\.csv: line 2: .*formula/],
    ['another encoding', Buffer.from('userName,date\n', 'utf16le'), /line 1: .*UTF-8/],
    ['two names', 'userName,email,date\nada,a,2099-01-01\n', /line 1: .*exactly one of/],
    ['a person twice', 'userName,date\nmax@x.test,\nMAX@x.test,\n', /line 3: the same person/],
    ['nobody', 'externalId,date\nx,2099-01-01\n', /line 2: nobody here has that externalId/],
    ['no date', 'userName,date\nmax@x.test,2099-02-29\n', /line 2: the date does not exist/],
  ])('refuse %s, and leave everything as it was', async (_, list, sentence) => {
    const before = await leavesAt(ada)
    const { code, stderr } = await run('--yes', list)
    expect(code).toBe(2)
    expect(stderr).toMatch(sentence)
    expect(stderr).toContain('Nothing was changed')
    expect(await leavesAt(ada)).toBe(before)
  })

  it('come from the directory, which can move them and never block a leaving with them', async () => {
    const patch = (value: unknown, more: readonly unknown[] = []) =>
      custody.call('PATCH', `/scim/v2/Users/${max}`, {
        schemas: [patchUrn],
        Operations: [{ op: 'replace', path: `${personUrn}:leavesAt`, value }, ...more],
      })
    expect((await patch('2099-03-31')).body[personUrn]).toEqual({ leavesAt: '2099-03-31' })
    expect(await leavesAt(max)).toBe('2099-04-01T00:00:00.000Z')
    await patch('2099-05-01T12:00:00+02:00')
    expect(await leavesAt(max)).toBe('2099-05-01T10:00:00.000Z')
    const off = { op: 'replace', path: 'active', value: false }
    const { status, body } = await patch('next spring', [off])
    expect([status, body.active]).toEqual([200, false])
    expect(await leavesAt(max)).toBe('2099-05-01T10:00:00.000Z')
  })

  it('are not for a directory or an owner to set by list', async () => {
    const { token } = await custody.createClient('auditor')
    const body = { key: 'userName', entries: [], apply: false }
    const { status } = await custody.call('POST', '/api/v1/leave-dates', body, { token })
    expect(status).toBe(403)
  })
})
