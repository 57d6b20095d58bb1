import { describe, expect, it } from 'vitest'
import { AwsError, AwsWorld } from '../../src/sandbox/aws.ts'
import { ManualClock } from '../support/manual-clock.ts'

/** The same bytes for the same seed, so that two worlds can be compared. */
function seeded(seed: number): (length: number) => Uint8Array {
  let state = seed
  return (length) =>
    Uint8Array.from({ length }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return state >>> 16
    })
}

function worldOf(seed = 1) {
  const clock = new ManualClock()
  const world = new AwsWorld({ clock, random: seeded(seed) })
  const iam = (operation: string, input: Record<string, unknown>, by?: string): object =>
    world.call({
      service: 'iam',
      operation,
      input,
      accessKeyId: by ?? world.admin.accessKeyId,
      region: 'us-east-1',
    }) ?? {}
  return { clock, world, iam }
}

describe('the AWS world without sockets', () => {
  it('is driven by plain synchronous calls', () => {
    const { world, iam } = worldOf()

    iam('CreateUser', { UserName: 'bot' })
    const made = iam('CreateAccessKey', { UserName: 'bot' }) as {
      AccessKey: { AccessKeyId: string }
    }

    expect(world.keysOf('bot').map((k) => [k.accessKeyId, k.status])).toEqual([
      [made.AccessKey.AccessKeyId, 'Active'],
    ])
    expect(world.wouldAccept(made.AccessKey.AccessKeyId)).toBe(true)
  })

  it('replays: the same randomness makes the same ids and secrets', () => {
    const [first, second, other] = [1, 1, 2].map((seed) => {
      const { iam } = worldOf(seed)
      iam('CreateUser', { UserName: 'bot' })
      return JSON.stringify(iam('CreateAccessKey', { UserName: 'bot' }))
    })

    expect(second).toBe(first)
    expect(other).not.toBe(first)
  })

  it('refuses a call by a key that does not work', () => {
    const { iam } = worldOf()

    expect(() => iam('ListUsers', {}, 'AKIANOBODYNOBODY1234')).toThrow(AwsError)
  })

  it('does not reach members that are no operations', () => {
    const { world } = worldOf()
    const accessKeyId = world.admin.accessKeyId
    const base = { input: {}, accessKeyId, region: 'us-east-1' }
    const services = ['iam', 'secretsmanager', 'sts'] as const

    for (const service of services) {
      for (const operation of ['constructor', 'toString', 'find', 'all']) {
        expect(() => world.call({ ...base, service, operation })).toThrow('does not play')
      }
    }
  })

  it('answers wouldAccept by the clock while writes spread', () => {
    const { clock, world, iam } = worldOf()
    world.propagationSeconds = 5
    iam('CreateUser', { UserName: 'bot' })
    iam('CreateAccessKey', { UserName: 'bot' })
    const id = world.keysOf('bot')[0]!.accessKeyId

    const before = world.wouldAccept(id)
    clock.advance(5)

    expect([before, world.wouldAccept(id)]).toEqual([false, true])
  })
})
