import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Consumer } from '../../src/domain/consumer.ts'
import { anyone } from '../../src/domain/consumer.ts'
import type { Instant } from '../../src/domain/time.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type { Provider } from '../../src/provider/contract.ts'
import type { Promotion } from '../../src/lifecycle/moved.ts'
import { behindOf } from '../../src/lifecycle/moved.ts'
import { noteProbe, noteUse } from '../../src/lifecycle/uses.ts'
import { t0 } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import {
  anotherWorker,
  consumedBy,
  days,
  hours,
  minutes,
  startTestEngine,
  wants,
} from '../support/engine.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine()
})
afterAll(() => test.close())

type Declared = Parameters<typeof consumedBy>

const rotated = async (...consumers: Declared) => {
  const owner = await test.person()
  const attributes = consumedBy(...consumers)
  const expiresAt = addSeconds(test.clock.now(), days(300))
  const want = { credentials: [wants.accessKey()], attributes, expiresAt }
  const account = await test.request(owner, want)
  const [credential] = await test.credentials(account.id)
  const old = credential!.keyId!
  const operation = await test.engine.rotateCredential(test.admin, credential!.id)
  await test.pass(2)
  const { keyId } = await test.credential(credential!.id)
  return { owner, account, old, fresh: keyId!, operation: operation.id, id: credential!.id }
}
/** A consumer's call: that it is denied does not make it less of a use. */
const use = (accessKeyId: string) => {
  const call = { service: 'iam', operation: 'GetUser', input: {}, region: 'us-east-1' } as const
  expect(() => test.aws.world.call({ ...call, accessKeyId })).toThrow(/not authorized|denied/i)
}
const works = (key: string) => test.aws.world.wouldAccept(key)
const weeks = (n: number) => test.pass(days(7 * n), days(7))
const seen = (account: string, name: string, credential: string, generation: number) =>
  test.engine.reportSeen(test.admin, `${account}:${name}`, { credential, generation })
const audited = async (id: string, action: string) => {
  const rows = await test.store.read.audit(test.admin.tenant, {
    target: id,
    after: null,
    limit: 200,
  })
  return rows.filter((row) => row.action === action)
}

describe('a planned rotation', () => {
  it('waits for the second of two consumers, names it, and goes on when both have reported', async () => {
    const one = await rotated(
      { name: 'east', kind: 'restart-only' },
      { name: 'west', kind: 'restart-only' },
    )
    await seen(one.account.id, 'east', one.id, 2)

    await weeks(2)

    const { message } = (await test.operation(one.operation)).failure!
    expect(message).toContain('"west"')
    expect(message).not.toContain('"east"')
    const views = await test.engine.consumers(test.admin, one.account.id)
    expect(views.map((v) => v.credentials[0]!.state)).toEqual(['seen', 'behind'])
    expect(works(one.old)).toBe(true)

    await seen(one.account.id, 'west', one.id, 2)
    await test.pass(1)
    expect(works(one.old)).toBe(false)
  })

  it('waits for evidence where nobody is declared and nobody was seen, until a person answers for it', async () => {
    const one = await rotated()
    await weeks(3)
    expect(works(one.old)).toBe(true)

    const owner = test.caller('owner', { person: one.owner as never })
    const stranger = test.caller('owner', { person: 'somebody' as never })
    const word = { consumer: anyone, reason: 'nobody uses it: the job was removed' }
    const waive = (caller: typeof owner) => test.engine.waiveConsumer(caller, one.operation, word)
    await expect(waive(stranger)).rejects.toMatchObject({ code: 'notFound' })
    await waive(owner)
    await test.pass(1)

    expect(works(one.old)).toBe(false)
    expect(await audited(one.id, 'consumer.waived')).toMatchObject([
      { facts: { consumer: anyone, reason: word.reason, generation: 2 } },
    ])
  })

  it('takes a use of the new key for a sign, but not our own', async () => {
    const used = await rotated()
    const unused = await rotated()
    await test.pass(hours(1))
    use(used.fresh)

    await weeks(2)

    expect(works(used.old)).toBe(false)
    expect(works(unused.old)).toBe(true)
    const word = { consumer: anyone, reason: 'as tested' }
    await test.engine.waiveConsumer(test.admin, unused.operation, word)
  })

  it('lets a consumer that re-reads be silent for as long as it likes', async () => {
    const one = await rotated({ name: 'quarterly', cacheTtl: 'PT1H' })
    await test.pass(days(9), days(3))
    expect(works(one.old)).toBe(false)
  })

  it('ends at its maximum age a key that nobody at all used for as long', async () => {
    const one = await rotated()
    await weeks(12)
    expect(works(one.old)).toBe(true)
    await weeks(2)
    expect(works(one.old)).toBe(false)
    expect(await audited(one.id, 'key.retiredUnseen')).toHaveLength(1)
  })

  it('never ends the key that a restart-only consumer holds in memory, and asks one person', async () => {
    const one = await rotated({ name: 'monolith', kind: 'restart-only' })

    await weeks(16)

    // It was restarted long ago and calls once in months: each of its calls has to work.
    expect(works(one.old)).toBe(true)
    const waiting = await test.operation(one.operation)
    expect(waiting).toMatchObject({ status: 'waiting', failure: { code: 'consumersBehind' } })
    expect(waiting.failure!.message).toContain('"monolith"')
    const tasks = await test.store.read.tasksOfAccount(test.admin.tenant, one.account.id)
    expect(tasks).toMatchObject([{ action: 'decide', assignee: 'security', status: 'open' }])
    // Owner twice, then the heirs (nobody is), then security.
    const reminders = await audited(one.id, 'consumer.reminded')
    const ranks = reminders.map((row) => row.facts['rank'])
    expect(ranks.slice(0, 5)).toEqual(['owner', 'owner', 'heirs', 'heirs', 'security'])
    // The new key is due as well by now, but the next rotation does not start on top of this one.
    await test.engine.runSweep(test.admin, 'rotation')
    const open = (await test.operations(one.id)).filter((o) => o.finishedAt === null)
    expect(open.map((o) => o.id)).toEqual([one.operation])

    use(one.fresh)
    await seen(one.account.id, 'monolith', one.id, 2)
    await test.pass(1)
    expect(works(one.old)).toBe(false)
    const [task] = await test.store.read.tasksOfAccount(test.admin.tenant, one.account.id)
    expect(task!.status).toBe('cancelled')
  })
})

describe('an old key that waits beyond its maximum age', () => {
  const tasksOf = (account: string) =>
    test.store.read.tasksOfAccount(test.admin.tenant, account as never)

  it('is a finding of reconcile, and nobody has to decide any more once it is ended otherwise', async () => {
    const one = await rotated({ name: 'monolith', kind: 'restart-only' })
    await test.pass(days(112), days(28))
    expect(await tasksOf(one.account.id)).toMatchObject([{ action: 'decide', status: 'open' }])
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(minutes(10), 60)
    const query = { tenant: test.admin.tenant, kind: 'overage', after: null, limit: 200 } as const
    const found = await test.store.read.findings(query)
    expect(found.map((f) => [f.kind, f.keyId])).toContainEqual(['overage', one.old])

    await test.engine.switchAccount(test.admin, one.account.id, 'disable', 'as tested')
    await test.pass(minutes(1), 10)
    expect(works(one.old)).toBe(false)
    expect(await tasksOf(one.account.id)).toMatchObject([{ status: 'cancelled' }])
  })
})

describe('a report', () => {
  it('repeated or late changes nothing, and of what never was is refused', async () => {
    const { account, id } = await rotated({ name: 'app', kind: 'manual' })

    await seen(account.id, 'app', id, 2)
    await seen(account.id, 'app', id, 2)
    const view = await seen(account.id, 'app', id, 1)

    expect(view.credentials).toMatchObject([{ seen: 2, generation: 2 }])
    expect(await audited(id, 'consumer.seen')).toHaveLength(1)
    const refused = { code: 'invalidValue', facts: { path: 'generation' } }
    await expect(seen(account.id, 'app', id, 3)).rejects.toMatchObject(refused)
    await expect(seen(account.id, 'app', 'other', 1)).rejects.toMatchObject({
      facts: { path: 'credential' },
    })
    await expect(seen(account.id, 'nobody', id, 1)).rejects.toMatchObject({ code: 'notFound' })
    const auditor = test.caller('auditor')
    const asAuditor = test.engine.reportSeen(auditor, `${account.id}:app`, {
      credential: id,
      generation: 1,
    })
    await expect(asAuditor).rejects.toMatchObject({ code: 'forbidden' })
  })
})

describe('our own probes', () => {
  it('are no sign of adoption at a provider that tells of them as of any use', async () => {
    const tried = new Map<string, Instant>()
    const telling = (provider: Provider): Provider =>
      new Proxy(provider, {
        get(target, name) {
          if (name === 'probe') {
            return (...args: Parameters<Provider['probe']>) => {
              const text = args[0].use((bytes) => bytes.toString('utf8'))
              const { accessKeyId } = JSON.parse(text) as { accessKeyId: string }
              tried.set(accessKeyId, test.clock.now())
              return target.probe(...args)
            }
          }
          if (name === 'list') {
            return async (...args: Parameters<Provider['list']>) => {
              const listing = await target.list(...args)
              return {
                ...listing,
                items: listing.items.map((i) => ({ ...i, lastUsedAt: tried.get(i.keyId) ?? null })),
              }
            }
          }
          const value: unknown = Reflect.get(target, name, target)
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      })
    const one = await rotated()
    const worker = anotherWorker(test, (life) => ({
      ...life,
      providers: new Map([...life.providers].map(([name, p]) => [name, telling(p)])),
    }))

    for (let look = 0; look < 10; look++) {
      test.clock.advance(days(2))
      await worker.drain()
    }

    expect(tried.has(one.fresh)).toBe(true)
    expect(works(one.old)).toBe(true)
    const { memo } = await test.operation(one.operation)
    expect(memo['newKeyUsed']).toBeUndefined()
    const word = { consumer: anyone, reason: 'as tested' }
    await test.engine.waiveConsumer(test.admin, one.operation, word)
    await test.pass(1)
  })

  it('never count as use, whenever they happen and however coarse the provider tells of them', async () => {
    const { id } = await rotated({ name: 'app', cacheTtl: 'PT5M' })
    const at = await test.credential(id)
    const [, key] = (await test.keys(id)).toSorted((a, b) => a.generation - b.generation)
    const before = at.lastUsedAt

    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ wait: fc.integer({ min: 1, max: 7_200 }), told: fc.nat(899) }), {
          minLength: 1,
          maxLength: 5,
        }),
        async (looks) => {
          for (const { wait, told } of looks) {
            test.clock.advance(wait)
            await noteProbe(test.life, key!)
            const now = test.clock.now()
            // As late as the provider likes to tell, and rounded as it likes.
            for (const shift of [0, told, -told])
              await noteUse(test.life, key!, addSeconds(now, shift))
          }
          expect((await test.credential(id)).lastUsedAt).toBe(before)
        },
      ),
      { numRuns: 10 },
    )

    test.clock.advance(minutes(40))
    const theirs = addSeconds(test.clock.now(), -minutes(10))
    await noteUse(test.life, key!, theirs)
    expect((await test.credential(id)).lastUsedAt).toBe(theirs)
  })
})

describe('who is behind', () => {
  const consumer = fc.record<Consumer>({
    name: fc.constantFrom('a', 'b', 'c'),
    kind: fc.constantFrom(null, 'restart-only', 'manual', 'external-secrets', 'own word'),
    cacheTtl: fc.option(fc.integer({ min: 0, max: 90_000 }).map(seconds)),
    reloadHook: fc.constant(null),
  })

  it('is whoever holds the key in memory, until it or a person says otherwise', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(consumer, { selector: (c) => c.name }),
        fc.boolean(),
        fc.nat(200_000),
        fc.subarray(['a', 'b', 'c']),
        (consumers, newKeyUsed, after, said) => {
          const promotion: Promotion = {
            generation: 2,
            activatedAt: t0,
            now: addSeconds(t0, after),
            lag: seconds(60),
            newKeyUsed,
            reports: said.map((name) => ({ ...report, consumer: name })),
          }

          const behind = behindOf(consumers, promotion)

          const holding = consumers.filter((c) => c.kind === 'restart-only' || c.kind === 'manual')
          for (const { name } of holding) expect(behind.includes(name)).toBe(!said.includes(name))
          for (const name of said) expect(behind).not.toContain(name)
          const anyoneIsBehind = consumers.length === 0 && !newKeyUsed
          expect(behind.includes(anyone)).toBe(anyoneIsBehind)
          // An older generation, read before the rotation, says nothing.
          const stale = {
            ...promotion,
            reports: promotion.reports.map((r) => ({ ...r, generation: 1 })),
          }
          const named = behindOf(consumers, stale)
          for (const { name } of holding) expect(named).toContain(name)
        },
      ),
    )
  })
  const report = {
    tenant: 'default' as never,
    account: 'x' as never,
    credential: 'y' as never,
    consumer: 'a',
    kind: 'seen',
    generation: 2,
    at: t0,
    by: 'tests',
  } as const
})
