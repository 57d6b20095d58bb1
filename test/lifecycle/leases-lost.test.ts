import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { engagedBrakes } from '../../src/lifecycle/brakes.ts'
import type { Lifecycle } from '../../src/lifecycle/engine.ts'
import type { Provider } from '../../src/provider/contract.ts'
import { callWith } from '../conformance/provider-rig.ts'
import { anotherWorker, hours, minutes, wants } from '../support/engine.ts'
import { mintToken } from '../support/github-tokens.ts'
import type { Up } from '../support/leases.ts'
import {
  actions,
  forgetEarlier,
  isLive,
  keyOf,
  leased,
  live,
  liveOn,
  retire,
  start,
  stop,
  test,
  world,
} from '../support/leases.ts'
import { leaseCrashSuite } from '../support/lease-crash-suite.ts'

beforeAll(() => start())
afterAll(stop)
beforeEach(forgetEarlier)

describe('what is lost', () => {
  const exposures = (up: Pick<Up, 'credential'>) => actions(up.credential.id, 'key.exposed')

  it('an answer of access_tokens is told once, with its last moment, and another token is made', async () => {
    const owner = await test.person()
    const { id } = await test.request(owner, { credentials: [wants.appToken()], drain: false })
    const [credential] = await test.credentials(id)
    await test.life.providers.get('github-acme')!.check!(callWith())
    test.github.faults.arm(mintToken, { kind: 'lostResponse' })
    await test.pass(10)
    const lost = live()[0]!
    const token = (await test.served(credential!))!
    expect((await test.account(id)).status).toBe('active')
    expect(live()).toEqual([lost, token])

    const [told, ...more] = await exposures({ credential: credential! })
    expect(more).toEqual([])
    const truth = world()
      .installationTokens()
      .find((t) => t.token === lost)!
    expect(Date.parse(told!.facts['until'] as string)).toBeGreaterThanOrEqual(
      Date.parse(truth.expiresAt),
    )
    await test.leave(owner)
    await test.pass(2)
    expect(live()).toEqual([lost])
    expect(await exposures({ credential: credential! })).toHaveLength(1)
    test.clock.advance(hours(1))
  })

  it('one that a leaving cuts off is told once, however often the account is switched', async () => {
    const up = await leased()
    await test.engine.rotateCredential(test.admin, up.credential.id)
    test.github.faults.arm(mintToken, { kind: 'lostResponse' })
    const atIssue = (life: Lifecycle): Lifecycle => {
      const providers = new Map(life.providers)
      const provider = providers.get('github-acme')!
      const issue: Provider['issue'] = async (principal, want, call) => {
        await test.engine.switchAccount(test.admin, up.account, 'disable', 'a pause')
        return provider.issue(principal, want, { ...call, fence: () => Promise.resolve(true) })
      }
      const ensurePrincipal = provider.ensurePrincipal.bind(provider)
      providers.set(
        'github-acme',
        Object.assign(Object.create(provider) as Provider, { ensurePrincipal, issue }),
      )
      return { ...life, providers }
    }
    await anotherWorker(test, atIssue).drain()
    await test.pass(minutes(3), 30)
    expect((await test.account(up.account)).status).toBe('disabled')
    expect(await exposures(up)).toHaveLength(1)
    for (const to of ['enable', 'disable', 'enable'] as const) {
      await test.engine.switchAccount(test.admin, up.account, to, 'again')
      await test.pass(minutes(3), 30)
    }
    expect(isLive(await test.served(up.credential))).toBe(true)
    expect(await exposures(up)).toHaveLength(1)
    await retire(up)
    test.clock.advance(hours(1))
  })

  it.each([
    ['in the sink still', true, 'refused'],
    ['nowhere', false, 'untestable'],
  ])(
    'a secret that is not kept, but %s: its token lives until its lease is over, and that is told',
    async (_, inSink, outcome) => {
      const up = await leased()
      await test.store.commit([
        {
          type: 'unsealed',
          tenant: test.admin.tenant,
          credential: up.credential.id,
          keyId: up.credential.keyId!,
        },
      ])
      const secrets = path.join(test.home, 'secrets')
      if (!inSink) await rm(secrets, { recursive: true })
      await mkdir(secrets, { recursive: true, mode: 0o700 })
      const revocation = await test.engine.revokeCredential(test.admin, up.credential.id)
      await test.pass(2)

      const waiting = await test.operation(revocation.id)
      expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'leaseRunning' } })
      expect(isLive(up.token)).toBe(true)
      expect(await actions(up.credential.id, 'key.deleted')).toEqual([])
      expect(await actions(up.credential.id, 'key.leftToLease')).toHaveLength(1)
      await test.pass(hours(1) + 60, minutes(10))
      expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome })
      expect((await test.credential(up.credential.id)).status).toBe('revoked')
      expect(await actions(up.credential.id, 'key.leftToLease')).toHaveLength(1)
    },
  )
})

describe('beside other kinds', () => {
  it('neither is taken for the other, and an inventory misses none', async () => {
    const { id } = await test.request(await test.person(), {
      credentials: [wants.deployKey(), wants.appToken()],
    })
    const all = await test.credentials(id)
    const lease = all.find((c) => c.kind === 'app-token')!
    const deploy = all.find((c) => c.kind === 'deploy-key')!
    test.github.faults.arm('POST /repos/{owner}/{repo}/keys', { kind: 'lostResponse' })
    await test.engine.rotateCredential(test.admin, deploy.id)
    await test.pass(5)
    await liveOn(minutes(64), minutes(16))
    for (const credential of [lease, deploy]) expect(await test.works(credential)).toBe(true)
    for (let n = 0; n < 2; n++) {
      await liveOn(hours(1), minutes(30))
      await test.engine.runSweep(test.admin, 'reconcile')
      await test.pass(30, 15)
    }
    const { tenant } = test.admin
    const findings = await test.store.read.findings({ tenant, after: null, limit: 200 })
    expect(findings.filter((f) => f.provider === 'github-acme')).toEqual([])
    expect(await engagedBrakes(test.life)).toEqual([])
    for (const { id: of } of all) {
      expect(await actions(of, 'key.rearmed')).toEqual([])
      expect((await test.operations(of)).filter((o) => o.failure !== null)).toEqual([])
    }
    await test.engine.switchAccount(test.admin, id, 'retire', null)
    await test.pass(5)
    expect(live()).toEqual([])
    expect(await test.liveAtProviders(id)).toEqual([])
  })

  it('a sink that cannot be read: the token is tried with the bytes that are kept', async () => {
    const up = await leased({
      entry: { deliverTo: { sink: 'github-actions', path: 'acme/website/DEPLOY_TOKEN' } },
    })
    const vault = world().findRepository('acme', 'website')!.actions
    const served = async () => (await vault.open('DEPLOY_TOKEN'))?.toString('utf8') ?? null
    expect(isLive(await served())).toBe(true)
    expect((await actions(up.credential.id, 'key.activated'))[0]!.facts['proof']).toBe('used')

    await test.leave(up.owner)
    await test.pass(1)

    expect(isLive(await served())).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ outcome: 'refused' })
  })
})

leaseCrashSuite(97)
