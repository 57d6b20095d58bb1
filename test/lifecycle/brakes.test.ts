import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Brake, BrakeName } from '../../src/domain/brake.ts'
import { defaultTenant, type TenantId } from '../../src/domain/ids.ts'
import type { BrakedAct } from '../../src/lifecycle/engine.ts'
import { brakeOn, engageBrake, releaseBrake } from '../../src/lifecycle/engine.ts'
import { openStore } from '../../src/store/open.ts'
import { createIdSource } from '../../src/domain/ids.ts'
import { pooledRandom } from '../../src/host/random.ts'
import { t0 } from '../support/entities.ts'
import { jsonCodec } from '../support/json-codec.ts'
import { ManualClock } from '../support/manual-clock.ts'

const on = (name: BrakeName, more: Partial<Brake> = {}): Brake => ({
  tenant: null,
  name,
  subject: '',
  since: t0,
  facts: {},
  ...more,
})

const acts: readonly BrakedAct[] = [
  'mint',
  'rotate',
  'expire',
  'delete',
  'retireKey',
  'deadline',
  'offboard',
  'orphans',
  'actOnListing:aws-prod',
  'actOnListing:github-acme',
]

const stopped = (...brakes: readonly Brake[]) => acts.filter((act) => brakeOn(brakes, act))

describe('what a brake stops', () => {
  it.each<[BrakeName, string, readonly BrakedAct[]]>([
    ['leavers', 'default', []],
    ['clock', '', ['rotate', 'expire', 'delete', 'retireKey', 'deadline']],
    [
      'restored',
      '',
      [
        'mint',
        'rotate',
        'expire',
        'delete',
        'retireKey',
        'deadline',
        'orphans',
        'actOnListing:aws-prod',
        'actOnListing:github-acme',
      ],
    ],
    ['listing', 'aws-prod', ['actOnListing:aws-prod']],
  ])('%s (%s)', (name, subject, expected) => {
    expect(stopped(on(name, { subject }))).toEqual(expected)
  })

  it('never stops what a leaving that was confirmed asks for, with all of them on', () => {
    const all = [
      on('leavers', { subject: 'default' }),
      on('clock'),
      on('restored'),
      on('listing', { subject: 'aws-prod' }),
    ]

    expect(brakeOn(all, 'offboard')).toBeNull()
  })

  it('R44: a listing that has shrunk stops what is derived from it, at that provider alone', () => {
    const brakes = [on('listing', { subject: 'aws-prod', facts: { dropped: '12 %' } })]

    expect(brakeOn(brakes, 'actOnListing:aws-prod')).toBe(brakes[0])
    expect(brakeOn(brakes, 'actOnListing:aws')).toBeNull()
    expect(brakeOn(brakes, 'expire')).toBeNull()
  })

  it('concerns its own tenant, or everybody', () => {
    const theirs = on('restored', { tenant: 'other' as TenantId })

    expect(brakeOn([theirs], 'mint', defaultTenant)).toBeNull()
    expect(brakeOn([theirs], 'mint', 'other')).toBe(theirs)
    expect(brakeOn([on('restored')], 'mint', defaultTenant)).not.toBeNull()
  })
})

describe('a brake', () => {
  it('is seen by every process and survives a restart, with one audit row each way', async () => {
    const home = await mkdtemp(path.join(tmpdir(), 'custody-brakes-'))
    const url = `sqlite:${path.join(home, 'custody.db')}`
    const first = await openStore({ url, codec: jsonCodec })
    const clock = new ManualClock()
    const lifeOf = (store: typeof first) => ({
      store,
      clock,
      ids: createIdSource(clock, pooledRandom),
    })
    const key = { tenant: null, name: 'listing', subject: 'aws-prod' } as const

    expect(await engageBrake(lifeOf(first), key, { dropped: 3 })).toBe(true)
    const second = await openStore({ url, codec: jsonCodec })
    expect(await engageBrake(lifeOf(second), key, { dropped: 4 })).toBe(false)
    await first.close()
    await first.close()
    expect(await second.read.brakes()).toMatchObject([{ ...key, facts: { dropped: 4 } }])
    clock.advance(1)
    expect(await releaseBrake(lifeOf(second), key, {})).toBe(true)
    expect(await releaseBrake(lifeOf(second), key, {})).toBe(false)

    const rows = await second.read.audit(defaultTenant, { after: null, limit: 10 })
    expect(rows.map((r) => r.action)).toEqual(['brake.engaged', 'brake.released'])
    await second.close()
    await rm(home, { recursive: true })
  })
})
