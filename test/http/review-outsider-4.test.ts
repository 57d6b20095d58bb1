import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { startTestCustody, type TestCustody } from '../support/custody.ts'

describe('a newcomer with AWS at the other end', () => {
  let custody: TestCustody
  let ada: string
  const world = () => custody.aws!.world
  const iam = (operation: string, input: Record<string, unknown>) =>
    world().call({
      service: 'iam',
      operation,
      input,
      accessKeyId: world().admin.accessKeyId,
      region: 'us-east-1',
    })
  const cli = async (line: string) => {
    return runCli(line, {
      env: { CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: custody.adminToken },
      cwd: custody.home,
    })
  }
  const adopt = (entries: readonly Record<string, unknown>[]) =>
    custody.call('POST', '/api/v1/providers/aws-prod/adopt', { entries })
  const externals = async () => {
    const { body } = await custody.call('GET', '/api/v1/providers/aws-prod/discovery')
    return (body.items as { external: string; managed: boolean }[]).map((i) => i.external)
  }

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    ada = await custody.createPerson('ada@example.com')
    for (const UserName of ['one', 'two', 'three']) {
      iam('CreateUser', { UserName })
      iam('CreateAccessKey', { UserName })
    }
  })
  afterAll(() => custody.close())

  it('lists and checks all providers from the command line', async () => {
    const list = await cli('provider list')
    const check = await cli('provider check')

    expect(list).toMatchObject({ code: 0, stderr: '' })
    expect(list.stdout).toMatch(/aws-prod +aws-iam/)
    expect(check.code).toBe(0)
    expect(check.stdout).toContain('aws-prod (aws-iam, provider)')
  })

  it('adopts the rest of a list in which one entry cannot be read, and says what is wrong with it', async () => {
    const [one, two, three] = await externals()
    const terms = { owner: ada, purpose: 'p' }

    const { status, body } = await adopt([
      { ...terms, external: one, userName: 'one', expiresAt: 'tomorrow' },
      { ...terms, external: two, userName: 'two' },
      { ...terms, external: three, userName: 'three' },
    ])

    expect(status).toBe(200)
    expect(body.items.map((i: { status: string }) => i.status)).toEqual([
      'failed',
      'adopted',
      'adopted',
    ])
    expect(body.items[0].external).toBe(one)
    expect(body.items[0].error.message).toContain('expiresAt: must be a date')
    expect((await adopt([{ ...terms, userName: 'x' }])).status).toBe(400)
  })

  it('pages through adopted accounts and credentials: their ids are cursors like any other', async () => {
    for (const list of ['accounts', 'credentials']) {
      const names = new Set<string>()
      let cursor: string | null = null
      do {
        const after: string = cursor === null ? '' : `&cursor=${cursor}`
        const { status, body } = await custody.call('GET', `/api/v1/${list}?limit=1${after}`)
        expect(status).toBe(200)
        for (const { id } of body.items) names.add(id)
        cursor = body.cursor
      } while (cursor !== null)

      expect(names.size).toBe(2)
    }
  })
})
