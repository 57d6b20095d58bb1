import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PersonWrite } from '../../src/domain/want.ts'
import type { TestEngine } from '../support/engine.ts'
import { hours, startTestEngine, userSchema } from '../support/engine.ts'

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
/** `MOVE_PEOPLE=5000` for the whole size, which takes 17 s. */
const people = Number(process.env['MOVE_PEOPLE'] ?? 2_000)
const owners = people / 10

describe('a company that changes its directory', () => {
  let custody: TestEngine
  beforeAll(async () => {
    // The brake as shipped: a move that tripped it would hold the company.
    custody = await startTestEngine({ brake: true })
  })
  afterAll(() => custody.close())

  it(`keeps ${people} people, orphans nothing and switches nothing off; a second run changes nothing`, async () => {
    const { engine, admin, store, clock } = custody
    const okta = custody.caller('directory', { directory: 'okta' })
    const entra = custody.caller('directory', { directory: 'entra' })
    const write = (i: number, domain: string, active?: boolean): PersonWrite => ({
      type: 'person',
      userName: `p${i}@${domain}`,
      externalId: `${domain}-${i}`,
      active,
      attributes: { schemas: [userSchema], [enterprise]: { employeeNumber: `E${i}` } },
    })
    const ids: string[] = []
    for (let i = 0; i < people; i++) {
      ids.push((await engine.createPerson(okta, write(i, 'old.example'))).person.id)
    }
    const accounts = []
    for (let i = 0; i < owners; i++) {
      accounts.push(await custody.request(ids[i]!, { drain: false }))
    }
    await custody.pass(2)

    const wish = { from: 'okta', to: 'entra', match: 'employeeNumber' } as const
    const started = performance.now()
    let move = await engine.openMove(admin, wish)
    const opened = performance.now() - started
    while (move.stage !== 'done') move = await engine.advanceMove(admin, move.id)
    for (let i = 0; i < people; i++) {
      const { person } = await engine.createPerson(entra, write(i, 'new.example', true))
      expect(person.id).toBe(ids[i])
    }
    await custody.pass(hours(3), hours(1))

    const statuses = new Map<string, number>()
    for (const { id } of accounts) {
      const { status, owner } = await custody.account(id)
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      expect(ids).toContain(owner.id)
    }
    expect([...statuses]).toEqual([['active', owners]])
    expect((await store.read.orphans(clock.now(), null, 100)).rows).toEqual([])
    expect(await engine.finishMove(admin, move.id, { force: false })).toMatchObject({
      waiting: 0,
      waitingOwners: [],
      move: { facts: { confirmed: people } },
    })
    const leaves = await store.read.operations({
      tenant: admin.tenant,
      kind: 'leave',
      after: null,
      limit: 10,
    })
    expect(leaves).toEqual([])

    const again = await engine.planMove(admin, wish)
    expect(again).toMatchObject({ people: 0, groups: 0, twins: 0 })
    console.log(`opening a move of ${people} people took ${Math.round(opened)} ms`)
  })
})
