import type {
  CheckLists,
  DirectoryDifference,
  DirectoryPerson,
  KnownPerson,
} from '../domain/directory.ts'
import type { Person } from '../domain/owner.ts'
import { ownerStateOf } from '../domain/owner.ts'
import { isJsonObject } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import { secondsBetween } from '../domain/time.ts'

export interface Pair {
  readonly here: Person
  readonly there: DirectoryPerson
  readonly by: 'externalId' | 'userName' | 'email'
}

interface Matched {
  readonly pairs: readonly Pair[]
  readonly ghosts: readonly Person[]
  readonly unknown: readonly DirectoryPerson[]
  readonly ambiguous: CheckLists['ambiguous']
}

/** In the order in which they are trusted; each key of a person only counts once all before found none. */
const keys: readonly {
  readonly by: Pair['by']
  readonly here: (person: Person) => readonly string[]
  readonly there: (person: DirectoryPerson) => readonly string[]
}[] = [
  {
    by: 'externalId',
    here: ({ externalId }) => (externalId === null ? [] : [externalId]),
    there: ({ id, externalId }) => [...new Set([id, ...(externalId === null ? [] : [externalId])])],
  },
  {
    by: 'userName',
    here: ({ userName }) => [normalise(userName)],
    there: ({ userName }) => [normalise(userName)],
  },
  {
    by: 'email',
    here: (person) => someOf(emailOf(person)),
    there: ({ email }) => someOf(email),
  },
]

function someOf(text: string | null): readonly string[] {
  return text === null || text === '' ? [] : [normalise(text)]
}

/**
 * Who here is who there. A key that two people share names nobody: both sides are reported as
 * ambiguous and are not tried with a weaker key, for that would be a guess. Pure.
 */
export function matchPeople(
  people: readonly Person[],
  listed: readonly DirectoryPerson[],
): Matched {
  const pairs: Pair[] = []
  const ambiguous: CheckLists['ambiguous'][number][] = []
  let here = [...people]
  let there = [...listed]
  for (const key of keys) {
    const ours = index(here, key.here)
    const theirs = index(there, key.there)
    const done = new Set<Person | DirectoryPerson>()
    for (const [value, candidates] of theirs) {
      const known = ours.get(value) ?? []
      const free = [...known, ...candidates].every((one) => !done.has(one))
      if (known.length === 0 || !free) continue
      if (known.length === 1 && candidates.length === 1) {
        pairs.push({ here: known[0]!, there: candidates[0]!, by: key.by })
      } else {
        ambiguous.push({
          by: key.by,
          here: known.map(knownOf),
          there: candidates.map(({ id, userName }) => ({ id, userName })),
        })
      }
      for (const one of [...known, ...candidates]) done.add(one)
    }
    here = here.filter((person) => !done.has(person))
    there = there.filter((person) => !done.has(person))
  }
  return { pairs, ghosts: here, unknown: there, ambiguous }
}

function index<T>(
  rows: readonly T[],
  read: (row: T) => readonly string[],
): ReadonlyMap<string, readonly T[]> {
  const found = new Map<string, T[]>()
  for (const row of rows) {
    for (const key of read(row)) {
      const same = found.get(key)
      if (same) same.push(row)
      else found.set(key, [row])
    }
  }
  return found
}

export interface Comparison extends CheckLists {
  readonly agreeing: number
  readonly all: number
  readonly unsettled: number
  readonly lag: { readonly people: number; readonly median: number; readonly worst: number } | null
}

/**
 * What Custody believes beside what the directory says. A record is a person that either knows;
 * it agrees when both say the same of active or left. Attributes that differ are listed, but do not
 * make a record disagree. Pure.
 * @param people of the directory, deleted ones included
 */
export function comparePeople(
  people: readonly Person[],
  listed: readonly DirectoryPerson[],
  scope: 'everyone' | 'assigned',
): Comparison {
  const present = people.filter((p) => p.deletedAt === null)
  const first = matchPeople(present, listed)
  // Who was deleted here counts only for somebody whom the directory still knows.
  const again = matchPeople(
    people.filter((p) => p.deletedAt !== null),
    first.unknown.filter((p) => p.state === 'active'),
  )
  const pairs = [...first.pairs, ...again.pairs]
  const returnedIds = new Set(again.pairs.map(({ there }) => there.id))
  const disagreeing = pairs.filter(
    ({ here, there }) => there.state !== 'unsettled' && (there.state === 'active') !== here.active,
  )
  const missed = disagreeing
    .filter(({ here }) => here.active)
    .map(({ here, there, by }) => ({
      ...knownOf(here),
      version: here.version,
      by,
      since: there.changedAt,
      deleted: there.deleted,
    }))
  const returned = disagreeing
    .filter(({ here }) => !here.active)
    .map(({ here, there }) => ({ ...knownOf(here), leftAt: here.leftAt, since: there.changedAt }))
  const ghosts = first.ghosts.filter((p) => p.active).map(knownOf)
  const missing =
    scope === 'assigned'
      ? []
      : first.unknown
          .filter((p) => p.state === 'active' && !returnedIds.has(p.id))
          .map(({ id, userName, email }) => ({ id, userName, email }))
  const puzzled = first.ambiguous.reduce((n, a) => n + Math.max(a.here.length, a.there.length), 0)
  const agreeing = pairs.length - disagreeing.length + first.ghosts.length - ghosts.length
  return {
    missed,
    ghosts,
    missing,
    returned,
    differences: differencesOf(pairs.filter(({ here, there }) => isActive(here, there))),
    ambiguous: first.ambiguous,
    agreeing,
    all: agreeing + disagreeing.length + ghosts.length + missing.length + puzzled,
    unsettled: pairs.filter(({ there }) => there.state === 'unsettled').length,
    lag: lagOf(pairs),
  }
}

/** The primary address, else the first. */
function emailOf({ attributes }: Person): string | null {
  const { emails } = attributes
  const all = (Array.isArray(emails) ? emails : []).filter(isJsonObject)
  const value = (all.find((email) => email['primary'] === true) ?? all[0])?.['value']
  return typeof value === 'string' ? value : null
}

function isActive(here: Person, there: DirectoryPerson): boolean {
  return here.active && there.state !== 'left'
}

function knownOf({ id, userName }: Person): KnownPerson {
  return { id, userName }
}

function differencesOf(pairs: readonly Pair[]): readonly DirectoryDifference[] {
  const byName = new Map<string, Person>()
  for (const { here, there } of pairs) {
    for (const name of [here.id, here.externalId, here.userName, there.id, there.userName]) {
      if (name !== null) byName.set(normalise(name), here)
    }
  }
  const personOf = (name: string | null) =>
    name === null ? null : (byName.get(normalise(name))?.id ?? normalise(name))
  return pairs.flatMap(({ here, there }) => {
    const managerHere = ownerStateOf(here).manager
    const known = knownOf(here)
    const found: DirectoryDifference[] = []
    if (normalise(here.userName) !== normalise(there.userName)) {
      const { userName } = here
      found.push({ ...known, attribute: 'userName', here: userName, there: there.userName })
    }
    const email = emailOf(here)
    if (there.email !== null && normalise(email ?? '') !== normalise(there.email)) {
      found.push({ ...known, attribute: 'email', here: email, there: there.email })
    }
    if (there.manager !== undefined && personOf(managerHere) !== personOf(there.manager)) {
      found.push({ ...known, attribute: 'manager', here: managerHere, there: there.manager })
    }
    return found
  })
}

/** How long the word of a leaving took, for those gone on both sides. Earlier word here = declared. */
function lagOf(pairs: readonly Pair[]): Comparison['lag'] {
  const waits = pairs
    .flatMap(({ here, there }) =>
      there.state === 'left' && there.changedAt !== null && here.leftAt !== null
        ? [secondsBetween(there.changedAt, here.leftAt)]
        : [],
    )
    .filter((wait) => wait >= 0)
    .toSorted((a, b) => a - b)
  if (waits.length === 0) return null
  const median = waits[Math.floor((waits.length - 1) / 2)]!
  return { people: waits.length, median, worst: waits.at(-1)! }
}
