import path from 'node:path'
import { parseArgs } from 'node:util'
import type { Size } from './cases.ts'
import type { Direct } from './direct.ts'
import { measureCommits, measureFilters } from './direct.ts'
import { growthSizes, runGrowth } from './growth.ts'
import type { Figure } from './leaver.ts'
import { runJobs } from './jobs.ts'
import { runLeaver } from './leaver.ts'
import { runMixed } from './mixed.ts'
import { pinLoad } from './process.ts'
import { writePage } from './page.ts'
import { runRotations } from './rotations.ts'
import type { Part, Results } from './result.ts'
import { commit, keepPart, machineText, readResults } from './result.ts'
import type { Measured, Options } from './scim.ts'
import { judge, runScim } from './scim.ts'
import { runSuite } from './suite.ts'
import { figureTable, isMet, sampleTable } from './table.ts'
import { runStartup } from './startup.ts'
import { runConsole } from './console.ts'
import { runUndo } from './undoing.ts'

const help = `npm run bench                       everything below at 100k, a process each, in about 12 minutes
npm run bench -- <scenario> [options]
npm run bench -- report [options]   everything, then docs/reference/benchmarks.md from it
npm run bench -- page [options]     the page alone, from a --json that is there

requests, each against other servers: get, filter, page, create, patch, bulk; scim = all of these
  growth     get, filter and pages at 1k, 10k, 100k and 1m resources (PostgreSQL to 100k)
  mixed      80 % get, 15 % filter, 5 % PATCH, during sweeps
  direct     filters and commits without HTTP
  leaver     an owner who leaves; sweeps, requests: the sweeps, and GET during them
  rotations  access keys at AWS, and a reconciliation
  undo       a directory's mistake, taken back
  console    the console in headless Chromium: pages of a large database, 2 000 rows

  --size 100k       resources in the database (k and m count thousands and millions); several,
                    1k,1m: the first and the last are compared; they are kept for the next run
  --store sqlite    or postgres; scim, growth: both unless one is named, others: sqlite
  --rounds 3        every case is timed once a round, one after the other
  --seconds 2       for so long
  --only get,page   parts whose name begins so; goals that miss a case are left out
  --json FILE       keeps every sample there, beside those of other scenarios; report and no
                    scenario go on where one was interrupted (default docs/reference/benchmarks.json
                    of report); --fresh begins anew, --part NAME under another name
  --accounts 200,1000  leaver: accounts of each leaver
  --due 20k         leaver: accounts that expire
  --keys 300        rotations: keys rotated in a round; --throttled 60 under the limits of AWS
  --people 300      undo: owners deactivated by mistake, an account each
  --jobs 20k --lanes 4  jobs: how many wait, and how many loops claim them
  --users 5000      rotations: IAM users that a reconciliation goes through
  --profile <dir>   writes a CPU profile of each Custody process there
  --gate            exit code 1 when a goal is missed
  --help

Smoke test: npm run bench -- scim --size 1k --rounds 1 --seconds 1
            npm run bench -- report --smoke --json /tmp/smoke.json
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string' },
    sizes: { type: 'string' },
    store: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '2' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
    part: { type: 'string' },
    fresh: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    accounts: { type: 'string', default: '200,1000' },
    due: { type: 'string', default: '20k' },
    keys: { type: 'string', default: '300' },
    throttled: { type: 'string', default: '60' },
    users: { type: 'string', default: '5000' },
    jobs: { type: 'string', default: '20k' },
    lanes: { type: 'string', default: '4' },
    people: { type: 'string', default: '300' },
    profile: { type: 'string' },
    gate: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

/** What a scenario found: requests as they were measured, and figures, some with a goal. */
interface Found {
  readonly measured?: readonly Measured[]
  readonly figures: readonly Figure[]
}

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const store = storeOf(values.store)
const sizes: readonly Size[] = (values.size ?? values.sizes ?? '100k').split(',').map(sizeOf)
const rounds = wholeNumber('rounds', values.rounds)
const seconds = wholeNumber('seconds', values.seconds)
const only = values.only.split(',').filter((name) => name !== '')
const profile = values.profile === undefined ? null : path.resolve(values.profile)
const oneStore = store ?? 'sqlite'

const scenarios: Readonly<Record<string, () => Promise<Found>>> = {
  scim: () => requests(only),
  get: () => requests(['get']),
  filter: () => requests(['filter']),
  page: () => requests(['page']),
  create: () => requests(['create']),
  patch: () => requests(['PATCH']),
  bulk: () => requests(['bulk']),
  async growth() {
    const several = values.size === undefined ? growthSizes.map(sizeOf) : sizes
    const measured = await runGrowth({ ...options(only), sizes: several })
    return { measured, figures: [] }
  },
  async mixed() {
    const size = sizes.at(-1)!
    return { figures: await runMixed({ size, store: oneStore, rounds, seconds, say }) }
  },
  async direct() {
    pinLoad()
    const found = [...(await measureFilters()), ...(await measureCommits(rounds, seconds * 1_000))]
    return { figures: found.map(asFigure) }
  },
  leaver: () => leaver(only.length === 0 ? ['leaving', 'sweeps', 'requests'] : only),
  sweeps: () => leaver(['sweeps']),
  requests: () => leaver(['requests']),
  async rotations() {
    const accounts = wholeNumber('keys', values.keys)
    const throttled = wholeNumber('throttled', values.throttled)
    const users = wholeNumber('users', values.users)
    return { figures: await runRotations({ accounts, throttled, users, rounds, only, say }) }
  },
  async jobs() {
    const jobs = sizeOf(values.jobs).count
    const lanes = wholeNumber('lanes', values.lanes)
    return { figures: await runJobs({ jobs, lanes, rounds, only, say }) }
  },
  async startup() {
    return { figures: await runStartup({ size: sizes.at(-1)!.count, rounds, say }) }
  },
  async console() {
    return { figures: await runConsole({ size: sizes.at(-1)!.count, rounds, say }) }
  },
  async undo() {
    const people = wholeNumber('people', values.people)
    return { figures: await runUndo({ people, rounds, say }) }
  },
}

const [scenario = 'suite'] = positionals
const isKnown = scenario in scenarios || ['suite', 'report', 'page'].includes(scenario)
if (values.help || positionals.length > 1 || !isKnown) {
  process.stdout.write(help)
  process.exit(values.help ? 0 : 2)
}
// An interrupted run takes its servers along: they end with `exit`, which a signal alone skips.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

if (scenario === 'suite' || scenario === 'report') await suite()
else if (scenario === 'page') await writePage(existing(fileOf('page')))
else await one()
// What a scenario started in this process may still be winding down.
process.exit()

async function one(): Promise<void> {
  process.stdout.write(`${machineText()}\n${rounds} rounds of ${seconds} s, medians (min–max)\n\n`)
  const since = performance.now()
  const { measured = [], figures } = await scenarios[scenario]!()
  if (measured.length > 0) process.stdout.write(`${sampleTable(measured)}\n\n`)
  if (figures.length > 0) process.stdout.write(`${figureTable(figures)}\n`)
  if (values.gate && figures.some((f) => isMet(f) === false)) process.exitCode = 1
  if (values.json === undefined) return
  const part: Part = {
    name: values.part ?? (store === null ? scenario : `${scenario}, ${store}`),
    command: ['npm run bench --', ...process.argv.slice(2).filter(isWorthTelling)].join(' '),
    at: new Date().toISOString(),
    tookSeconds: Math.round((performance.now() - since) / 1_000),
    commit: commit(),
    rounds,
    seconds,
    measured,
    figures,
  }
  keepPart(values.json, part)
}

async function suite(): Promise<void> {
  const file = fileOf(scenario)
  const { failed } = await runSuite({ file, fresh: values.fresh, smoke: values.smoke, only, say })
  const results = existing(file)
  if (scenario === 'report' && !values.smoke) await writePage(results)
  const figures = results.parts.flatMap((part) => part.figures)
  process.stdout.write(`${figureTable(figures.filter((f) => isMet(f) !== null))}\n`)
  if (failed.length > 0) process.stdout.write(`\nnot measured: ${failed.join(', ')}\n`)
  const isMissed = values.gate && figures.some((f) => isMet(f) === false)
  if (failed.length > 0 || isMissed) process.exitCode = 1
}

function options(prefixes: readonly string[]): Options {
  return { sizes, rounds, seconds, only: prefixes, store, peers: true, profile, say }
}

async function requests(prefixes: readonly string[]): Promise<Found> {
  const measured = await runScim(options(prefixes))
  return {
    measured,
    figures: judge(
      measured,
      sizes.map((s) => s.name),
    ),
  }
}

async function leaver(parts: readonly string[]): Promise<Found> {
  const accounts = values.accounts.split(',').map(Number)
  const size = sizes.at(-1)!.count
  const due = sizeOf(values.due).count
  const common = { store: oneStore, rounds, seconds, say }
  return { figures: await runLeaver({ accounts, size, due, only: parts, ...common }) }
}

function asFigure({ name, unit, value }: Direct): Figure {
  if (name.startsWith('filter, typical')) return { name, unit, value, atMost: 20 }
  if (name.startsWith('filter, worst')) return { name, unit, value, atMost: 5 }
  if (name.startsWith('store: grouped')) return { name, unit, value, atLeast: 4 }
  return { name, unit, value }
}

function fileOf(scenario: string): string {
  if (values.json !== undefined) return path.resolve(values.json)
  const docs = path.join(import.meta.dirname, '..', 'docs', 'reference', 'benchmarks.json')
  return scenario === 'suite' ? path.resolve('bench-results.json') : docs
}

function existing(file: string): Results {
  const results = readResults(file)
  if (results !== null) return results
  say(`${file} is not there: npm run bench -- report makes it`)
  process.exit(2)
}

/** The file differs from run to run, and says nothing about what was measured. */
function isWorthTelling(arg: string, at: number, all: readonly string[]): boolean {
  return !['--json', '--part'].some((name) => arg === name || all[at - 1] === name)
}

function storeOf(name: string | undefined): 'sqlite' | 'postgres' | null {
  if (name === undefined || name === 'sqlite' || name === 'postgres') return name ?? null
  say(`--store: "${name}" is neither sqlite nor postgres`)
  process.exit(2)
}

function sizeOf(name: string): Size {
  const found = /^(\d+)([km]?)$/.exec(name)
  const count = Number(found?.[1]) * { '': 1, k: 1_000, m: 1_000_000 }[found?.[2] ?? '']!
  if (count >= 1_000) return { name, count }
  say(`--size: "${name}" is not a size of at least 1k, such as 10k or 1m`)
  process.exit(2)
}

function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  say(`--${name} must be a whole number from 1`)
  process.exit(2)
}
