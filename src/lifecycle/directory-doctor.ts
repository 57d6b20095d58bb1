import { setImmediate } from 'node:timers/promises'
import type { OwnerRef, Person } from '../domain/owner.ts'
import { ownerStateOf } from '../domain/owner.ts'
import { day, secondsBetween } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'
import { heardOf } from './directory-check.ts'

/** Something about the people data that will hurt one day, and what to do about it. */
export interface DoctorFinding {
  readonly check:
    | 'thin-group'
    | 'no-manager'
    | 'many-accounts'
    | 'silent-connection'
    | 'name-changed'
    | 'never-checked'
    | 'disagreement'
    | 'attribute-format'
  /** Who or what: a userName, a group's name, a client's. */
  readonly subject: string
  readonly id: string
  readonly found: string
  readonly fix: string
}

export const accountsPerPersonMax = 20
const pageSize = 500
/** A check older than this says little about today. */
const checkAgeMax = 7 * day

/** Looks through people, groups, accounts and connections; takes a while in a large company. */
export async function directoryDoctor(
  life: Lifecycle,
  caller: Caller,
): Promise<readonly DoctorFinding[]> {
  authorise(life, caller, 'directory.check', { type: 'tenant', id: caller.tenant })
  const owned = await ownersOf(life, caller)
  return [
    ...(await thinGroups(life, caller, owned)),
    ...(await people(life, caller, owned)),
    ...(await connections(life, caller)),
    ...(await checks(life, caller)),
  ]
}

type Owned = ReadonlyMap<string, { readonly owner: OwnerRef; readonly accounts: number }>

/** How many accounts that are not retired each owner has. */
async function ownersOf(life: Lifecycle, { tenant }: Caller): Promise<Owned> {
  const owned = new Map<string, { owner: OwnerRef; accounts: number }>()
  for (let after: string | null = null; ;) {
    const page = await life.store.read.accountsAfter(tenant, after, pageSize)
    for (const { owner, status } of page) {
      if (status === 'retired') continue
      const known = owned.get(owner.id)
      if (known) known.accounts++
      else owned.set(owner.id, { owner, accounts: 1 })
    }
    after = page.at(-1)?.id ?? null
    if (after === null || page.length < pageSize) return owned
    await setImmediate()
  }
}

async function thinGroups(
  life: Lifecycle,
  { tenant }: Caller,
  owned: Owned,
): Promise<readonly DoctorFinding[]> {
  const found: DoctorFinding[] = []
  for (const { owner, accounts } of owned.values()) {
    if (owner.type !== 'Group') continue
    const group = await life.store.read.group(tenant, owner.id)
    const members = await activeMembers(life, tenant, owner.id)
    if (members >= 2) continue
    const who = members === 0 ? 'nobody active' : 'one active person'
    found.push({
      check: 'thin-group',
      subject: group?.displayName ?? owner.id,
      id: owner.id,
      found: `owns ${accounts} account(s) and has ${who} in it`,
      fix:
        members === 0
          ? 'Put people into the group in the directory, or: custody account transfer'
          : 'Put a second person into the group in the directory: with the only one all of it is orphaned.',
    })
  }
  return found
}

/** Up to two, in nested groups as well; groups may lie in a circle. */
async function activeMembers(
  life: Lifecycle,
  tenant: Person['tenant'],
  group: string,
): Promise<number> {
  const people = new Set<string>()
  const seen = new Set([group])
  for (const id of seen) {
    for (let after: string | null = null; ;) {
      const page = await life.store.read.members(tenant, id, after, pageSize)
      for (const member of page) {
        if (member.type === 'Group') seen.add(member.id)
        else if ((await life.store.read.person(tenant, member.id))?.active) people.add(member.id)
        if (people.size >= 2) return 2
      }
      after = page.at(-1)?.id ?? null
      if (after === null || page.length < pageSize) break
    }
  }
  return people.size
}

async function people(
  life: Lifecycle,
  { tenant }: Caller,
  owned: Owned,
): Promise<readonly DoctorFinding[]> {
  const found: DoctorFinding[] = []
  for (let after: string | null = null; ;) {
    const page = await life.store.read.peopleAfter(tenant, after, pageSize)
    for (const person of page) {
      if (!person.active || person.deletedAt !== null) continue
      const accounts = owned.get(person.id)?.accounts ?? 0
      const of = { subject: person.userName, id: person.id }
      if (ownerStateOf(person).manager === null) {
        found.push({
          ...of,
          check: 'no-manager',
          found: `has no manager${accounts > 0 ? `, and owns ${accounts} account(s)` : ''}`,
          fix: 'Map the attribute manager in the directory: whatever this person leaves behind is offered to nobody.',
        })
      }
      if (accounts > accountsPerPersonMax) {
        found.push({
          ...of,
          check: 'many-accounts',
          found: `owns ${accounts} accounts`,
          fix: 'Let groups own them: custody account transfer <account> --to <group>',
        })
      }
    }
    after = page.at(-1)?.id ?? null
    if (after === null || page.length < pageSize) return found
    await setImmediate()
  }
}

async function connections(life: Lifecycle, caller: Caller): Promise<readonly DoctorFinding[]> {
  const clients = await life.store.read.clients(caller.tenant)
  const names = new Set(
    clients.filter((c) => c.role === 'directory').map((c) => c.directory ?? 'default'),
  )
  const found: DoctorFinding[] = []
  for (const name of names) {
    const cycle = life.directories?.get(name)?.cycle ?? day
    for (const heard of await heardOf(life, caller, name, cycle)) {
      if (!heard.silent) continue
      const when =
        heard.lastHeardAt === null
          ? 'was never heard'
          : `was last heard ${age(heard.ageSeconds!)} ago (${heard.lastHeardAt})`
      found.push({
        check: 'silent-connection',
        subject: heard.name,
        id: heard.client,
        found: `${when}; its directory speaks every ${age(cycle)}`,
        fix: 'Look at the provisioning job of the identity provider: is it on, is its token valid?',
      })
    }
  }
  return found
}

async function checks(life: Lifecycle, caller: Caller): Promise<readonly DoctorFinding[]> {
  const found: DoctorFinding[] = []
  for (const name of life.directories?.keys() ?? []) {
    const check = await life.store.read.directoryCheck(caller.tenant, name)
    const run = `custody directory check --directory ${name}`
    const of = { subject: name, id: name }
    const old = check === null ? null : secondsBetween(check.at, life.clock.now())
    if (check === null || old === null || old > checkAgeMax || !check.complete) {
      const what =
        check === null
          ? 'was never compared with Custody'
          : check.complete
            ? `was last compared ${age(old!)} ago`
            : `could not be read whole: ${check.report.trouble}`
      found.push({ ...of, check: 'never-checked', found: what, fix: `Run: ${run}` })
      if (!check?.complete) continue
    }
    if (check.agreeing < check.all) {
      found.push({
        ...of,
        check: 'disagreement',
        found: `${check.all - check.agreeing} of ${check.all} records disagree`,
        fix: `See who: ${run}`,
      })
    }
    for (const { id, userName, attribute, there } of check.report.differences) {
      if (attribute !== 'userName') continue
      found.push({
        check: 'name-changed',
        subject: userName,
        id,
        found: `is called ${there} in the directory`,
        fix: 'Provision this person again from the directory: mail and matching go by the old name.',
      })
    }
  }
  return found
}

function age(seconds: number): string {
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`
  return seconds < 2 * day ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / day)} d`
}
