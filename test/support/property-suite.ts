import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AppError } from '../../src/domain/errors.ts'
import type { Fault } from '../../src/sandbox/faults.ts'
import type { TestEngine } from './engine.ts'
import { startTestEngine, wants } from './engine.ts'

type Act =
  | { readonly do: 'request'; readonly kind: keyof typeof wants }
  | { readonly do: 'rotate' | 'revoke'; readonly which: number }
  | { readonly do: 'disable' | 'enable' | 'leave' | 'return' }
  | { readonly do: 'sweep'; readonly sweep: 'orphans' | 'expiry' | 'rotation' }
  | { readonly do: 'advance'; readonly seconds: number }
  | { readonly do: 'fault'; readonly name: string; readonly fault: Fault; readonly times: number }

const which = fc.nat({ max: 3 })
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('request' as const),
      kind: fc.constantFrom('token' as const, 'accessKey' as const, 'deployKey' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('rotate' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('revoke' as const), which }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'disable' as const,
        'enable' as const,
        'leave' as const,
        'return' as const,
      ),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('sweep' as const),
      sweep: fc.constantFrom('orphans' as const, 'expiry' as const, 'rotation' as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('advance' as const),
      seconds: fc.constantFrom(1, 30, 61, 3_600, 86_400, 8 * 86_400),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      name: fc.constantFrom(
        'CreateAccessKey',
        'UpdateAccessKey',
        'DeleteAccessKey',
        'ListAccessKeys',
        'PutUserPolicy',
        'PutSecretValue',
        'UpdateSecretVersionStage',
        'GetCallerIdentity',
        'POST /repos/{owner}/{repo}/keys',
        'DELETE /repos/{owner}/{repo}/keys/{key_id}',
      ),
      fault: fc.constantFrom<Fault>(
        { kind: 'lostResponse' },
        { kind: 'reset' },
        { kind: 'throttle', retryAfterSeconds: 1 },
        { kind: 'serverError', effect: true },
        { kind: 'serverError', effect: false },
      ),
      times: fc.integer({ min: 1, max: 3 }),
    }),
  },
)

/** Random lives of one account; `SEED` replays one. */
export function propertySuite(options: {
  readonly numRuns: number
  readonly acts: number
  readonly timeoutSeconds: number
}): void {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

  describe(`any life of an account (seed ${seed})`, () => {
    let test: TestEngine
    beforeAll(async () => {
      test = await startTestEngine()
    })
    afterAll(() => test.close())

    it(
      'journals every live key, serves keys that work, and ends all of them with the owner',
      () =>
        fc.assert(
          fc.asyncProperty(
            fc.array(act, { minLength: 3, maxLength: options.acts }),
            async (acts) => {
              const owner = await test.person()
              const { id } = await test.request(owner, { credentials: [wants.token()] })
              const live = { owner, id }
              for (const next of acts) {
                await perform(test, live, next)
                await test.worker.drain()
                await servedKeysWork(test, id)
              }
              await quiet(test)
              await servedKeysWork(test, id)
              await everyLiveKeyIsJournalled(test, id)

              if ((await test.engine.person(test.admin, owner)).active) {
                await test.leave(owner)
                await quiet(test)
              }
              expect(await test.liveAtProviders(id)).toEqual([])
              for (const credential of await test.credentials(id)) {
                expect(await test.works(credential)).toBe(false)
              }
            },
          ),
          { seed, numRuns: options.numRuns, endOnFailure: false },
        ),
      options.timeoutSeconds * 1_000,
    )
  })
}

/** Refusals are part of life; anything else that is thrown is a bug. */
async function perform(
  test: TestEngine,
  { owner, id }: { readonly owner: string; readonly id: string },
  next: Act,
): Promise<void> {
  const { engine, admin } = test
  try {
    switch (next.do) {
      case 'request': {
        const entry = wants[next.kind]()
        await engine.requestCredential(admin, {
          serviceAccount: id,
          displayName: null,
          readers: [],
          rotateEvery: undefined,
          overlap: undefined,
          expiresAt: undefined,
          provider: entry.provider,
          kind: entry.kind,
          scopes: entry.scopes,
          deliverTo: entry.deliverTo,
        })
        return
      }
      case 'rotate':
      case 'revoke': {
        const credentials = await test.credentials(id)
        const credential = credentials[next.which % credentials.length]!
        await (next.do === 'rotate'
          ? engine.rotateCredential(admin, credential.id)
          : engine.revokeCredential(admin, credential.id))
        return
      }
      case 'disable':
      case 'enable':
        await engine.switchAccount(admin, id, next.do, null)
        return
      case 'leave':
        await test.leave(owner)
        return
      case 'return':
        await test.comeBack(owner)
        return
      case 'sweep':
        await engine.runSweep(admin, next.sweep)
        return
      case 'advance':
        test.clock.advance(next.seconds)
        return
      case 'fault':
        ;(next.name.includes(' ') ? test.github : test.aws).faults.arm(
          next.name,
          next.fault,
          next.times,
        )
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
  }
}

/** No faults any more, and time for every backoff and lease to end. */
async function quiet(test: TestEngine): Promise<void> {
  test.aws.faults.release()
  test.github.faults.release()
  await test.pass(605, 121)
}

async function servedKeysWork(test: TestEngine, id: string): Promise<void> {
  const account = await test.account(id)
  const owner = await test.engine.person(test.admin, account.owner.id)
  if (account.status !== 'active' || !owner.active) return
  if (account.expiresAt <= test.clock.now()) return
  for (const credential of await test.credentials(id)) {
    if (credential.status !== 'active') continue
    const works = await test.works(credential)
    expect(works, `${credential.kind} generation ${credential.generation} is served`).toBe(true)
  }
}

async function everyLiveKeyIsJournalled(test: TestEngine, id: string): Promise<void> {
  const keys = await Promise.all((await test.credentials(id)).map((c) => test.keys(c.id)))
  const alive = keys
    .flat()
    .filter((k) => ['issuing', 'active', 'superseded'].includes(k.status))
    .map((k) => k.keyId)
  for (const key of await test.liveAtProviders(id)) {
    expect(alive.some((known) => known === key || known.endsWith(`#${key}`))).toBe(true)
  }
}
