import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Caller } from '../../src/lifecycle/engine.ts'
import type { TestEngine } from '../support/engine.ts'
import { startTestEngine } from '../support/engine.ts'
import { unique } from '../support/entities.ts'

let test: TestEngine
beforeAll(async () => {
  test = await startTestEngine({ brake: true })
})
afterAll(() => test.close())

const hour = 3_600
const crowd = 12

type Act =
  | { readonly do: 'leave' | 'return' | 'delete' | 'declare'; readonly who: number }
  | { readonly do: 'approve' | 'deny'; readonly who: number | null }
  | { readonly do: 'wait'; readonly seconds: number }

const who = fc.nat({ max: crowd - 1 })
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('leave' as const), who }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('return' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('declare' as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('approve' as const, 'deny' as const),
      who: fc.option(who),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('wait' as const),
      seconds: fc.constantFrom(60, hour / 2, hour + 1, 25 * hour),
    }),
  },
)

/** A directory of its own, and what was let go in it without anybody's word. */
class Storm {
  readonly directory = unique('directory')
  readonly hr: Caller = test.caller('directory', { directory: this.directory })
  readonly security: Caller = test.caller('security')
  readonly ids: string[] = []
  readonly letGo: { readonly id: string; readonly at: number }[] = []

  async fill(): Promise<void> {
    for (let i = 0; i < crowd; i++) {
      const { person } = await test.engine.createPerson(this.hr, {
        type: 'person',
        userName: unique('person'),
        externalId: null,
        active: true,
        attributes: { schemas: [] },
      })
      this.ids.push(person.id)
    }
  }

  async run(step: Act): Promise<void> {
    if (step.do === 'wait') return test.clock.advance(step.seconds)
    if (step.do === 'approve' || step.do === 'deny') return this.#decide(step.do, step.who)
    const id = this.ids[step.who as number]!
    const person = (await test.store.read.person(this.hr.tenant, id))!
    if (step.do === 'declare') {
      if (!person.active && person.heldBy === null) return
      if (person.deletedAt !== null && person.heldBy === null) return
      await test.engine.declareLeave(this.security, id, { reason: null, since: null })
      return
    }
    if (person.deletedAt !== null) return
    const active = step.do === 'return'
    const { userName, externalId, attributes } = person
    const { operation } =
      step.do === 'delete'
        ? await test.engine.deletePerson(this.hr, person)
        : await test.engine.updatePerson(this.hr, person, {
            type: 'person',
            userName,
            externalId,
            attributes,
            active,
          })
    if (operation) this.letGo.push({ id, at: test.clock.monotonic() / 1_000 })
  }

  async #decide(verb: 'approve' | 'deny', one: number | null): Promise<void> {
    const all = await test.engine.approvals(this.security, {
      status: null,
      after: null,
      limit: 200,
    })
    const open = all.find((a) => a.subject === this.directory && a.status !== 'closed')
    if (!open) return
    const { approval, items } = await test.engine.approval(this.security, open.id)
    const subject = one === null ? null : this.ids[one]!
    if (subject !== null && !items.some((i) => i.subject === subject && i.outcome === null)) return
    const subjects = subject === null ? null : [subject]
    const wish = { hash: approval.hash!, subjects, reason: null }
    await test.engine[verb](this.security, open.id, wish)
  }

  /** What is not as it has to be, in words. */
  async violations(): Promise<readonly string[]> {
    const found: string[] = []
    for (const { at } of this.letGo) {
      const within = this.letGo.filter((l) => l.at > at - hour && l.at <= at)
      const count = new Set(within.map((l) => l.id)).size
      if (count > 5) found.push(`${count} were let go within an hour`)
    }
    let undecided = 0
    for (const id of this.ids) {
      const person = (await test.store.read.person(this.hr.tenant, id))!
      if (person.heldBy !== null) {
        const item = await test.store.read.approvalItem(person.tenant, person.heldBy, id)
        const waits = item !== null && (item.outcome === null || item.outcome === 'denied')
        if (person.active || !waits) found.push(`${id} is held by nothing that waits`)
        if (item?.outcome === null) undecided += 1
      } else if (!person.active) {
        const { leftCause } = person
        const operation = leftCause && (await test.store.read.operation(person.tenant, leftCause))
        if (!operation) found.push(`${id} is gone, and nothing acts on it`)
      }
    }
    const isOn = (await test.engine.brakes()).some((b) => b.subject === this.directory)
    if (isOn !== undecided > 0) found.push(`the brake is ${isOn}, ${undecided} wait`)
    return found
  }
}

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

describe(`a directory in a storm (seed ${seed})`, () => {
  it('loses at most the first five an hour without a word; everybody gone is held or acted on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 40 }), async (acts) => {
        const storm = new Storm()
        await storm.fill()
        for (const step of acts) await storm.run(step)
        expect(await storm.violations()).toEqual([])
      }),
      { seed, numRuns: 15 },
    )
  })
})
