import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { CredentialEntry } from '../../src/domain/want.ts'
import type { Death, TestEngine } from './engine.ts'
import { anotherWorker, days, hours, mortal, startTestEngine, wants } from './engine.ts'

/** Longer than a lease: by then a dead worker's operation is anybody's. */
const leaseOver = 61

/**
 * Kills a worker at its calls to providers, sinks and store, before and after each, and lets another
 * one finish.
 * @param stride every how many places are tried; 1 = all of them
 */
export function crashSuite(stride: number): void {
  describe('a worker that dies', () => {
    let test: TestEngine
    beforeAll(async () => {
      test = await startTestEngine()
    })
    afterAll(() => test.close())

    /** Runs `act` once per place to die, counted by a run that lives. */
    const everywhere = async (
      prepare: () => Promise<() => Promise<void>>,
      settle: (death: Death | null) => Promise<void>,
    ): Promise<number> => {
      const attempt = async (death: Death | null): Promise<number> => {
        const check = await prepare()
        const life = mortal(death)
        await anotherWorker(test, life.around).drain()
        await settle(death)
        try {
          await check()
        } catch (error) {
          const where = death ? `died ${death.when} ${life.calls[death.call]}` : 'lived'
          throw new Error(`${where} (call ${death?.call}): ${(error as Error).message}`, {
            cause: error,
          })
        }
        return life.calls.length
      }
      const places = await attempt(null)
      for (let place = 0; place < places * 2; place += stride) {
        await attempt({ call: place >> 1, when: place % 2 === 0 ? 'before' : 'after' })
      }
      return places
    }

    const kinds: readonly (readonly [string, () => CredentialEntry])[] = [
      ['an access key', wants.accessKey],
      ['a deploy key', wants.deployKey],
      ['a token', wants.token],
    ]

    it.each(kinds)(
      'anywhere while issuing %s leaves exactly one key, which works',
      async (_n, want) => {
        const owner = await test.person()
        const places = await everywhere(
          async () => {
            const account = await test.request(owner, { credentials: [want()], drain: false })
            return async () => {
              const [credential] = await test.credentials(account.id)
              expect((await test.account(account.id)).status).toBe('active')
              expect(credential!.status).toBe('active')
              const live = await test.liveAtProviders(account.id)
              expect(live).toHaveLength(1)
              expect(credential!.keyId).toContain(live[0])
              expect(await test.works(credential!)).toBe(true)
              const keys = await test.keys(credential!.id)
              expect(keys.filter((k) => k.status !== 'failed').map((k) => k.status)).toEqual([
                'active',
              ])
            }
          },
          () => test.pass(leaseOver + 4, leaseOver / 2 + 2),
        )
        expect(places).toBeGreaterThan(8)
      },
    )

    it.each(kinds)(
      'anywhere while rotating %s never leaves it without a working key',
      async (_n, want) => {
        const owner = await test.person()
        await everywhere(
          async () => {
            const account = await test.request(owner, { credentials: [want()] })
            const [credential] = await test.credentials(account.id)
            await test.engine.rotateCredential(test.admin, credential!.id)
            return async () => {
              const rotated = await test.credential(credential!.id)
              expect(rotated.generation).toBeGreaterThan(1)
              expect(await test.works(rotated)).toBe(true)
              const live = await test.liveAtProviders(account.id)
              expect(live).toHaveLength(1)
              expect(rotated.keyId).toContain(live[0])
            }
          },
          async () => {
            await test.pass(leaseOver + 4, leaseOver / 2 + 2)
            await test.pass(days(14) + hours(1), days(7) + 60)
          },
        )
      },
    )

    /** Asks for one right more than the entry has. */
    const rescope = async (credential: Credential, more: string): Promise<void> => {
      const { displayName, provider, kind, scopes } = credential
      await test.engine.updateCredential(test.admin, credential, {
        serviceAccount: credential.account,
        displayName,
        provider,
        kind,
        scopes: [...scopes, more],
        readers: [],
        deliverTo: undefined,
        expiresAt: undefined,
        rotateEvery: undefined,
        overlap: undefined,
      })
    }
    const put = 's3:PutObject on arn:aws:s3:::artifacts/*'

    /** Whether its key may write. */
    const may = ({ keyId, account }: Credential): boolean => {
      const keys = test.github.world.deployKeys('acme', 'website')
      const own = keys.filter((k) => k.title.startsWith(`custody/${account}/`))
      const isWriting = own.some((k) => keyId!.endsWith(`#${k.id}`) && !k.readOnly)
      return (
        isWriting || test.aws.world.wouldAllow(keyId!, 's3:PutObject', 'arn:aws:s3:::artifacts/x')
      )
    }

    it.each([
      ['in place', wants.accessKey, put],
      ['by a new key', wants.deployKey, 'write'],
    ] as const)(
      'anywhere while scopes change %s leaves a working key that has them',
      async (how, want, more) => {
        const owner = await test.person()
        await everywhere(
          async () => {
            const account = await test.request(owner, { credentials: [want()] })
            const [before] = await test.credentials(account.id)
            await rescope(before!, more)
            return async () => {
              const after = await test.credential(before!.id)
              expect(after.grantedScopes).toContain(more)
              expect(await test.works(after)).toBe(true)
              expect(after.keyId === before!.keyId).toBe(how === 'in place')
              expect(may(after)).toBe(true)
              expect(await openOf(account.id)).toEqual([])
            }
          },
          async () => {
            await test.pass(leaseOver * 2 + 8, leaseOver / 2 + 2)
            if (how !== 'in place') await test.pass(days(14) + hours(1), days(7) + 60)
          },
        )
      },
    )

    it('anywhere while a leaving is undone brings the same keys back, and they work', async () => {
      await everywhere(
        async () => {
          const owner = await test.person()
          const account = await test.request(owner, {
            credentials: [wants.accessKey(), wants.token()],
          })
          const before = (await test.credentials(account.id)).map((c) => c.keyId)
          await test.leave(owner)
          await test.pass(10)
          const leave = (await test.operations(owner)).find((o) => o.kind === 'leave')!
          await test.engine.undo(test.admin, leave.id, { reason: 'crash', dryRun: false })
          return async () => {
            expect((await test.account(account.id)).status).toBe('active')
            const after = await test.credentials(account.id)
            expect(after.map((c) => c.keyId)).toEqual(before)
            for (const credential of after) expect(await test.works(credential)).toBe(true)
            expect(await openOf(account.id)).toEqual([])
          }
        },
        () => test.pass(leaseOver * 3, leaseOver / 2 + 2),
      )
    })

    it.each([
      ['begins', []],
      ['gives the old key back', [11 * 60]],
      ['puts the new key away', [11 * 60, days(8)]],
    ] as const)('anywhere while a rehearsal %s ends with the key there was', async (_n, spans) => {
      const owner = await test.person()
      await everywhere(
        async () => {
          const account = await test.request(owner, { credentials: [wants.accessKey()] })
          const [before] = await test.credentials(account.id)
          await test.engine.rehearseCredential(test.admin, before!.id)
          // Until the part that is tried is due, and nobody has taken it up.
          for (const span of spans) {
            await test.pass(4)
            test.clock.advance(span)
          }
          return async () => {
            const after = await test.credential(before!.id)
            expect(after).toMatchObject({ status: 'active', keyId: before!.keyId })
            expect(await test.works(after)).toBe(true)
            expect(await test.liveAtProviders(account.id)).toEqual([before!.keyId])
            expect(await openOf(account.id)).toEqual([])
          }
        },
        async () => {
          await test.pass(leaseOver + 4, leaseOver / 2 + 2)
          await test.pass(days(15), days(1))
        },
      )
    })

    it('anywhere while an account is handed back leaves every key as it was', async () => {
      const owner = await test.person()
      await everywhere(
        async () => {
          const account = await test.request(owner, {
            credentials: [wants.accessKey(), wants.deployKey()],
          })
          const before = await test.liveAtProviders(account.id)
          const wish = { reason: 'crash', includeTokens: false, dryRun: false }
          await test.engine.eject(test.admin, account.id, wish)
          return async () => {
            const { aws, github } = test
            const deployKeys = github.world.deployKeys('acme', 'website').map((k) => `${k.id}`)
            const isThere = (key: string) => aws.world.wouldAccept(key) || deployKeys.includes(key)
            expect(before.filter((key) => !isThere(key))).toEqual([])
            expect(await test.account(account.id)).toMatchObject({ statusReason: 'ejected' })
            expect(await openOf(account.id)).toEqual([])
          }
        },
        () => test.pass(leaseOver + 4, leaseOver / 2 + 2),
      )
    })

    const openOf = async (account: string) =>
      (await test.store.read.openOperations(test.admin.tenant, account as never)).map(
        ({ kind, steps, cursor, failure }) => `${kind} at ${steps[cursor]} (${failure?.message})`,
      )

    it('anywhere while an account is switched off leaves nothing alive', async () => {
      await everywhere(
        async () => {
          const owner = await test.person()
          const account = await test.request(owner, {
            credentials: [wants.accessKey(), wants.deployKey(), wants.token()],
          })
          await test.leave(owner)
          return async () => {
            expect(await test.liveAtProviders(account.id)).toEqual([])
            expect((await test.account(account.id)).status).toBe('disabled')
            const report = await test.engine.offboarding(test.admin, owner)
            expect(report.verdict).toBe('complete')
            expect(report.keys).toHaveLength(3)
          }
        },
        () => test.pass(leaseOver * 2 + 8, leaseOver + 1),
      )
    })
  })
}
