import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import { addSeconds } from '../../src/domain/time.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeEach(async () => {
  test = await startTestEngine()
})
afterEach(() => test.close())

/** A consumer's call: that it is denied does not make it less of a use. */
const use = ({ keyId }: Credential) => {
  const call = { service: 'iam', operation: 'GetUser', input: {}, region: 'us-east-1' } as const
  expect(() => test.aws.world.call({ ...call, accessKeyId: keyId! })).toThrow(/not authorized/i)
}
const inProduction = async (count = 1) => {
  const owner = await test.person()
  const made: Credential[] = []
  for (let i = 0; i < count; i++) {
    const wanted = { environment: 'prod', credentials: [wants.accessKey()] } as const
    const account = await test.request(owner, wanted)
    made.push(...(await test.credentials(account.id)))
  }
  test.clock.advance(minutes(10))
  return { owner, credentials: made, first: made[0]! }
}
const statusOf = async ({ account }: Credential) => {
  const { status, statusReason } = await test.account(account)
  return `${status} ${statusReason}`
}

describe('when a key was last used', () => {
  it('is noted by the reconciliation, without a row in the audit log', async () => {
    const { first } = await inProduction()
    use(first)
    const at = test.clock.now()
    const rows = async () =>
      (await test.store.read.audit(first.tenant, { target: first.id, after: null, limit: 50 }))
        .length
    const before = await rows()

    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(30, 10)

    expect((await test.credential(first.id)).lastUsedAt).toBe(at)
    expect(await rows()).toBe(before)
    const { version } = await test.credential(first.id)
    test.clock.advance(hours(1))
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(30, 10)
    expect((await test.credential(first.id)).version).toBe(version)
  })

  it('is noted of deploy keys, too, and our own trials do not count', async () => {
    const account = await test.request(await test.person(), { credentials: [wants.deployKey()] })
    const [credential] = await test.credentials(account.id)
    const [key] = test.github.world
      .deployKeys('acme', 'website')
      .filter((k) => k.title.startsWith(`custody/${account.id}/`))
    const seenAt = async (lastUsedAt: string) => {
      Object.assign(key!, { lastUsedAt })
      await test.engine.runSweep(test.admin, 'reconcile')
      await test.pass(30, 10)
      return (await test.credential(credential!.id)).lastUsedAt
    }

    expect(await seenAt(addSeconds(credential!.issuedAt!, -60))).toBeNull()
    test.clock.advance(hours(2))
    const at = `${addSeconds(test.clock.now(), -60).slice(0, 19)}.000Z`
    expect(await seenAt(at)).toBe(at)
  })

  it('is asked when an owner leaves: what production used today is contained', async () => {
    const { owner, credentials } = await inProduction(2)
    use(credentials[0]!)
    test.clock.advance(hours(2))

    await test.leave(owner)
    await test.pass(5)

    expect(await statusOf(credentials[0]!)).toBe('orphaned contained')
    expect(await statusOf(credentials[1]!)).toBe('disabled ownerLeft')
  })

  it('decides nothing when it lies more than a day back', async () => {
    const { owner, first } = await inProduction()
    use(first)
    test.clock.advance(days(1) + hours(1))

    await test.leave(owner)
    await test.pass(5)

    expect(await statusOf(first)).toBe('disabled ownerLeft')
  })

  it('is not waited for: a provider that does not tell is asked once, and what is known decides', async () => {
    const { owner, credentials } = await inProduction(12)
    for (const credential of credentials) use(credential)
    let asked = 0
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map(
        [...life.providers].map(([name, provider]) => [
          name,
          new Proxy(provider, {
            get(target, property) {
              const value: unknown = Reflect.get(target, property, target)
              if (property !== 'list')
                return typeof value === 'function' ? (value.bind(target) as unknown) : value
              return () => {
                asked += 1
                const outcome = { outcome: 'notApplied' } as const
                return Promise.reject(new ProviderError('unavailable', 'No answer.', outcome))
              }
            },
          }),
        ]),
      ),
    }))

    await test.leave(owner)
    const leave = (await test.operations(owner))[0]!
    await worker.drain()

    expect((await test.operation(leave.id)).status).toBe('succeeded')
    // Those that share a commit ask side by side.
    expect(asked).toBeLessThan(12 + 12)
    for (const credential of credentials) {
      expect(await statusOf(credential)).toMatch(/^disabl(ing|ed) ownerLeft$/)
      expect(test.aws.world.wouldAccept(credential.keyId!)).toBe(false)
    }
  })
})
