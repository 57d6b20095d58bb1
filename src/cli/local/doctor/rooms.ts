import type { Secret } from '../../../domain/secret.ts'
import { createSigner } from '../../../domain/checkpoint.ts'
import { instantOf, secondsBetween, type Instant } from '../../../domain/time.ts'
import { checkAnchor, openAnchor } from '../../../host/anchor.ts'
import { systemClock } from '../../../host/clock.ts'
import type { Config } from '../../../host/config.ts'
import { packageVersion } from '../../../host/home.ts'
import { engagedBrakes, liveReplicas, stoppedBy, treesOf } from '../../../lifecycle/engine.ts'
import { derive, masterKeyWord } from '../../../main.ts'
import type { DatabaseFacts } from '../../../store/examine.ts'
import type { Store } from '../../../store/store.ts'
import type { Check, CheckName } from './check.ts'
import { looking, ok, problem, warning } from './check.ts'
import { judgeConnections } from './database.ts'

const answerMs = 10_000
/** As the alarms have it (docs/operations/alerts.yaml). */
const auditLagSeconds = 60
const dueLagSeconds = 60
const revocationSeconds = 300

export interface RoomsOptions {
  readonly store: Store
  readonly config: Config
  readonly facts: DatabaseFacts
  readonly masterKey: Secret | null
}

/** What the rows say: who runs, what waits, what is stopped. */
export async function checkRooms(options: RoomsOptions): Promise<readonly Check[]> {
  const { store } = options
  const time = await store.time()
  const now = time === null ? systemClock.now() : instantOf(Math.floor(time))
  const each: readonly (readonly [CheckName, () => Promise<Check | readonly Check[]>])[] = [
    ['master key', () => masterKey(options)],
    ['fence', async () => fence(store)],
    ['replicas', () => replicas(options, now)],
    ['audit log', () => auditLog(store, now)],
    ['audit anchor', () => auditAnchor(options)],
    ['operations', () => operations(store, now)],
    ['brakes', () => brakes(store)],
  ]
  const found: Check[] = []
  for (const [name, look] of each) {
    found.push(...(await looking(name, 'See that the database answers.', answerMs, look)))
  }
  return found
}

async function masterKey({
  store,
  config,
  masterKey: key,
}: RoomsOptions): Promise<readonly Check[]> {
  // Why there is none has been told.
  if (key === null) return []
  const from = config.masterKey === null ? `${config.home}/master.key` : 'CUSTODY_MASTER_KEY'
  const known = await store.read.meta('masterKeyCheck')
  if (known !== null && known !== masterKeyWord(key)) {
    const next = 'Use the key that the database was made with, or the database of this key.'
    return [problem('master key', `${from} does not belong to this database`, next)]
  }
  return [ok('master key', known === null ? 'no server has started yet' : `${from} fits`)]
}

function fence(store: Store): Check {
  const { engine, fence: found } = store.facts()
  if (found.state === 'on') return ok('fence', 'row security keeps tenants apart')
  if (engine === 'SQLite') return ok('fence', 'SQLite has none')
  return warning('fence', found.reason, 'Use an ordinary role: docs/reference/postgresql.md.')
}

async function replicas({ store, facts }: RoomsOptions, now: Instant): Promise<readonly Check[]> {
  const live = liveReplicas(await store.read.replicas(), now)
  const versions = [...new Set(live.map((r) => r.version))].sort()
  const policies = [...new Set(live.map((r) => r.policy))].sort()
  const roles = new Set(live.flatMap((r) => r.roles))
  const missing = ['worker', 'scheduler'].filter((role) => !roles.has(role))
  const found: Check[] = []
  if (versions.length > 1) {
    const says = `${live.length} live, of versions ${versions.join(' and ')}`
    found.push(warning('replicas', says, 'Finish the upgrade; replicas of old versions go last.'))
  }
  if (policies.length > 1) {
    const says = `${live.length} live, deciding by ${policies.length} different policies`
    found.push(problem('replicas', says, 'Give all the same policy files and reload one (SIGHUP).'))
  }
  if (live.length > 0 && missing.length > 0) {
    const says = `${live.length} live, none with the role ${missing.join(' or ')}`
    found.push(problem('replicas', says, 'Start one with it: nothing is done, or swept, without.'))
  }
  const other = versions.find((version) => version !== packageVersion())
  if (found.length === 0) {
    found.push(
      other === undefined
        ? ok('replicas', `${live.length} live`)
        : warning('replicas', `${live.length} live, of version ${other}`, 'Doctor is of another.'),
    )
  }
  if (facts.engine === 'PostgreSQL') found.push(judgeConnections(facts, live.length))
  return found
}

async function auditLog(store: Store, now: Instant): Promise<Check> {
  const { auditUnsequenced: rows, oldestUnsequencedAt: since } = await store.read.vitals(now)
  const lag = since === null ? 0 : secondsBetween(since, now)
  if (lag <= auditLagSeconds) return ok('audit log', `${rows} rows wait for their place`)
  const says = `${rows} rows wait for their place, the first for ${Math.round(lag)} s`
  return warning('audit log', says, 'See that a process with the role worker runs, and its log.')
}

async function auditAnchor({
  store,
  config,
  masterKey: key,
}: RoomsOptions): Promise<readonly Check[]> {
  if (key === null) return []
  const signer = createSigner(derive(key, 'audit signing key'))
  const anchor = openAnchor({ home: config.home, clock: systemClock, signer })
  const result = await checkAnchor(anchor, treesOf(store.read))
  const next = 'Find out who restored or changed what: docs/operations/runbook.md.'
  if (result.behind) return result.facts.map((f) => problem('audit anchor', f.message, next))
  const { size } = await anchor.all()
  return [
    size > 0
      ? ok('audit anchor', `the log goes on from it, for ${size} tenant${size > 1 ? 's' : ''}`)
      : (await store.read.auditHeads()).length === 0
        ? ok('audit anchor', 'nothing has been signed yet')
        : warning(
            'audit anchor',
            'there is none, and there is a log',
            'Restore .custody/audit-anchor; without it an older database is not noticed.',
          ),
  ]
}

async function operations(store: Store, now: Instant): Promise<readonly Check[]> {
  const vitals = await store.read.vitals(now)
  const found: Check[] = []
  const say = (text: string, next: string, judge = warning) =>
    found.push(judge('operations', text, next))
  if (vitals.needsOperator > 0) {
    const next = 'custody operation list --status needsOperator'
    say(`${vitals.needsOperator} wait for an operator`, next)
  }
  if (vitals.failing > 0) {
    say(`${vitals.failing} have failed for more than an hour`, 'custody operation list')
  }
  if (vitals.lapsed > 0) {
    say(`${vitals.lapsed} are past their lease`, 'See that a process with the role worker runs.')
  }
  const due = vitals.oldestDueAt === null ? 0 : secondsBetween(vitals.oldestDueAt, now)
  if (due > dueLagSeconds) {
    const next = 'See that a process with the role worker runs, and its log.'
    say(`the oldest that could run has been due for ${Math.round(due)} s`, next)
  }
  const { oldestRevocationAt: asked } = vitals
  const waits = asked === null ? 0 : secondsBetween(asked, now)
  if (waits > revocationSeconds) {
    const next = 'A key that should be dead may be alive: custody operation list'
    say(`a revocation is unfinished for ${Math.round(waits)} s`, next, problem)
  }
  const open = vitals.operations.reduce((sum, { count }) => sum + count, 0)
  return found.length > 0 ? found : [ok('operations', `${open} open, none stuck`)]
}

async function brakes(store: Store): Promise<readonly Check[]> {
  const engaged = await engagedBrakes({ store })
  const found = engaged
    .filter(({ name }) => name !== 'restored')
    .map((brake) => {
      const what = brake.subject === '' ? brake.name : `${brake.name} (${brake.subject})`
      const stops = stoppedBy(brake).join(', ') || 'the people it holds'
      const says = `${what} is engaged since ${brake.since}: it stops ${stops}`
      return warning('brakes', says, 'custody brake list, then release it.')
    })
  const restored = engaged.find(({ name }) => name === 'restored')
  return [
    ...(found.length > 0 ? found : [ok('brakes', 'none is engaged')]),
    restored === undefined
      ? ok('restored', 'the database is not older than what the providers hold')
      : problem(
          'restored',
          `restored mode since ${restored.since}: the database is older than the world`,
          'Compare with the providers, then release it: docs/operations/runbook.md.',
        ),
  ]
}
