import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import type { AccountId, OperationId, PersonId } from '../../src/domain/ids.ts'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { addSeconds, seconds, type Instant } from '../../src/domain/time.ts'
import {
  openStatuses,
  operationRank,
  type Operation,
  type OperationKind,
  urgentKinds,
} from '../../src/domain/operation.ts'
import type { Person } from '../../src/domain/owner.ts'
import type { Change, CommitResult, Conflict } from '../../src/store/store.ts'
import { makeId, makeOperation, makePerson, t0 } from '../support/entities.ts'
import type { OpenStore } from './store.ts'

/** The store as one would write it with maps: slow, in memory and without a single trick. */
class Model {
  people = new Map<string, Person>()
  operations = new Map<string, Operation>()
  meta = new Map<string, string>()

  commit(changes: readonly Change[]): CommitResult {
    const before = [new Map(this.people), new Map(this.operations), new Map(this.meta)] as const
    for (const [change, one] of changes.entries()) {
      const refusal = this.#apply(one)
      if (refusal !== null) {
        ;[this.people, this.operations, this.meta] = before
        return { change, ...refusal }
      }
    }
    return 'saved'
  }

  #apply(change: Change): Omit<Conflict, 'change'> | null {
    switch (change.type) {
      case 'person':
        return this.#person(change.person, change.expectedVersion)
      case 'enqueue':
        return this.#enqueue(change.operation, change.preempt)
      case 'advance': {
        const stored = this.operations.get(change.id)
        if (stored === undefined) return { reason: 'missing', with: change.id }
        if (stored.fence !== change.fence) return { reason: 'fence', with: change.id }
        const reopens = openStatuses.includes(change.set.status ?? stored.status)
        const other = [...this.operations.values()].find(
          (o) =>
            o.id !== stored.id && o.subject === stored.subject && openStatuses.includes(o.status),
        )
        if (reopens && other !== undefined) return { reason: 'busy', with: other.id }
        this.operations.set(change.id, {
          ...stored,
          ...change.set,
          ...(change.release ? { leaseWorker: null, leaseUntil: null } : {}),
          updatedAt: change.at,
        })
        return null
      }
      case 'meta':
        this.meta.set(change.key, change.value)
        return null
      default:
        throw new Error(`the model knows no ${change.type}`)
    }
  }

  #person(person: Person, expected: number | null): Omit<Conflict, 'change'> | null {
    const stored = this.people.get(person.id)
    if (expected === null && stored !== undefined) return { reason: 'version', with: person.id }
    if (expected !== null && stored === undefined) return { reason: 'missing', with: person.id }
    if (stored !== undefined && stored.version !== expected) {
      return { reason: 'version', with: person.id }
    }
    const clash = [...this.people.values()].find(
      (p) => p.id !== person.id && p.userName.toLowerCase() === person.userName.toLowerCase(),
    )
    if (clash !== undefined) return { reason: 'userName', with: clash.id }
    this.people.set(person.id, { ...person, version: (expected ?? 0) + 1 })
    return null
  }

  #enqueue(operation: Operation, preempt: boolean): Omit<Conflict, 'change'> | null {
    const rank = operationRank[operation.kind]
    const open = () => [...this.operations.values()].filter((o) => openStatuses.includes(o.status))
    if (preempt) {
      for (const o of open()) {
        const below = operation.subjectType === 'account' && o.account === operation.subject
        if ((o.subject !== operation.subject && !below) || operationRank[o.kind] > rank) continue
        this.operations.set(o.id, {
          ...o,
          status: 'cancelled',
          fence: o.fence + 1,
          finishedAt: operation.createdAt,
          updatedAt: operation.createdAt,
        })
      }
    }
    const busy =
      open().find((o) => o.subject === operation.subject) ??
      open().find(
        (o) =>
          operation.subjectType === 'credential' &&
          o.subject === operation.account &&
          operationRank[o.kind] > rank,
      )
    if (busy !== undefined) return { reason: 'busy', with: busy.id }
    this.operations.set(operation.id, operation)
    return null
  }

  claim(now: Instant, lease: number, limit: number): string[] {
    const dueAt = (o: Operation) =>
      o.status === 'running'
        ? (o.leaseUntil ?? o.runAt)
        : o.status === 'queued' || o.status === 'waiting'
          ? o.runAt
          : null
    const key = (o: Operation) => `${urgentKinds.includes(o.kind) ? 0 : 1} ${dueAt(o)} ${o.id}`
    const all = [...this.operations.values()]
    const due = all
      .filter((o) => dueAt(o) !== null && dueAt(o)! <= now)
      .sort((a, b) => (key(a) < key(b) ? -1 : 1))
    const busy = new Set(
      all.filter((o) => o.status === 'running' && dueAt(o)! > now).map((o) => o.account),
    )
    const claimed: string[] = []
    for (const o of due) {
      if (claimed.length === limit) break
      if (o.account !== null && busy.has(o.account)) continue
      busy.add(o.account)
      claimed.push(o.id)
      this.operations.set(o.id, {
        ...o,
        status: 'running',
        fence: o.fence + 1,
        leaseWorker: 'w',
        leaseUntil: addSeconds(now, lease),
        updatedAt: now,
      })
    }
    return claimed.sort()
  }
}

const peopleIds = Array.from({ length: 3 }, () => makeId<PersonId>())
const accountIds = Array.from({ length: 2 }, () => makeId<AccountId>())
const credentialIds = Array.from({ length: 3 }, () => makeId())
const kinds: readonly OperationKind[] = ['issue', 'rotate', 'enable', 'revoke', 'disable', 'retire']

/** Changes as small numbers, so that a failing run shrinks to something readable. */
type Plan =
  | { readonly do: 'person'; readonly who: number; readonly name: number; readonly version: number }
  | {
      readonly do: 'enqueue'
      readonly level: 'account' | 'credential'
      readonly subject: number
      readonly kind: number
      readonly preempt: boolean
    }
  | {
      readonly do: 'advance'
      readonly which: number
      readonly fence: number
      readonly status: 'waiting' | 'succeeded' | 'needsOperator'
      readonly release: boolean
    }
  | { readonly do: 'meta'; readonly value: number }

const plan: fc.Arbitrary<Plan> = fc.oneof(
  fc.record({
    do: fc.constant('person' as const),
    who: fc.nat(2),
    name: fc.nat(3),
    version: fc.nat(3),
  }),
  fc.record({
    do: fc.constant('enqueue' as const),
    level: fc.constantFrom('account' as const, 'credential' as const),
    subject: fc.nat(2),
    kind: fc.nat(5),
    preempt: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('advance' as const),
    which: fc.nat(8),
    fence: fc.nat(2),
    status: fc.constantFrom('waiting' as const, 'succeeded' as const, 'needsOperator' as const),
    release: fc.boolean(),
  }),
  fc.record({ do: fc.constant('meta' as const), value: fc.nat(9) }),
)
/** Commits that start in the same tick (and so share a group), then perhaps a claim. */
const round = fc.record({
  commits: fc.array(fc.array(plan, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 4 }),
  claim: fc.option(fc.integer({ min: 1, max: 3 })),
})

function changeOf(plan: Plan, made: Operation[]): Change {
  switch (plan.do) {
    case 'person': {
      const person = makePerson({ id: peopleIds[plan.who]!, userName: `Name-${plan.name}` })
      return { type: 'person', person, expectedVersion: plan.version === 0 ? null : plan.version }
    }
    case 'enqueue': {
      const account = accountIds[plan.subject % 2]!
      const operation = makeOperation({
        kind: kinds[plan.kind]!,
        subjectType: plan.level,
        subject: plan.level === 'account' ? account : credentialIds[plan.subject]!,
        account,
      })
      made.push(operation)
      return { type: 'enqueue', operation, preempt: plan.preempt }
    }
    case 'advance':
      return {
        type: 'advance',
        id: made.at(-1 - plan.which)?.id ?? (credentialIds[0] as string as OperationId),
        fence: plan.fence,
        set: { status: plan.status, cursor: plan.which },
        release: plan.release,
        at: addSeconds(t0, plan.which),
      }
    default:
      return { type: 'meta', key: 'k', value: String(plan.value) }
  }
}

export function storeModel(open: OpenStore, effort: number): void {
  it('behaves as the model does under any interleaving of commits and claims', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 1, maxLength: 12 }), async (rounds) => {
        const opened = await open({ ordered: true })
        try {
          const model = new Model()
          const made: Operation[] = []
          for (const [i, { commits, claim }] of rounds.entries()) {
            const lists = commits.map((plans) => plans.map((p) => changeOf(p, made)))
            const results = await Promise.all(lists.map((changes) => opened.store.commit(changes)))
            expect(results).toEqual(lists.map((changes) => model.commit(changes)))

            if (claim === null) continue
            const now = addSeconds(t0, i * 20)
            const claimed = await opened.store.claim('w', now, seconds(30), claim)
            expect(claimed.map((o) => o.id).sort()).toEqual(model.claim(now, 30, claim))
          }

          for (const id of peopleIds) {
            expect(await opened.store.read.person(tenant, id)).toEqual(model.people.get(id) ?? null)
          }
          for (const { id } of made) {
            const stored = await opened.store.read.operation(tenant, id)
            const expected = model.operations.get(id) ?? null
            expect(stored === null ? null : { ...stored, failure: null }).toEqual(expected)
          }
          expect(await opened.store.read.meta('k')).toBe(model.meta.get('k') ?? null)
        } finally {
          await opened.dispose()
        }
      }),
      { numRuns: 40 * effort },
    )
  })
}
