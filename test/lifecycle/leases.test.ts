import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { AccountWrite, CredentialEntry } from '../../src/domain/want.ts'
import { Secret } from '../../src/domain/secret.ts'
import { sealKeyIdOf } from '../../src/domain/seal.ts'
import { AppError } from '../../src/domain/errors.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { engagedBrakes } from '../../src/lifecycle/brakes.ts'
import type { Lifecycle, Sealer } from '../../src/lifecycle/engine.ts'
import { createSealer } from '../../src/lifecycle/engine.ts'
import { callWith } from '../conformance/provider-rig.ts'
import type { Provider } from '../../src/provider/contract.ts'
import type { Death, TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  days,
  hours,
  interrupted,
  minutes,
  mortal,
  startTestEngine,
  wants,
} from '../support/engine.ts'
import { mintToken } from '../support/github-tokens.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

const world = () => test.github.world
let earlier: ReadonlySet<string> = new Set()
beforeEach(() => {
  earlier = new Set(
    world()
      .installationTokens()
      .map((t) => t.token),
  )
})
/** What GitHub would accept now, of all that was handed out in this test. */
const live = (): readonly string[] =>
  world()
    .installationTokens()
    .filter((t) => t.permissions['contents'] !== undefined && !earlier.has(t.token))
    .filter((t) => world().isAlive(t))
    .map((t) => t.token)
const isLive = (token: string | null) => token !== null && live().includes(token)

interface Up {
  readonly owner: string
  readonly account: string
  readonly credential: Credential
  readonly token: string
}

async function leased(
  more: Partial<AccountWrite> & { readonly entry?: Partial<CredentialEntry> } = {},
): Promise<Up> {
  const { entry, ...rest } = more
  const owner = await test.person()
  const { id } = await test.request(owner, { credentials: [wants.appToken(entry)], ...rest })
  const [credential] = await test.credentials(id)
  return { owner, account: id, credential: credential!, token: (await test.served(credential!))! }
}
const audit = (target: string) =>
  test.store.read.audit(test.admin.tenant, { target, after: null, limit: 200 })
const actions = async (target: string, action: string) =>
  (await audit(target)).filter((row) => row.action === action)
const keyOf = async ({ credential }: Up, generation: number) =>
  (await test.keys(credential.id)).find((key) => key.generation === generation)!
/** As the scheduler does it: the rotation sweep looks each minute. */
async function liveOn(seconds: number, step = minutes(1)): Promise<void> {
  for (let left = seconds; left > 0; left -= step) {
    test.clock.advance(Math.min(left, step))
    await test.engine.runSweep(test.admin, 'rotation')
    await test.worker.drain()
  }
}
const sealedRows = (credential: Credential) =>
  test.store.read
    .allSealed(null, 1_000)
    .then((rows) => rows.filter((row) => row.credential === credential.id))
const done = (up: Up) =>
  test.engine.switchAccount(test.admin, up.account, 'retire', null).then(() => test.pass(2))

describe('a lease', () => {
  it('is served, renewed ten minutes before its end with an overlap, and then exactly one is left', async () => {
    const up = await leased()
    const before = await test.credential(up.credential.id)
    expect(isLive(up.token)).toBe(true)
    expect(before.rotateAfter).toBe(
      new Date(Date.parse(before.issuedAt!) + 3_000_000).toISOString(),
    )

    await liveOn(minutes(49))
    expect(await test.served(up.credential)).toBe(up.token)
    await liveOn(minutes(2))
    const second = await test.served(up.credential)

    expect(second).not.toBe(up.token)
    expect([isLive(up.token), isLive(second)]).toEqual([true, true])
    expect(await sealedRows(up.credential)).toHaveLength(2)
    await liveOn(minutes(12))
    expect([isLive(up.token), isLive(second)]).toEqual([false, true])
    expect(await sealedRows(up.credential)).toHaveLength(1)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    await done(up)
  })

  it('costs 28 operations and a known number of audit rows a day', async () => {
    const up = await leased()
    const rows = async () => {
      let [count, after] = [0, null as string | null]
      for (;;) {
        const page = await test.store.read.audit(test.admin.tenant, { after, limit: 200 })
        count += page.length
        after = page.at(-1)?.id ?? null
        if (page.length < 200) return count
      }
    }
    const [rowsBefore, opsBefore] = [await rows(), (await test.operations(up.credential.id)).length]
    const served = new Set<string>()

    for (let left = days(1); left > 0; left -= minutes(50)) {
      await liveOn(Math.min(left, minutes(40)), minutes(40))
      await liveOn(Math.max(0, Math.min(left - minutes(40), minutes(10))), minutes(10))
      const now = await test.served(up.credential)
      expect(isLive(now)).toBe(true)
      served.add(now!)
    }

    const operations = (await test.operations(up.credential.id)).length - opsBefore
    const perDay = { operations, rows: (await rows()) - rowsBefore, tokens: served.size }
    expect(perDay).toEqual({ operations: 28, rows: 168, tokens: 28 })
    await done(up)
  })

  it.each([{ rotateEvery: 86_400 }, { overlap: 600 }])(
    'has no period of its own: %j is refused with why',
    async (entry) => {
      const owner = await test.person()
      const asked = test.request(owner, {
        credentials: [wants.appToken(entry as Partial<CredentialEntry>)],
      })
      const error: unknown = await asked.catch((e: unknown) => e)

      expect(error).toBeInstanceOf(AppError)
      expect(error).toMatchObject({ status: 400 })
      const { message } = error as Error
      expect(message).toContain(Object.keys(entry)[0])
      expect(message).toContain('PT1H')
      const up = await leased()
      const { displayName, scopes, readers } = up.credential
      const change = { type: 'credential', displayName, scopes, readers, ...entry } as never
      const current = await test.credential(up.credential.id)
      await expect(test.engine.updateCredential(test.admin, current, change)).rejects.toMatchObject(
        {
          status: 400,
        },
      )
      await done(up)
    },
  )

  it('is refused to a consumer that caches for longer than two tokens work both', async () => {
    const owner = await test.person()
    const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'
    const caching = (cacheTtl: string) =>
      test.request(owner, {
        credentials: [wants.appToken()],
        drain: false,
        attributes: { [nhi]: { consumers: [{ name: 'ci', cacheTtl }] } } as never,
      })

    await expect(caching('PT15M')).rejects.toMatchObject({ status: 400 })
    const { id } = await caching('PT5M')
    await test.engine.switchAccount(test.admin, id, 'retire', null)
    await test.pass(2)
  })

  it('is had anew at once after the service was down for three hours', async () => {
    const up = await leased()
    test.clock.advance(hours(3))
    expect(isLive(await test.served(up.credential))).toBe(false)

    await test.engine.runSweep(test.admin, 'rotation')
    await test.pass(2)

    expect(isLive(await test.served(up.credential))).toBe(true)
    await liveOn(minutes(15))
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    await done(up)
  })

  it('is renewed by itself when GitHub was down for an hour, or its installation suspended', async () => {
    const up = await leased()
    for (const outage of ['down', 'suspended']) {
      await liveOn(minutes(45))
      if (outage === 'down') test.github.faults.arm('*', { kind: 'reset' }, 1_000_000)
      else world().suspend()
      await liveOn(minutes(60))
      expect((await test.credential(up.credential.id)).status).toBe('active')
      if (outage === 'down') test.github.faults.release()
      else world().unsuspend()
      await liveOn(minutes(7))
      expect(isLive(await test.served(up.credential)), outage).toBe(true)
      await liveOn(minutes(20))
      expect(isLive(await test.served(up.credential)), outage).toBe(true)
    }
    await done(up)
  })

  it('survives an outage that outlasts both of an overlap', async () => {
    const up = await leased()
    await liveOn(minutes(51))
    const second = await test.served(up.credential)
    test.github.faults.arm('*', { kind: 'reset' }, 1_000_000)
    await liveOn(minutes(70))
    expect(isLive(second)).toBe(false)
    test.github.faults.release()

    await liveOn(minutes(8))

    expect(isLive(await test.served(up.credential))).toBe(true)
    await done(up)
  })

  it('is made anew when somebody ended the new one during the overlap', async () => {
    const up = await leased()
    await liveOn(minutes(51))
    const second = await test.served(up.credential)
    const truth = world()
      .installationTokens()
      .find((t) => t.token === second)!
    truth.revokedAt = test.clock.now()

    await liveOn(minutes(8))

    const third = await test.served(up.credential)
    expect(third).not.toBe(second)
    expect(isLive(third)).toBe(true)
    await done(up)
  })

  it('ends with its account, and is not renewed any more', async () => {
    const up = await leased({
      expiresAt: new Date(Date.parse(test.clock.now()) + hours(2) * 1_000).toISOString() as never,
    })
    await liveOn(hours(2))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(2)
    const operations = await test.operations(up.credential.id)
    await liveOn(hours(2), minutes(20))

    expect((await test.account(up.account)).status).toBe('expired')
    expect(isLive(await test.served(up.credential))).toBe(false)
    expect(await test.operations(up.credential.id)).toHaveLength(operations.length)
    expect(live()).toEqual([])
  })
})

describe('an owner who leaves', () => {
  it.each([true, false])('takes the token along within one pass (file there: %s)', async (kept) => {
    const up = await leased()
    const file = path.join(test.home, 'secrets', 'default', up.credential.deliverTo.path)
    if (!kept) await rm(file)

    await test.leave(up.owner)
    await test.pass(1)

    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ outcome: 'refused' })
    expect((await test.account(up.account)).status).toBe('disabled')
    expect((await test.engine.offboarding(test.admin, up.owner)).verdict).toBe('complete')
  })

  it('in the middle of a renewal, at each of its calls, leaves nothing alive', async () => {
    const attempt = async (at: Death | null) => {
      const up = await leased()
      test.clock.advance(minutes(51))
      await test.engine.runSweep(test.admin, 'rotation')
      const life = interrupted(at, () => test.leave(up.owner))
      await anotherWorker(test, life.around).drain()
      if (at === null) await test.leave(up.owner)
      await test.pass(minutes(3), 20)
      const where = `${at?.when} ${life.calls[at?.call ?? 0]}`
      expect((await test.account(up.account)).status, where).toBe('disabled')
      expect(live(), where).toEqual([])
      for (const key of await test.keys(up.credential.id)) {
        if (key.status !== 'failed') expect(key.outcome, where).toBe('refused')
      }
      return life.calls.length
    }
    const places = await attempt(null)
    expect(places).toBeGreaterThan(10)
    for (let call = 0; call < places; call++) await attempt({ call, when: 'after' })
  })

  it('with a backup: another at once, the old one ended within the hour, renewed until the deadline', async () => {
    const heir = await test.person()
    const up = await leased({ backupOwners: [{ type: 'User', id: heir }] })
    test.clock.advance(days(8))
    await liveOn(60)
    const known = await test.served(up.credential)
    expect(isLive(known)).toBe(true)

    await test.leave(up.owner)
    await test.pass(2)
    const next = await test.served(up.credential)
    expect(next).not.toBe(known)
    expect(isLive(next)).toBe(true)
    expect((await test.account(up.account)).status).toBe('orphaned')
    await liveOn(hours(1))
    expect(isLive(known)).toBe(false)
    const { disableAt } = await test.account(up.account)
    await liveOn(hours(6), minutes(5))
    expect(isLive(await test.served(up.credential))).toBe(true)

    test.clock.set(disableAt!)
    await test.engine.runSweep(test.admin, 'orphans')
    await test.pass(2)
    expect(live()).toEqual([])
  })
})

describe('an operator', () => {
  it('switches an account off and on: another generation', async () => {
    const up = await leased()
    await test.engine.switchAccount(test.admin, up.account, 'disable', 'a pause')
    await test.pass(2)
    expect(isLive(up.token)).toBe(false)
    await test.engine.switchAccount(test.admin, up.account, 'enable', null)
    await test.pass(2)

    const now = await test.served(up.credential)
    expect(now).not.toBe(up.token)
    expect(isLive(now)).toBe(true)
    expect((await test.credential(up.credential.id)).generation).toBe(2)
    await done(up)
  })

  it('revokes: refused at once, and the bytes are forgotten', async () => {
    const up = await leased()
    await test.engine.revokeCredential(test.admin, up.credential.id)
    await test.pass(2)

    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
    expect((await test.credential(up.credential.id)).status).toBe('revoked')
    expect(await sealedRows(up.credential)).toEqual([])
    expect(await test.served(up.credential)).toBeNull()
  })

  it('waits for a suspended installation, and the token is refused after it is resumed', async () => {
    const up = await leased()
    world().suspend()
    const operation = await test.engine.revokeCredential(test.admin, up.credential.id)
    await test.pass(minutes(4), 60)
    const waiting = await test.operation(operation.id)
    world().unsuspend()
    expect(isLive(up.token)).toBe(true)
    await test.pass(minutes(6), 60)

    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'revokeBlocked' } })
    expect(isLive(up.token)).toBe(false)
    expect(await keyOf(up, 1)).toMatchObject({ status: 'revoked', outcome: 'refused' })
  })

  it('rotates the seal key: every token can still be ended', async () => {
    const up = await leased()
    const [before] = await sealedRows(up.credential)
    const { wrapped } = await test.engine.rotateSealKey(test.admin, 'a backup was lost')
    const [after] = await sealedRows(up.credential)
    await test.leave(up.owner)
    await test.pass(2)

    expect(wrapped).toBeGreaterThan(0)
    expect(sealKeyIdOf(after!.envelope)).not.toBe(sealKeyIdOf(before!.envelope))
    expect(await keyOf(up, 1)).toMatchObject({ outcome: 'refused' })
    expect(live()).toEqual([])
  })

  it('rotates the seal key for all processes, those started before and after', async () => {
    const root = randomBytes(32)
    const process = () =>
      createSealer({ store: test.store, root: Secret.of(Buffer.from(root)), random: randomBytes })
    const of = { tenant: test.admin.tenant, credential: 'c' as never, keyId: 'k' }
    const put = async (sealer: Sealer, text: string) => {
      const change = await sealer.seal(Secret.ofText(text), of, addSeconds(test.clock.now(), 60))
      expect(await test.store.commit([change])).toBe('saved')
      return sealKeyIdOf((await test.store.read.sealed(of.tenant, of.credential, 'k'))!.envelope)
    }
    const [one, two] = [process(), process()]
    const old = await put(one, 'first')

    await one.rotate()

    const read = await two.held(of)
    expect(read?.use((bytes) => bytes.toString())).toBe('first')
    const keys = [await put(one, 'a'), await put(two, 'b'), await put(process(), 'c')]
    expect(keys).not.toContain(old)
    expect(new Set(keys).size).toBe(1)
    await test.store.commit([{ type: 'unsealed', ...of }])
    expect(await one.held(of)).toBeNull()
  })
})

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
    expect(Date.parse(String(told!.facts['until']))).toBeGreaterThanOrEqual(
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
    await done(up)
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
    await liveOn(minutes(70), minutes(2))
    for (const credential of [lease, deploy]) expect(await test.works(credential)).toBe(true)
    for (let n = 0; n < 3; n++) {
      await liveOn(hours(1), minutes(10))
      await test.engine.runSweep(test.admin, 'reconcile')
      await test.pass(30, 10)
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

describe('a worker that dies', () => {
  const everywhere = async (attempt: (death: Death | null) => Promise<number>) => {
    const places = await attempt(null)
    for (let place = 0; place < places * 2; place++) {
      await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
    }
  }
  /** All that may live on is what an answer made that nobody heard, and that is told. */
  const onlyTold = async (credential: Credential, kept: readonly string[], where: string) => {
    const others = live().filter((token) => !kept.includes(token))
    expect(others.length, where).toBeLessThanOrEqual(
      (await actions(credential.id, 'key.exposed')).length,
    )
  }
  const lapse = async () => {
    await test.pass(65, 33)
    await test.pass(2)
  }

  it('while issuing, renewing or leaving: one token works, or none, and no more', async () => {
    await everywhere(async (death) => {
      const owner = await test.person()
      const { id } = await test.request(owner, { credentials: [wants.appToken()], drain: false })
      const issuing = mortal(death)
      await anotherWorker(test, issuing.around).drain()
      await lapse()
      const [credential] = await test.credentials(id)
      const where = `issue ${death?.when} ${issuing.calls[death?.call ?? 0]}`
      const token = await test.served(credential!)
      expect(isLive(token), where).toBe(true)
      await onlyTold(credential!, [token!], where)

      test.clock.advance(minutes(50))
      await test.engine.runSweep(test.admin, 'rotation')
      const renewing = mortal(death)
      await anotherWorker(test, renewing.around).drain()
      await lapse()
      const renewed = await test.served(credential!)
      const then = `renewal ${death?.when} ${renewing.calls[death?.call ?? 0]}`
      expect(renewed === token, then).toBe(false)
      expect(isLive(renewed), then).toBe(true)
      await onlyTold(credential!, [token!, renewed!], then)

      await test.leave(owner)
      const leaving = mortal(death)
      await anotherWorker(test, leaving.around).drain()
      await lapse()
      const last = `leave ${death?.when} ${leaving.calls[death?.call ?? 0]}`
      await test.pass(65, 33)
      expect((await test.account(id)).status, last).toBe('disabled')
      await onlyTold(credential!, [], last)
      expect((await actions(credential!.id, 'key.exposed')).length, last).toBeLessThanOrEqual(2)
      test.clock.advance(hours(1))
      return Math.max(issuing.calls.length, renewing.calls.length, leaving.calls.length)
    })
  })
})
