import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Instant } from '../../src/domain/time.ts'
import type { AdoptionEntry } from '../../src/lifecycle/engine.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine, userSchema } from '../support/engine.ts'
import { FoundWorld, foundModule } from '../support/found-provider.ts'

describe('what was there before Custody', () => {
  const world = new FoundWorld()
  const apps = new FoundWorld()
  let custody: TestEngine
  let ada: string

  const entry = (external: string, more: Partial<AdoptionEntry> = {}): AdoptionEntry => ({
    external,
    owner: ada,
    userName: unique('imported'),
    purpose: 'found in the account',
    ...more,
  })
  const adopt = async (...entries: readonly AdoptionEntry[]) =>
    custody.engine.adopt(custody.admin, 'found', entries)
  const discover = (from: string | null = null) =>
    custody.engine.discover(custody.admin, 'found', from)
  const enforced = { labels: ['enforcement=enforce'] }
  const failure = (kind: 'throttled' | 'unavailable') =>
    new ProviderError(kind, 'not now', { outcome: 'notApplied' })

  beforeAll(async () => {
    custody = await startTestEngine({
      more: [
        { entry: { name: 'found', type: 'found', config: {} }, module: foundModule(world) },
        {
          entry: { name: 'apps', type: 'found-by-hand', config: {} },
          module: foundModule(apps, { byHand: true }),
        },
      ],
    })
  })
  beforeEach(async () => {
    world.users.length = 0
    apps.users.length = 0
    world.pageSize = 100
    ada = await custody.person()
  })
  afterAll(() => custody.close())

  it('is listed in pages with its age, its last use and who might own it, and nothing changes', async () => {
    const emails = [{ value: 'Grace@Example.com' }]
    const userName = unique('grace')
    const write = { type: 'person', userName, externalId: null, active: true } as const
    const attributes = { schemas: [userSchema], emails }
    const { person } = await custody.engine.createPerson(custody.admin, { ...write, attributes })
    const gone = await custody.person()
    await custody.leave(gone)
    const lastUsedAt = '2026-11-01T00:00:00.000Z' as Instant
    world.add('deployer', [{ lastUsedAt }, {}], {
      owners: [
        { hint: (await custody.engine.owner(custody.admin, gone)).userName, from: 'tag' },
        { hint: 'grace@example.COM', from: 'creator' },
      ],
    })
    world.add('nobody', [], { owners: [{ hint: 'unheard-of', from: 'holder' }] })
    world.add('third', [{}])
    world.pageSize = 2
    const before = world.text()

    const first = await discover()
    const second = await discover(first.next)

    expect(world.text()).toBe(before)
    expect(first.total).toBe(3)
    expect(first.items).toMatchObject([
      { name: 'deployer', lastUsedAt, managed: false, keys: [{ active: true }, {}] },
      { name: 'nobody', owners: [], lastUsedAt: null },
    ])
    expect(first.items[0]!.owners).toEqual([
      {
        id: person.id,
        userName,
        active: true,
        reason: 'creator "grace@example.COM" is their address',
      },
      expect.objectContaining({ id: gone, active: false }),
    ])
    expect([second.items.length, second.next]).toEqual([1, null])
  })

  it('asks for patience while the provider throttles, and names what else fails', async () => {
    world.failures.push(failure('throttled'), failure('unavailable'))

    expect(await discover('7')).toMatchObject({ items: [], next: '7', retryAfter: 5 })
    await expect(discover()).rejects.toMatchObject({ code: 'providerFailed', status: 502 })
    await expect(custody.engine.discover(custody.admin, 'tokens', null)).rejects.toMatchObject({
      code: 'notDiscoverable',
    })
  })

  it('gets an owner, an end date and a credential for each key, once, and then counts as managed', async () => {
    const user = world.add('deployer', [{}, { active: false }])

    const [answer] = await adopt(entry(user.id, { vendor: 'Acme CI', environment: 'test' }))
    const [again] = await adopt(entry(user.id, { userName: 'another' }))

    expect(answer).toMatchObject({ status: 'adopted', error: null })
    expect(again).toMatchObject({ status: 'already', account: answer!.account })
    const account = await custody.account(answer!.account!)
    expect(account).toMatchObject({
      imported: true,
      owner: { type: 'User', id: ada },
      status: 'active',
      labels: ['vendor=Acme CI'],
    })
    expect(user.account).toBe(account.id)
    const credentials = await custody.credentials(account.id)
    expect(credentials.map((c) => [c.keyId, c.status, c.rotateAfter])).toEqual([
      ['deployer-0', 'active', null],
      ['deployer-1', 'disabled', null],
    ])
    expect((await custody.keys(credentials[0]!.id))[0]).toMatchObject({
      keyId: 'deployer-0',
      issuedAt: '2024-01-05T00:00:00.000Z',
      fingerprint: 'unknown',
      sinkVersion: null,
    })
    expect((await discover()).items).toMatchObject([{ managed: true, account: account.id }])
    expect(await custody.store.read.vendors(account.tenant, null, 9)).toContainEqual({
      vendor: 'Acme CI',
      accounts: 1,
    })
  })

  it('is marked for nobody when owner or date are refused, and each entry stands alone', async () => {
    const left = await custody.person()
    await custody.leave(left)
    const users = ['a', 'b', 'c', 'd'].map((name) => world.add(name, [{}]))
    const tooFar = '2031-01-01T00:00:00.000Z' as Instant

    const answers = await adopt(
      entry(users[0]!.id, { owner: left }),
      entry(users[1]!.id, { owner: 'unheard-of' }),
      entry(users[2]!.id, { expiresAt: tooFar }),
      entry('id-gone'),
      entry(users[3]!.id),
    )

    expect(answers.map((a) => a.error?.code ?? a.status)).toEqual([
      'ownerGone',
      'ownerUnknown',
      'expiryTooFar',
      'notFound',
      'adopted',
    ])
    expect(users.map((u) => u.account !== null)).toEqual([false, false, false, true])
  })

  it('converges when it was cut off between the mark and the commit', async () => {
    const user = world.add('interrupted', [{}])
    // adopt() works, the listing after it does not: as if the process had died in between.
    const list = failure('unavailable')
    world.failures.push(undefined as unknown as ProviderError, list)

    const [cut] = await adopt(entry(user.id))
    const mark = user.account
    const committed = await custody.store.read.account(custody.admin.tenant, mark!)
    const found = (await discover()).items[0]!
    const [whole] = await adopt(entry(user.id))

    expect(cut).toMatchObject({ status: 'failed', error: { code: 'unavailable' } })
    expect(mark).not.toBeNull()
    expect(committed).toBeNull()
    expect(found).toMatchObject({ managed: false, obstacle: null })
    expect(whole).toMatchObject({ status: 'adopted', account: mark })
  })

  it('answers "later" for what is throttled and for all behind it', async () => {
    const users = ['slow', 'slower'].map((name) => world.add(name, [{}]))
    world.failures.push(failure('throttled'))

    const answers = await adopt(...users.map((u) => entry(u.id)))

    expect(answers.map((a) => [a.status, a.retryAfter])).toEqual([
      ['later', 5],
      ['later', 5],
    ])
    expect(users.map((u) => u.account)).toEqual([null, null])
  })

  it('is only watched when its owner leaves, until its label releases it to enforcement', async () => {
    const user = world.add('watched', [{}])
    const other = world.add('enforced', [{}])
    const [watched] = await adopt(entry(user.id))
    const [bound] = await adopt(entry(other.id, enforced))

    await custody.leave(ada)
    await custody.pass(10)

    expect((await custody.account(watched!.account!)).status).toBe('active')
    expect(user.keys[0]!.active).toBe(true)
    const rows = await custody.store.read.audit(custody.admin.tenant, {
      target: watched!.account!,
      after: null,
      limit: 9,
    })
    expect(rows.map((r) => r.action)).toContain('account.wouldHave')
    expect((await custody.account(bound!.account!)).status).toBe('disabled')
    expect(other.keys[0]!.active).toBe(false)
  })

  it('with an heir keeps its key no longer than a leaver’s may live, though it cannot be replaced', async () => {
    const heir = await custody.person()
    const user = world.add('inherited', [{}])
    const [answer] = await adopt(entry(user.id, enforced))
    const account = await custody.account(answer!.account!)
    const nominatedAt = custody.clock.now()
    const backups = [{ type: 'User', id: heir, nominatedAt, acceptedAt: nominatedAt }] as const
    await custody.store.commit([
      { type: 'account', account: { ...account, backups }, expectedVersion: account.version },
    ])

    await custody.leave(ada)
    await custody.pass(10)
    const meanwhile = user.keys.map((k) => k.active)
    const [credential] = await custody.credentials(account.id)
    const [operation] = await custody.operations(credential!.id)
    await custody.pass(hours(1) + 60, 60)

    expect((await custody.account(account.id)).status).toBe('orphaned')
    expect(meanwhile).toEqual([true])
    expect(operation).toMatchObject({
      kind: 'rotate',
      failure: { code: 'denied', message: expect.stringContaining('deliverTo') },
    })
    expect(user.keys.filter((k) => k.active)).toEqual([])
  })

  it('ends at its end date, and by an operator’s word whatever is only watched', async () => {
    const user = world.add('short', [{}])
    const expiresAt = new Date(Date.parse(custody.clock.now()) + 3_600_000).toISOString() as Instant
    const [answer] = await adopt(entry(user.id, { expiresAt, ...enforced }))
    const paused = world.add('paused', [{}])
    const [other] = await adopt(entry(paused.id))
    const [credential] = await custody.credentials(other!.account!)

    custody.clock.advance(hours(2))
    await custody.engine.runSweep(custody.admin, 'expiry')
    await custody.engine.revokeCredential(custody.admin, credential!.id)
    await custody.pass(10)

    expect((await custody.account(answer!.account!)).status).toBe('expired')
    expect(user.keys[0]!.active).toBe(false)
    expect(await custody.credential(credential!.id)).toMatchObject({ status: 'revoked' })
    expect(paused.keys).toEqual([])
  })

  it('is rotated once somebody said where to deliver, which is said once', async () => {
    const user = world.add('rotated', [{}])
    const [answer] = await adopt(entry(user.id, enforced))
    const [credential] = await custody.credentials(answer!.account!)
    const { id } = credential!
    const want = {
      serviceAccount: answer!.account!,
      provider: 'found',
      kind: 'access-key',
      displayName: null,
      scopes: [],
      readers: [],
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: undefined,
    } as const
    const deliver = (path: string) => ({ ...want, deliverTo: { sink: 'files', path } })
    const path = unique('found')

    await expect(custody.engine.rotateCredential(custody.admin, id)).rejects.toMatchObject({
      code: 'deliverToMissing',
    })
    await custody.engine.updateCredential(custody.admin, credential!, deliver(path))
    const placed = await custody.credential(id)
    await custody.engine.updateCredential(custody.admin, placed, deliver(unique('elsewhere')))
    await custody.engine.rotateCredential(custody.admin, id)
    await custody.pass(5)

    const rotated = await custody.credential(id)
    expect(rotated).toMatchObject({ deliverTo: { sink: 'files', path }, generation: 2 })
    expect(await custody.served(rotated)).toBe(`secret of ${rotated.keyId}`)
    expect(user.keys.map((k) => k.keyId)).toEqual(['rotated-0', rotated.keyId])
    await custody.pass(days(15), hours(6))
    expect(user.keys.map((k) => k.keyId)).toEqual([rotated.keyId])
  })

  it('of one vendor is closed as one cause; what no API ends is asked of its sponsor until it is gone', async () => {
    const vendor = unique('Vendor')
    const user = world.add('api', [{}])
    const app = apps.add('app', [{}])
    await adopt(entry(user.id, { vendor }))
    await custody.engine.adopt(custody.admin, 'apps', [entry(app.id, { vendor })])
    const close = (dryRun: boolean) =>
      custody.engine.closeVendor(custody.admin, vendor, { reason: 'contract ended', dryRun })

    const plan = await close(true)
    const before = user.keys[0]!.active
    const closing = await close(false)
    await custody.pass(10)
    const again = await close(false)
    const waiting = await custody.engine.vendor(custody.admin, vendor)

    expect(plan).toMatchObject({ closed: 2, byHand: 1, cause: null })
    expect(before).toBe(true)
    expect(closing).toMatchObject({ closed: 2, byHand: 1 })
    expect(again).toMatchObject({ closed: 0, cause: null })
    expect(user.keys[0]!.active).toBe(false)
    // Nobody ever saw the secret of either, so neither was tried.
    expect(waiting).toMatchObject({ verdict: 'incomplete', open: 2 })
    const [task] = waiting.accounts.flatMap((a) => a.tasks)
    expect(task).toMatchObject({ assignee: ada, keyId: 'app-0' })
    expect(task!.instructions).toContain('https://found.example/id-app')
    const operations = await custody.store.read.operations({
      tenant: custody.admin.tenant,
      cause: closing.cause!,
      after: null,
      limit: 9,
    })
    expect(operations.map((o) => `${o.status} ${o.failure?.code ?? ''}`).toSorted()).toEqual([
      'succeeded ',
      'waiting taskOpen',
    ])

    app.keys.length = 0
    await custody.pass(hours(1) + 10, 600)
    custody.clock.advance(days(91))
    await custody.engine.runSweep(custody.admin, 'expiry')
    await custody.pass(10)
    expect(user.keys).toEqual([])
    expect(await custody.engine.vendor(custody.admin, vendor)).toMatchObject({
      verdict: 'complete',
      open: 0,
    })
    expect((await custody.engine.task(custody.admin, task!.task)).status).toBe('cancelled')
  })
})
