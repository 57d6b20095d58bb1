import type {
  CheckReport,
  DirectoryCheck,
  DirectoryListing,
  DirectorySource,
  HeardClient,
  MissedLeaver,
} from '../domain/directory.ts'
import { checkListNames, listMax } from '../domain/directory.ts'
import { AppError, errors } from '../domain/errors.ts'
import { defaultTenant } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day, hour, secondsBetween } from '../domain/time.ts'
import type { Comparison } from './directory-compare.ts'
import { comparePeople } from './directory-compare.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import { limitsOf } from './holding.ts'
import { declareLeave } from './people.ts'

const pageSize = 500
/** What a person reviewed yesterday may not be true any more. */
const checkAgeMax = day
/** When so many of those active here are unknown there, the listing is wrong rather than the world. */
const ghostShareMax = 0.5
/** Of a handful of people any share may be unknown there. */
const ghostsLeast = 5

/** A directory that can be asked, and when it was last. */
export interface DirectoryView {
  readonly name: string
  readonly type: string
  readonly cycleSeconds: number
  readonly lastCheck: Omit<DirectoryCheck, 'report' | 'tenant'> | null
  readonly heard: readonly HeardClient[]
}

/** What is configured belongs to the tenant that every installation has. */
function sourcesOf(life: Lifecycle, caller: Caller): ReadonlyMap<string, DirectorySource> {
  return caller.tenant === defaultTenant ? (life.directories ?? new Map()) : new Map()
}

function sourceOf(life: Lifecycle, caller: Caller, name: string): DirectorySource {
  const source = sourcesOf(life, caller).get(name)
  if (!source) throw errors.notFound({ what: 'Directory', id: name })
  return source
}

function mayCheck(life: Lifecycle, caller: Caller) {
  return authorise(life, caller, 'directory.check', { type: 'tenant', id: caller.tenant })
}

export async function listDirectories(
  life: Lifecycle,
  caller: Caller,
): Promise<readonly DirectoryView[]> {
  mayCheck(life, caller)
  const heads = await life.store.read.directoryChecks()
  return Promise.all(
    [...sourcesOf(life, caller).values()].map(async ({ name, type, cycle }) => {
      const head = heads.find((h) => h.tenant === caller.tenant && h.directory === name)
      const { tenant: _tenant, ...lastCheck } = head ?? { tenant: null }
      return {
        name,
        type,
        cycleSeconds: cycle,
        lastCheck: head ? (lastCheck as DirectoryView['lastCheck']) : null,
        heard: await heardOf(life, caller, name, cycle),
      }
    }),
  )
}

/** The last check that was finished; null before the first. @throws notFound, forbidden */
export async function lastDirectoryCheck(
  life: Lifecycle,
  caller: Caller,
  name: string,
): Promise<DirectoryCheck | null> {
  mayCheck(life, caller)
  sourceOf(life, caller, name)
  return life.store.read.directoryCheck(caller.tenant, name)
}

/** Running ones, so that nobody makes a directory list itself twice at once. */
const running = new WeakMap<object, Map<string, RunningCheck>>()

export interface RunningCheck {
  readonly id: string
  readonly startedAt: Instant
  readonly done: Promise<DirectoryCheck>
}

export function runningCheck(life: Lifecycle, name: string): RunningCheck | null {
  return running.get(life.store)?.get(name) ?? null
}

/**
 * Asks the directory itself who its people are, compares, and keeps the result. Changes nothing
 * else. Whoever asks while one runs gets that one.
 * @throws notFound, forbidden
 */
export function startDirectoryCheck(life: Lifecycle, caller: Caller, name: string): RunningCheck {
  const decision = mayCheck(life, caller)
  const source = sourceOf(life, caller, name)
  const before = runningCheck(life, name)
  if (before) return before
  const all = running.get(life.store) ?? new Map<string, RunningCheck>()
  running.set(life.store, all)
  const id = life.ids.next()
  const run = async (): Promise<DirectoryCheck> => {
    try {
      const listing = await source.read()
      const check = await compareNow(life, caller, source, { id, listing })
      const { complete, agreeing, all: total, report } = check
      const facts = { directory: name, check: id, complete, agreeing, all: total, ...report.counts }
      await save(
        life,
        [
          { type: 'directoryCheck', check },
          auditRow(life, {
            tenant: caller.tenant,
            actor: caller.actor,
            action: 'directory.checked',
            target: { type: 'directory', id: name },
            decision,
            facts,
          }),
        ],
        { what: 'Directory', id: name },
      )
      return check
    } finally {
      all.delete(name)
    }
  }
  const started: RunningCheck = { id, startedAt: life.clock.now(), done: run() }
  // Whoever waits gets the error; nobody may.
  started.done.catch(() => undefined)
  all.set(name, started)
  return started
}

async function compareNow(
  life: Lifecycle,
  { tenant }: Caller,
  source: DirectorySource,
  { id, listing }: { readonly id: string; readonly listing: DirectoryListing },
): Promise<DirectoryCheck> {
  const people = await peopleOf(life, tenant, source.name)
  const found = comparePeople(people, listing.people, source.scope)
  const known = people.filter((p) => p.deletedAt === null)
  const trouble = listing.trouble ?? doubt(known, found)
  const complete = listing.complete && trouble === null
  const { agreeing, all, lag, unsettled, ...lists } = found
  // From a listing that lacks people, nobody's absence says anything.
  const shown = complete ? lists : { ...lists, ghosts: [] }
  const cut: unknown = Object.fromEntries(
    checkListNames.map((n) => [n, shown[n].slice(0, listMax)]),
  )
  const counts = Object.fromEntries(checkListNames.map((n) => [n, shown[n].length]))
  return {
    tenant,
    directory: source.name,
    id,
    at: life.clock.now(),
    complete,
    agreeing,
    all,
    report: {
      ...(cut as Pick<CheckReport, (typeof checkListNames)[number]>),
      type: source.type,
      trouble,
      listed: listing.people.length,
      known: known.length,
      unsettled,
      counts: counts as CheckReport['counts'],
      lag,
      heard: await heardOf(life, { tenant }, source.name, source.cycle),
    },
  }
}

/** Why a listing that says it is whole is not believed; null when it is. */
function doubt(known: readonly Person[], { ghosts }: Comparison): string | null {
  const active = known.filter((p) => p.active).length
  if (ghosts.length <= Math.max(ghostsLeast, active * ghostShareMax)) return null
  return `${ghosts.length} of ${active} people who are active here are unknown there: the listing is cut off, or is another directory's.`
}

async function peopleOf(
  life: Lifecycle,
  tenant: Person['tenant'],
  directory: string,
): Promise<readonly Person[]> {
  const found: Person[] = []
  for (let after: string | null = null; ;) {
    const page: readonly Person[] = await life.store.read.peopleAfter(tenant, after, pageSize)
    found.push(...page.filter((p) => p.directory === directory))
    const last = page.at(-1)
    if (!last || page.length < pageSize) return found
    after = last.id
  }
}

/** The clients that keep a directory, and how long each has been silent (R73). */
export async function heardOf(
  life: Pick<Lifecycle, 'store' | 'clock'>,
  { tenant }: Pick<Caller, 'tenant'>,
  directory: string,
  cycle: number,
): Promise<readonly HeardClient[]> {
  const now = life.clock.now()
  const clients = (await life.store.read.clients(tenant)).filter(
    (c) =>
      c.role === 'directory' && c.revokedAt === null && (c.directory ?? 'default') === directory,
  )
  return Promise.all(
    clients.map(async ({ id, name, createdAt }) => {
      const [last] = await life.store.read.scimRequests({
        tenant,
        client: id,
        after: null,
        limit: 1,
      })
      const lastHeardAt = last?.at ?? null
      const ageSeconds = lastHeardAt === null ? null : secondsBetween(lastHeardAt, now)
      const silentFor = ageSeconds ?? secondsBetween(createdAt, now)
      return { client: id, name, lastHeardAt, ageSeconds, silent: silentFor > 2 * cycle }
    }),
  )
}

export interface ApplyWish {
  /** The check that was reviewed. */
  readonly check: string
  /** Of its missed leavers these; null = all. */
  readonly people: readonly string[] | null
  readonly reason: string | null
  /** How many will be declared gone: needed above what the mass-leave brake would let through. */
  readonly confirmCount: number | null
}

export interface AppliedLeaver {
  readonly id: string
  readonly userName: string
  readonly outcome: 'left' | 'already' | 'changed' | 'failed'
  readonly operation: string | null
  readonly error: string | null
}

export interface Applied {
  readonly directory: string
  readonly check: string
  readonly items: readonly AppliedLeaver[]
}

/**
 * Declares gone whom the reviewed check found gone in the directory. An operator's word is never
 * braked; above the brake's limit it has to name the number. Who was written since is left as they
 * are, and listed; whoever is gone already stays so: it may be repeated.
 * @throws forbidden, notFound, wrongState for a check that is incomplete, old or not the last,
 *   invalidValue for somebody it does not list, and for another `confirmCount`
 */
export async function applyDirectoryCheck(
  life: Lifecycle,
  caller: Caller,
  name: string,
  wish: ApplyWish,
): Promise<Applied> {
  const resource = { type: 'tenant', id: caller.tenant } as const
  const decision = authorise(life, caller, 'directory.apply', resource)
  sourceOf(life, caller, name)
  const check = await life.store.read.directoryCheck(caller.tenant, name)
  const leavers = leaversOf(life, check, wish)
  await confirmCount(life, caller, name, leavers.length, wish.confirmCount)
  const reason = wish.reason ?? 'directory truth check'
  const items: AppliedLeaver[] = []
  for (const leaver of leavers) items.push(await applyOne(life, caller, leaver, reason))
  const count = (outcome: AppliedLeaver['outcome']) =>
    items.filter((i) => i.outcome === outcome).length
  await save(
    life,
    [
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'directory.applied',
        target: { type: 'directory', id: name },
        decision,
        facts: {
          check: wish.check,
          reason,
          left: count('left'),
          already: count('already'),
          changed: count('changed'),
          failed: count('failed'),
        },
      }),
    ],
    { what: 'Directory', id: name },
  )
  return { directory: name, check: wish.check, items }
}

function leaversOf(
  life: Lifecycle,
  check: DirectoryCheck | null,
  { check: id, people }: ApplyWish,
): readonly MissedLeaver[] {
  const refuse = (status: string) =>
    errors.wrongState({
      what: 'Directory check',
      id,
      status,
      action: 'applied',
      next: 'Check the directory again and review what it finds.',
    })
  if (check === null || check.id !== id) throw refuse('not the last one')
  if (!check.complete) throw refuse('incomplete')
  if (secondsBetween(check.at, life.clock.now()) > checkAgeMax) throw refuse('more than a day old')
  const { missed } = check.report
  if (people === null) return missed
  const byId = new Map(missed.map((m) => [m.id, m]))
  return [...new Set(people)].map((person) => {
    const leaver = byId.get(person)
    if (leaver) return leaver
    const reason = 'names somebody whom the check did not find gone.'
    throw errors.invalidValue({ path: 'people', reason })
  })
}

async function confirmCount(
  life: Lifecycle,
  { tenant }: Caller,
  name: string,
  count: number,
  confirmed: number | null,
): Promise<void> {
  const now = life.clock.now()
  const ago = (span: number) => addSeconds(now, -span)
  const who = { person: '', hourAgo: ago(hour), dayAgo: ago(day) }
  const { hourly } = limitsOf(
    life.policy().brake,
    await life.store.read.leaveCounts(tenant, name, who),
  )
  const isWrong = confirmed !== null && confirmed !== count
  if (!isWrong && (count <= hourly || confirmed === count)) return
  const why = isWrong ? 'it is' : `the mass-leave brake would hold more than ${hourly}; it is`
  throw errors.invalidValue({
    path: 'confirmCount',
    reason: `must name how many people are declared gone: ${why} ${count}.`,
  })
}

async function applyOne(
  life: Lifecycle,
  caller: Caller,
  { id, userName, version, since }: MissedLeaver,
  reason: string,
): Promise<AppliedLeaver> {
  const answer = (outcome: AppliedLeaver['outcome'], more: Partial<AppliedLeaver> = {}) => ({
    id,
    userName,
    outcome,
    operation: null,
    error: null,
    ...more,
  })
  try {
    const word = { reason, since: notAhead(since, life.clock.now()), version }
    const { operation } = await declareLeave(life, caller, id, word)
    return answer('left', { operation: operation?.id ?? null })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const now = await life.store.read.person(caller.tenant, id)
    if (now && !now.active && now.heldBy === null) return answer('already')
    const changed = error.code === 'changedMeanwhile'
    return answer(changed ? 'changed' : 'failed', { error: error.message })
  }
}

/** Two clocks: a moment ahead of ours is now. */
function notAhead(since: Instant | null, now: Instant): Instant | null {
  return since !== null && since > now ? now : since
}
