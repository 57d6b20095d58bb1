import { expect } from 'vitest'
import type { AccountWrite } from '../../src/domain/want.ts'
import { addSeconds, instantOf } from '../../src/domain/time.ts'
import { createClockGuard, enterRestored, releaseByOperator } from '../../src/lifecycle/engine.ts'
import { anotherWorker, consumedBy, days, hours, minutes, mortal, wants } from './engine.ts'
import type { Bench, Scenario } from './whatif.ts'

const restartOnly = consumedBy({ name: 'monolith', kind: 'restart-only' })

/** An account with an access key, and a rotation of it that has a new key. */
const rotated = async ({ test, person, credentialOf }: Bench, more: Partial<AccountWrite> = {}) => {
  const expiresAt = addSeconds(test.clock.now(), days(300))
  const want = { credentials: [wants.accessKey()], expiresAt, ...more }
  const account = await test.request(await person(), want)
  const { id, keyId } = await credentialOf(account)
  const operation = (await test.engine.rotateCredential(test.admin, id)).id
  await test.pass(2)
  return { account, id, operation, old: keyId! }
}

/** The page's lines about keys, rights and machines; the key is the line's first cell. */
export const keyScenarios: Readonly<Record<string, Scenario>> = {
  'a freeze window is on': async (bench, row) => {
    const { test, person, sweep } = bench
    expect(row.value('freeze')).toBe('[]')
    // The window of the bench's own rule. This line runs first: later ones are past these dates.
    const account = await test.request(await person(), { labels: ['rests'] })
    const revoked = await test.request(await person(), { labels: ['rests'] })
    test.clock.set(instantOf(Date.parse('2026-12-24T12:00:00.000Z')))
    await sweep('rotation')
    const credential = await bench.credentialOf(account)
    expect(credential.generation).toBe(1)
    expect(test.engine.frozen(account, credential)).toMatchObject({ window: 'turn' })
    await test.engine.revokeCredential(test.admin, (await bench.credentialOf(revoked)).id)
    await test.pass(2)
    row.is('revoked', (await bench.credentialOf(revoked)).status)
    test.clock.set(instantOf(Date.parse('2027-01-04T01:00:00.000Z')))
    await sweep('rotation')
    expect((await bench.credentialOf(account)).generation).toBe(2)
  },

  'nobody is seen with the new key': async (bench, row) => {
    const { test } = bench
    const one = await rotated(bench, { attributes: restartOnly })
    await test.pass(row.seconds('rotation.overlap') + 60, days(7))
    const waiting = await test.operation(one.operation)
    row.is('waiting', waiting.status)
    row.is('consumersBehind', waiting.failure?.code)
    expect(waiting.failure?.message).toContain('"monolith"')
    expect(test.aws.world.wouldAccept(one.old)).toBe(true)
    expect(await test.works(await test.credential(one.id))).toBe(true)
    const reminded = async () =>
      (await bench.actions(one.id)).filter((a) => a === 'consumer.reminded').length
    const before = await reminded()
    await test.pass(row.seconds('rotation.remindEvery') * 2, row.seconds('rotation.remindEvery'))
    expect((await reminded()) - before).toBe(2)
    const word = { credential: one.id, generation: 2 }
    await test.engine.reportSeen(test.admin, `${one.account.id}:monolith`, word)
    await test.pass(1)
    expect(test.aws.world.wouldAccept(one.old)).toBe(false)
  },

  'a consumer has not moved at the maximum age': async (bench, row) => {
    const { test } = bench
    const one = await rotated(bench, { attributes: restartOnly })
    await test.pass(row.seconds('rotation.maxAge') + days(7), days(7))
    row.is('ask', row.value('rotation.atMaxAge'))
    const tasks = await test.store.read.tasksOfAccount(test.admin.tenant, one.account.id)
    expect(tasks).toMatchObject([{ action: 'decide', status: 'open' }])
    row.is('security', tasks[0]!.assignee)
    expect(test.aws.world.wouldAccept(one.old)).toBe(true)
  },

  'no consumer is known, and nobody used either key': async (bench, row) => {
    const { test } = bench
    const one = await rotated(bench, { attributes: consumedBy() })
    const maxAge = row.seconds('rotation.maxAge')
    await test.pass(maxAge - days(2), days(8))
    expect(test.aws.world.wouldAccept(one.old)).toBe(true)
    await test.pass(days(14), days(7))
    expect(test.aws.world.wouldAccept(one.old)).toBe(false)
    expect(await bench.actions(one.id)).toContain('key.retiredUnseen')
    expect(await test.works(await test.credential(one.id))).toBe(true)
  },

  'somebody attaches a policy by hand': async (bench, row) => {
    const { test, person, sweep } = bench
    const account = await test.request(await person(), { credentials: [wants.accessKey()] })
    const input = {
      UserName: test.awsUser(account.id)!,
      PolicyArn: 'arn:aws:iam::aws:policy/AdministratorAccess',
    }
    const { accessKeyId } = test.aws.world.admin
    const operation = 'AttachUserPolicy'
    const call = { service: 'iam', operation, input, accessKeyId, region: 'us-east-1' } as const
    test.aws.world.call(call)
    await test.pass(hours(1), minutes(30))
    await sweep('reconcile')
    await test.pass(20, 10)
    const query = { tenant: test.admin.tenant, after: null, limit: 50 }
    const kind = 'entitlement-drift'
    const [finding] = (await test.store.read.findings({ ...query, kind })).filter(
      (f) => f.account === account.id,
    )
    row.is('entitlement-drift', finding?.kind)
    row.is('active', await bench.status(account))
    expect(finding?.status).toBe('open')
    await test.engine.revertFinding(test.admin, finding!.id, 'nobody asked for it')
    await test.pass(60, 10)
    expect((await test.store.read.finding(test.admin.tenant, finding!.id))?.status).toBe('resolved')
  },

  'the owner leaves a group that grants scopes': async (bench, row) => {
    const { test, person } = bench
    const owner = await person()
    const group = await bench.group(owner)
    const scopesFrom = [{ group: group.id, scopes: ['iam:ListUsers'] }]
    const credentials = [wants.accessKey({ scopes: ['iam:GetUser'], scopesFrom })]
    const account = await test.request(owner, { credentials })
    const before = await bench.credentialOf(account)
    expect(before.grantedScopes).toContain('iam:ListUsers')
    const list = () => {
      const call = { service: 'iam', operation: 'ListUsers', input: {} } as const
      test.aws.world.call({ ...call, accessKeyId: before.keyId!, region: 'us-east-1' })
    }
    expect(list).not.toThrow()
    await bench.members(group, [], [owner])
    await test.pass(2)
    expect(list).toThrow(/not authorized/)
    const after = await bench.credentialOf(account)
    row.is('active', after.status)
    expect(after).toMatchObject({ keyId: before.keyId, grantedScopes: ['iam:GetUser'] })
  },

  'the process is killed in the middle of a rotation': async (bench, row) => {
    const { test, person } = bench
    const account = await test.request(await person(), { credentials: [wants.accessKey()] })
    const { id, keyId } = await bench.credentialOf(account)
    const { id: operation } = await test.engine.rotateCredential(test.admin, id)
    // Right after the provider made the new key: its answer, and so its secret, is lost.
    const dying = mortal({ call: 'aws-prod.issue', when: 'after' })
    await anotherWorker(test, dying.around).drain()
    row.is('running', (await test.operation(operation)).status)
    expect(test.aws.world.wouldAccept(keyId!)).toBe(true)
    await test.pass(minutes(2), 30)
    const now = await test.credential(id)
    row.is('active', now.status)
    expect(now.keyId).not.toBe(keyId)
    expect(await test.works(now)).toBe(true)
    const live = await test.liveAtProviders(account.id)
    expect(new Set(live)).toEqual(new Set([keyId, now.keyId]))
    expect(live).toHaveLength(2)
  },

  'the provider is down while access is taken away': async (bench, row) => {
    const { test, person } = bench
    const owner = await person()
    const account = await test.request(owner, { credentials: [wants.accessKey(), wants.token()] })
    const credentials = await test.credentials(account.id)
    const token = (await test.served(credentials.find((c) => c.kind === 'api-token')!))!
    for (const call of ['UpdateAccessKey', 'PutUserPolicy']) {
      test.aws.faults.arm(call, { kind: 'serverError', effect: false }, 100_000)
    }
    await test.leave(owner)
    await test.pass(minutes(2), 10)
    row.is('disabling', await bench.status(account))
    const [closing] = (await test.operations(account.id)).filter((o) => o.kind === 'disable')
    row.is('waiting', closing?.status)
    expect((await test.tokens.introspect(token, test.admin.tenant)).active).toBe(false)
    test.aws.faults.release()
    await test.pass(minutes(10), minutes(1))
    row.is('disabled', await bench.status(account))
    expect(await test.liveAtProviders(account.id)).toEqual([])
  },

  'the provider is down while a key is made': async (bench, row) => {
    const { test, person } = bench
    const credentials = [wants.accessKey()]
    test.aws.faults.arm('CreateAccessKey', { kind: 'serverError', effect: true }, 1)
    test.aws.faults.arm('ListAccessKeys', { kind: 'serverError', effect: false }, 3)
    const account = await test.request(await person(), { drain: false, credentials })
    await test.pass(1)
    row.is('provisioning', await bench.status(account))
    await test.pass(minutes(2), 5)
    row.is('active', await bench.status(account))
    expect(await test.liveAtProviders(account.id)).toHaveLength(1)
    expect(await test.works(await bench.credentialOf(account))).toBe(true)
    test.aws.faults.release()
  },

  'a backup of the database is restored': async (bench, row) => {
    const { test, person } = bench
    const owner = await person()
    const [left, other] = [await test.request(owner), await test.request(await person())]
    const { id } = await bench.credentialOf(other)
    await enterRestored(test.life, { reason: 'audit anchor behind' })
    row.is('restored', (await test.store.read.brakes()).at(-1)?.name)
    const rotation = await test.engine.rotateCredential(test.admin, id)
    await test.leave(owner)
    await test.pass(minutes(1), 30)
    expect(await test.operation(rotation.id)).toMatchObject({ failure: { code: 'braked' } })
    row.is('waiting', (await test.operation(rotation.id)).status)
    row.is('disabled', await bench.status(left))
    const wish = { name: 'restored', subject: '', reason: 'compared' }
    await releaseByOperator(test.life, test.admin, wish)
    await test.pass(minutes(1), 30)
    expect((await test.credential(id)).generation).toBe(2)
  },

  'the clock is wrong': async (bench, row) => {
    const { test, person, sweep } = bench
    const expiresAt = addSeconds(test.clock.now(), days(10))
    const account = await test.request(await person(), { expiresAt })
    const guard = createClockGuard(test.life, { worker: 'bench' })
    const end = await guard.start()
    Object.assign(test.life, { clockGuard: guard })
    try {
      test.clock.set(addSeconds(test.clock.now(), days(400)))
      await sweep('expiry')
      row.is('active', await bench.status(account))
      row.is('clock', (await test.store.read.brakes()).at(-1)?.name)
      test.clock.set(addSeconds(test.clock.now(), -days(400)))
      for (let i = 0; i < 8; i++) {
        test.clock.advance(10)
        await new Promise((resolve) => setTimeout(resolve, 4))
      }
      expect(await guard.check()).toBe(true)
      expect(await test.store.read.brakes()).toEqual([])
    } finally {
      end()
      Object.assign(test.life, { clockGuard: undefined })
    }
  },

  'the hold ends': async (bench, row) => {
    const { test, person, sweep } = bench
    const owner = await person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    await test.leave(owner)
    await test.pass(2)
    const { deleteAt, disabledAt } = await test.account(account.id)
    const hold = row.seconds('hold')
    expect(Date.parse(deleteAt!) - Date.parse(disabledAt!)).toBe(hold * 1_000)
    test.clock.set(addSeconds(deleteAt!, -minutes(1)))
    await sweep('expiry')
    row.is('disabled', await bench.status(account))
    test.clock.advance(minutes(1))
    await sweep('expiry')
    row.is('retired', await bench.status(account))
    expect(test.awsUser(account.id)).toBeNull()
  },
}
