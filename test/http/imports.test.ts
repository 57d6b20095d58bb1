import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import type { TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, patchUrn, startTestCustody } from '../support/custody.ts'

describe('an import over HTTP and on the command line, with AWS and GitHub at the other end', () => {
  let custody: TestCustody
  let ada: string
  const tokens: Record<string, string> = {}

  const as = (role: string) => ({ token: tokens[role]! })
  const iam = (operation: string, input: Record<string, unknown>) => {
    const { world } = custody.aws!
    const { accessKeyId } = world.admin
    return world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
  }
  const awsState = () => {
    const { world } = custody.aws!
    return JSON.stringify(world.users().map((u) => [u, world.keysOf(u.userName)]))
  }
  const custodyCli = async (...args: string[]) => {
    return runCli(args, {
      env: { CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: custody.adminToken },
      cwd: custody.home,
    })
  }
  const read = (name: string) => readFile(path.join(custody.home, name), 'utf8')
  /** What a reviewer does: this one is adopted, as that. */
  const review = async (file: string, name: string, fields: Readonly<Record<string, string>>) => {
    const entries = (await read(file)).split('\n\n')
    const edited = entries.map((entry) =>
      entry.includes(`# ${name}: `)
        ? Object.entries({ adopt: 'true', ...fields }).reduce(
            (text, [field, value]) => text.replace(new RegExp(`( ${field}:) .*`), `$1 ${value}`),
            entry,
          )
        : entry,
    )
    const text = edited.join('\n\n')
    await writeFile(path.join(custody.home, file), text)
  }
  const accountOf = async (userName: string) => {
    const { body } = await custody.call('GET', '/api/v1/accounts')
    return body.items.find((a: { userName: string }) => a.userName === userName)
  }

  beforeAll(async () => {
    custody = await startTestCustody({ sandboxes: true })
    for (const role of ['auditor', 'security', 'requester']) {
      tokens[role] = (await custody.createClient(role)).token
    }
    ada = await custody.createPerson('ada@example.com')
    tokens['owner'] = (await custody.createClient('owner', { person: ada })).token
    iam('CreateUser', { UserName: 'ci', Tags: [{ Key: 'owner', Value: 'ADA@example.com' }] })
    iam('CreateAccessKey', { UserName: 'ci' })
    iam('CreateUser', { UserName: 'backup' })
  })
  afterAll(() => custody.close())

  it('lists with pages and roles, and changes nothing there', async () => {
    const before = awsState()

    const { status, body } = await custody.call(
      'GET',
      '/api/v1/providers/aws-prod/discovery',
      undefined,
      as('auditor'),
    )

    expect(awsState()).toBe(before)
    expect(status).toBe(200)
    const ci = body.items.find((i: { name: string }) => i.name === '/ci')
    expect(ci).toMatchObject({ managed: false, owners: [{ id: ada, active: true }] })
    const get = async (route: string, role: string) =>
      (await custody.call('GET', `/api/v1/providers/${route}`, undefined, as(role))).status
    expect(await get('aws-prod/discovery', 'requester')).toBe(403)
    expect(await get('nowhere/discovery', 'security')).toBe(404)
    expect(await get('tokens/discovery', 'security')).toBe(400)
    expect(await get('aws-prod/discovery?cursor=***', 'security')).toBe(400)
    // Well written, and no place in this listing: that is the client's mistake, not the provider's.
    expect(await get('aws-prod/discovery?cursor=Z2FyYmFnZQ', 'security')).toBe(400)
    expect(await get('aws-prod/discovery?limit=3', 'security')).toBe(400)
  })

  it.each(['vendors/%00', 'vendors?cursor=AA', 'tasks?assignee=a%00', 'tasks?account=%00'])(
    'refuses text that not every database takes: %s',
    async (route) => {
      const answer = await custody.call('GET', `/api/v1/${route}`, undefined, as('security'))

      expect(answer.status).toBe(400)
    },
  )

  it('refuses what it cannot read, before anything is marked', async () => {
    const before = awsState()
    const post = async (body: unknown, role = 'security') =>
      (await custody.call('POST', '/api/v1/providers/aws-prod/adopt', body, as(role))).status
    const entry = { external: 'x', owner: ada, purpose: 'p' }

    expect(await post({ ...entry, owner: undefined })).toBe(400)
    expect(await post({ ...entry, ownr: ada })).toBe(400)
    expect(await post({ entries: [] })).toBe(400)
    expect(await post({ entries: Array.from({ length: 21 }, () => entry) })).toBe(400)
    expect(await post({ ...entry, deliverTo: 'files:../x' })).toBe(400)
    expect(await post({ ...entry, labels: ['two words=x'] })).toBe(400)
    expect(await post(entry, 'auditor')).toBe(403)
    expect(awsState()).toBe(before)
  })

  it('writes a plan that a person reviews, and adopts what the plan says and nothing else', async () => {
    const before = awsState()
    const found = await custodyCli('provider', 'import', 'aws-prod')
    const plan = await read('import-aws-prod.yaml')

    expect(found.code, found.stderr).toBe(0)
    expect(awsState()).toBe(before)
    expect(found.stdout).toContain('/ci')
    expect(plan).toContain('adopt: false')
    expect(plan).not.toContain('    adopt: true')
    expect(plan).toContain(`# maybe ada@example.com (${ada}): tag "ADA@example.com"`)
    expect((await custodyCli('provider', 'import', 'aws-prod')).code).toBe(5)
    const untouched = await custodyCli('apply', 'import-aws-prod.yaml', '--yes')
    expect([untouched.code, awsState()]).toEqual([0, before])

    await review('import-aws-prod.yaml', '/ci', { userName: 'ci' })
    const unfinished = await custodyCli('apply', 'import-aws-prod.yaml', '--yes')
    expect(unfinished.code).toBe(2)
    expect(unfinished.stderr).toMatch(/import-aws-prod\.yaml:\d+: entries\[\d\]\.purpose/)

    await review('import-aws-prod.yaml', '/ci', { purpose: '"builds"', owner: '"nobody-here"' })
    const unowned = await custodyCli('apply', 'import-aws-prod.yaml', '--yes')
    expect(unowned.code).toBe(1)
    expect(unowned.stderr).toMatch(/^ci: .*nobody-here/)

    await review('import-aws-prod.yaml', '/ci', { purpose: '"builds"', owner: `"${ada}"` })
    const applied = await custodyCli(
      'provider',
      'import',
      'aws-prod',
      '--apply',
      'import-aws-prod.yaml',
      '--yes',
    )
    const again = await custodyCli('apply', 'import-aws-prod.yaml', '--yes')

    expect(applied).toMatchObject({ code: 0, stdout: '1 adopted, 0 managed already, 0 failed\n' })
    expect(again).toMatchObject({ code: 0, stdout: '0 adopted, 1 managed already, 0 failed\n' })
    expect(await accountOf('ci')).toMatchObject({ imported: true, owner: { id: ada } })
    expect(await accountOf('backup')).toBeUndefined()
    const scim = await custody.call('GET', `/scim/v2/Users/${(await accountOf('ci')).id}`)
    expect(scim.text).not.toContain('imported')
    expect(scim.body[nhiUrn].credentials).toMatchObject([
      { provider: 'aws-prod', status: 'active' },
    ])
    const next = await custodyCli('provider', 'import', 'aws-prod', '--output', 'second.yaml')
    expect(next.stderr).toContain('1 managed')
    expect(await read('second.yaml')).not.toContain('/ci')
  })

  it('rotates what was adopted once its deliverTo was said, by a PATCH', async () => {
    const account = await accountOf('ci')
    const { body } = await custody.call('GET', `/api/v1/accounts/${account.id}`)
    const [{ id, keyId }] = body.credentials
    const patch = (value: string) =>
      custody.call('PATCH', `/scim/v2/Credentials/${id}`, {
        schemas: [patchUrn],
        Operations: [{ op: 'add', path: 'deliverTo', value }],
      })
    const rotate = () => custody.call('POST', `/api/v1/credentials/${id}/rotate`)

    expect(body.enforcement).toBe('observe')
    expect((await rotate()).status).toBe(409)
    expect((await patch('aws-secrets:imported/ci')).status).toBe(200)
    expect((await patch('aws-secrets:imported/other')).body.scimType).toBe('mutability')
    // Its first key was never delivered by us, so nobody could be given it back.
    const rehearsed = await custody.call('POST', `/api/v1/credentials/${id}/rehearse`)
    expect(rehearsed).toMatchObject({ status: 409 })
    expect(rehearsed.body.detail).toContain('rotate it once')
    expect((await rotate()).status).toBe(202)

    const rotated = await eventually(
      async () => (await custody.call('GET', `/api/v1/credentials/${id}`)).body,
      (credential) => credential.generation === 2,
    )
    expect(rotated).toMatchObject({ status: 'active', previousKeyId: keyId })
    expect(custody.aws!.world.secret('custody/default/imported/ci')?.current).toContain(
      rotated.keyId,
    )
    const { body: sweep } = await custody.call('POST', '/api/v1/sweeps/reconcile')
    for (const operation of sweep.items.flatMap((i: { operations: string[] }) => i.operations)) {
      await eventually(
        async () => (await custody.call('GET', `/api/v1/operations/${operation}`)).body,
        (o) => o.finishedAt !== null,
      )
    }
    const { body: findings } = await custody.call('GET', '/api/v1/findings')
    const about = findings.items.filter((f: { account: string }) => f.account === account.id)
    expect(about.map((f: { kind: string }) => f.kind)).toEqual([])
  })

  it('closes a vendor by one command; the app that no API ends is a task, and ends when it is gone', async () => {
    const { world } = custody.github!
    const { permissions } = world.installations.get(world.app.installationId)!
    Object.assign(permissions, { organization_administration: 'read' })
    const app = world.people.installForeignApp({
      slug: 'deploybot',
      publisher: 'shipfast',
    })
    await custodyCli('provider', 'import', 'github-acme')
    await review('import-github-acme.yaml', 'deploybot', {
      owner: '"ada@example.com"',
      purpose: '"deploys"',
    })
    const applied = await custodyCli('apply', 'import-github-acme.yaml', '--yes')
    expect(applied.stdout, applied.stderr).toContain('1 adopted')
    const vendors = await custodyCli('vendor', 'list', '--json')
    expect(JSON.parse(vendors.stdout)).toEqual([{ vendor: 'shipfast', accounts: 1 }])

    const why = ['--reason', 'contract ended']
    const plan = await custodyCli('vendor', 'close', 'shipfast', ...why, '--dry-run')
    expect(plan.stderr).toContain('1 account(s) would be retired')
    const closed = await custodyCli('vendor', 'close', 'shipfast', ...why, '--yes')
    expect(closed.stderr).toContain('1 key(s) no API ends')
    const [task] = await eventually(
      async () => (await custody.call('GET', '/api/v1/tasks?status=open')).body.items,
      (items) => items.length > 0,
    )
    expect(task).toMatchObject({ assignee: ada, action: 'remove', overdue: false })
    expect(task.instructions).toContain(`settings/installations/${app.id}`)
    expect((await custodyCli('vendor', 'close', 'nobody', ...why, '--yes')).code).toBe(3)

    await writeFile(path.join(custody.home, 'shot.png'), 'not really a picture')
    const { foreignInstallations } = world.people
    foreignInstallations.splice(
      foreignInstallations.findIndex((i) => i.id === app.id),
      1,
    )
    const done = await custodyCli('task', 'done', task.id, '--evidence', 'shot.png', '--removed')
    const sha256 = createHash('sha256').update('not really a picture').digest('hex')
    expect(done.code, done.stderr).toBe(0)
    expect(done.stdout).toContain(sha256)
    const evidence = await fetch(`${custody.url}/api/v1/tasks/${task.id}/evidence`, {
      headers: { authorization: `Bearer ${tokens['owner']}` },
    })
    expect(await evidence.text()).toBe('not really a picture')
    expect(evidence.headers.get('content-disposition')).toContain('attachment')
    const reopen = `/api/v1/tasks/${task.id}/reopen`
    const reason = { reason: 'unreadable' }
    expect((await custody.call('POST', reopen, reason, as('owner'))).status).toBe(403)
    const report = await eventually(
      async () => (await custody.call('GET', '/api/v1/vendors/shipfast')).body,
      (vendor) => vendor.verdict === 'complete',
    )
    expect(report.open).toBe(0)
    expect((await custody.call('POST', reopen, reason)).body).toMatchObject({ status: 'open' })
  })
})
