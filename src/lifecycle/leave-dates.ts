import { setImmediate } from 'node:timers/promises'
import { errors } from '../domain/errors.ts'
import { isZone, parseLeaveDate } from '../domain/leave-date.ts'
import type { Person } from '../domain/owner.ts'
import type { PersonWrite } from '../domain/want.ts'
import { normalise } from '../domain/text.ts'
import type { Instant } from '../domain/time.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import type { PersonResult } from './people.ts'
import { updatePerson } from './people.ts'
import { withdrawOffers } from './planned-leaving.ts'

/** Rows of one list: they are written in one commit or not at all. */
export const leaveDatesMax = 2_000
const pageSize = 1_000

export const personKeys = ['userName', 'email', 'externalId', 'employeeNumber'] as const
export type PersonKey = (typeof personKeys)[number]

export interface LeaveDateEntry {
  /** Of the list it comes from, for what is wrong with it. */
  readonly line: number
  /** Bears what `key` of the whole list names. */
  readonly who: string
  /** A date, an instant, or empty: no date (any more). */
  readonly date: string
}

export interface LeaveDateRow {
  readonly line: number
  readonly owner: string
  readonly userName: string
  readonly before: Instant | null
  readonly after: Instant | null
  /** The leaving takes effect with the next sweep. */
  readonly past: boolean
}

/**
 * Gives people their leave dates from a list, all of it or nothing. Offers that were made because of a
 * date that moved are taken back.
 * @throws invalidValue naming each line with what is wrong with it, forbidden
 */
export async function setLeaveDates(
  life: Lifecycle,
  caller: Caller,
  want: {
    readonly key: PersonKey
    readonly zone: string
    readonly entries: readonly LeaveDateEntry[]
    readonly apply: boolean
    /** Dates that lie in the past are meant: those people leave at once. */
    readonly pastToo: boolean
  },
): Promise<readonly LeaveDateRow[]> {
  // Also for a look: it tells whom a name belongs to.
  authorise(life, caller, 'owner.leave', { type: 'person', id: '', directory: 'default' })
  if (!isZone(want.zone)) {
    throw errors.invalidValue({ path: 'zone', reason: 'is no time zone, such as Europe/Berlin.' })
  }
  const now = life.clock.now()
  const found = await peopleBy(life, caller, want.key, want.entries)
  const problems: string[] = []
  const seen = new Map<string, number>()
  const planned: { readonly person: Person; readonly row: LeaveDateRow }[] = []
  for (const { line, who, date } of want.entries) {
    const people = found.get(normalise(who)) ?? []
    const [person] = people
    const after = date === '' ? null : parseLeaveDate(date, want.zone)
    const isBad = date !== '' && after === null
    if (isBad) problems.push(`line ${line}: the date does not exist or is not like 2027-01-31`)
    if (!person) problems.push(`line ${line}: nobody here has that ${want.key}`)
    else if (people.length > 1) {
      problems.push(`line ${line}: ${people.length} people have that ${want.key}`)
    } else {
      const first = seen.get(person.id)
      if (first !== undefined) problems.push(`line ${line}: the same person as line ${first}`)
      seen.set(person.id, line)
      const past = after !== null && after <= now && person.active
      const { id: owner, userName, leavesAt: before = null } = person
      planned.push({ person, row: { line, owner, userName, before, after, past } })
    }
  }
  const rows = planned.map(({ row }) => row)
  const past = rows.filter((row) => row.past).map((row) => row.line)
  if (problems.length === 0 && past.length > 0 && want.apply && !want.pastToo) {
    problems.push(`lines ${past.join(', ')}: in the past, so these people would leave at once`)
  }
  if (problems.length > 0) {
    const shown = problems.slice(0, 20).join('; ')
    const more = problems.length > 20 ? `; and ${problems.length - 20} more` : ''
    throw errors.invalidValue({ path: 'entries', reason: `${shown}${more}. Nothing was changed.` })
  }
  if (want.apply) await write(life, caller, planned)
  return rows
}

async function write(
  life: Lifecycle,
  caller: Caller,
  planned: readonly { readonly person: Person; readonly row: LeaveDateRow }[],
): Promise<void> {
  const now = life.clock.now()
  const moved = planned.filter(({ row }) => row.before !== row.after)
  const changes = moved.flatMap(({ person, row }): readonly Change[] => {
    const { tenant, id, directory, version } = person
    const decision = authorise(life, caller, 'owner.leave', { type: 'person', id, directory })
    return [
      {
        type: 'person',
        person: { ...person, leavesAt: row.after, updatedAt: now },
        expectedVersion: version,
      },
      auditRow(life, {
        tenant,
        actor: caller.actor,
        action: 'person.leaveDateSet',
        target: { type: 'person', id },
        decision,
        facts: { before: row.before, leavesAt: row.after },
      }),
    ]
  })
  if (changes.length === 0) return
  await save(life, changes, { what: 'Leave dates of', id: `${moved.length} people` })
  for (const { person, row } of moved) {
    if (row.before !== null) await withdrawOffers(life, person, caller.actor)
  }
}

/** People of the list by what it calls them; `employeeNumber` has no index, so everybody is looked at. */
async function peopleBy(
  life: Lifecycle,
  caller: Caller,
  key: PersonKey,
  entries: readonly LeaveDateEntry[],
): Promise<ReadonlyMap<string, readonly Person[]>> {
  const wanted = new Set(entries.map(({ who }) => normalise(who)))
  const found = new Map<string, Person[]>()
  const note = (person: Person) => {
    for (const name of new Set(namesOf(person, key).map(normalise))) {
      if (wanted.has(name)) found.set(name, [...(found.get(name) ?? []), person])
    }
  }
  let after: string | null = null
  for (;;) {
    const page: readonly Person[] = await life.store.read.peopleAfter(
      caller.tenant,
      after,
      pageSize,
    )
    page.filter((p) => p.deletedAt === null).forEach(note)
    const last = page.at(-1)
    if (!last || page.length < pageSize) return found
    after = last.id
    await setImmediate()
  }
}

const enterprise = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'

function namesOf({ userName, externalId, attributes }: Person, key: PersonKey): readonly string[] {
  switch (key) {
    case 'userName':
      return [userName]
    case 'externalId':
      return externalId === null ? [] : [externalId]
    case 'employeeNumber': {
      const { employeeNumber } = (attributes[enterprise] ?? {}) as { employeeNumber?: unknown }
      return typeof employeeNumber === 'string' ? [employeeNumber] : []
    }
    case 'email': {
      const emails = (attributes['emails'] ?? []) as readonly { readonly value?: unknown }[]
      return emails.flatMap(({ value }) => (typeof value === 'string' ? [value] : []))
    }
  }
}

/** A directory's write of a person; offers for a leave date that it moved are taken back. */
export async function writePerson(
  life: Lifecycle,
  caller: Caller,
  current: Person,
  want: PersonWrite,
): Promise<PersonResult> {
  const result = await updatePerson(life, caller, current, want)
  const { person } = result
  const known = current.leavesAt ?? null
  if (known !== null && known !== person.leavesAt && person.active) {
    await withdrawOffers(life, person, caller.actor)
  }
  return result
}
