import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import Database from 'better-sqlite3'
import type { Direct } from './direct.ts'
import { measureCommits, measureFilters } from './direct.ts'
import type { Figure } from './leaver.ts'
import { runJobs } from './jobs.ts'
import { runLeaver } from './leaver.ts'
import type { Sample, Spread } from './measure.ts'
import { spread } from './measure.ts'
import { isPinned, pinLoad } from './process.ts'
import { runRotations } from './rotations.ts'
import type { Goal, Options } from './scim.ts'
import { runStartup } from './startup.ts'
import { runUndo } from './undoing.ts'
import { goalsOf, isWanted, runScim, title } from './scim.ts'

const help = `npm run bench -- scim [options]    requests against other servers
npm run bench -- leaver [options]  an owner who leaves, and the sweeps
npm run bench -- rotations [options]  access keys at AWS, and a reconciliation
npm run bench -- undo [options]    a directory's mistake, taken back
npm run bench -- jobs [options]    the journal as a queue, beside pg-boss
npm run bench -- startup [options] from start to ready, and memory when idle, at the last size

  --sizes 1k,1m     resources in the database (k and m count thousands and millions); the first
                    and the last are compared; large ones are kept for the next run
  --rounds 3        every case is timed once a round, one after the other
  --seconds 5       for so long
  --only get,raw    cases whose name begins so; goals that miss a case are left out
  --accounts 200,1000  leaver: accounts of each leaver
  --due 20k         leaver: accounts that expire
  --keys 300        rotations: keys rotated in a round; --throttled 60 under the limits of AWS
  --people 300      undo: owners deactivated by mistake, an account each
  --jobs 20k --lanes 4  jobs: how many wait, and how many loops claim them
  --users 5000      rotations: IAM users that a reconciliation goes through
  --profile <dir>   writes a CPU profile of each Custody process there
  --gate            exit code 1 when a goal is missed
  --help

Smoke test: npm run bench -- scim --sizes 1k --rounds 1 --seconds 1
            npm run bench -- leaver --sizes 10k --accounts 20 --due 1k --rounds 1 --seconds 1
            npm run bench -- rotations --keys 20 --throttled 5 --users 100 --rounds 1
`

interface Verdict {
  readonly text: string
  readonly value: Spread
  readonly unit: string
  readonly met: boolean
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sizes: { type: 'string', default: '1k,1m' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    accounts: { type: 'string', default: '200,1000' },
    due: { type: 'string', default: '20k' },
    keys: { type: 'string', default: '300' },
    throttled: { type: 'string', default: '60' },
    users: { type: 'string', default: '5000' },
    people: { type: 'string', default: '300' },
    jobs: { type: 'string', default: '20k' },
    lanes: { type: 'string', default: '4' },
    profile: { type: 'string' },
    gate: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const [scenario = ''] = positionals
if (
  values.help ||
  positionals.length !== 1 ||
  !['scim', 'leaver', 'rotations', 'undo', 'jobs', 'startup'].includes(scenario)
) {
  process.stdout.write(help)
  process.exit(values.help ? 0 : 2)
}

const options: Options = {
  sizes: values.sizes.split(',').map((name) => ({ name, count: countOf(name) })),
  rounds: wholeNumber('rounds', values.rounds),
  seconds: wholeNumber('seconds', values.seconds),
  only: values.only.split(',').filter((name) => name !== ''),
  profile: values.profile === undefined ? null : path.resolve(values.profile),
  say: (text) => process.stderr.write(`${text}\n`),
}
// An interrupted run takes its servers along: they end with `exit`, which a signal alone skips.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
// A sweep's thread is to have a core beside the main thread's.
if (scenario === 'scim') pinLoad()
process.stdout.write(`${machine()}\n\n`)

if (scenario === 'leaver') await leaver()
else if (scenario === 'rotations') await rotations()
else if (scenario === 'undo') await undo()
else if (scenario === 'jobs') await jobs()
else if (scenario === 'startup') await startup()
else await scim()
// What a scenario started in this process may still be winding down.
process.exit()

async function leaver(): Promise<void> {
  const figures = await runLeaver({
    accounts: values.accounts.split(',').map(Number),
    size: options.sizes.at(-1)!.count,
    due: countOf(values.due),
    rounds: options.rounds,
    seconds: options.seconds,
    only: options.only,
    say: options.say,
  })
  print(figures)
}

async function rotations(): Promise<void> {
  print(
    await runRotations({
      accounts: wholeNumber('keys', values.keys),
      throttled: wholeNumber('throttled', values.throttled),
      users: wholeNumber('users', values.users),
      rounds: options.rounds,
      only: options.only,
      say: options.say,
    }),
  )
}

async function undo(): Promise<void> {
  const people = wholeNumber('people', values.people)
  print(await runUndo({ people, rounds: options.rounds, say: options.say }))
}

async function jobs(): Promise<void> {
  const { rounds, only, say } = options
  const lanes = wholeNumber('lanes', values.lanes)
  print(await runJobs({ jobs: countOf(values.jobs), lanes, rounds, only, say }))
}

async function startup(): Promise<void> {
  const { rounds, say } = options
  print(await runStartup({ size: options.sizes.at(-1)!.count, rounds, say }))
}

function print(figures: readonly Figure[]): void {
  const verdictOf = ({ value, atMost, atLeast }: Figure): string => {
    if (atMost === undefined && atLeast === undefined) return ''
    return value.median <= (atMost ?? Infinity) && value.median >= (atLeast ?? 0) ? 'PASS' : 'MISS'
  }
  const goalOf = ({ atMost, atLeast }: Figure): string =>
    atMost !== undefined ? `≤ ${atMost}` : atLeast !== undefined ? `≥ ${atLeast}` : ''
  const rows = figures.map((f) => [f.name, range(f.value), f.unit, goalOf(f), verdictOf(f)])
  process.stdout.write(`${table([['figure', 'median (min–max)', '', 'goal', ''], ...rows])}\n`)
  if (values.gate && figures.some((f) => verdictOf(f) === 'MISS')) process.exitCode = 1
}

async function scim(): Promise<void> {
  const { cases, samples } = await runScim(options)
  process.stdout.write(
    `${table([
      ['case', 'req/s', 'µs CPU/req', 'core', 'p50 ms', 'p99 ms', 'RssAnon MB'],
      ...cases.map((c) => rowOf(title(c.name, c.size), samples.get(title(c.name, c.size))!)),
    ])}\n\n`,
  )

  const direct = isWanted(options, 'filter') ? await measureFilters() : []
  const commits = isWanted(options, 'store')
    ? await measureCommits(options.rounds, options.seconds * 1_000)
    : []
  const measured = [...direct, ...commits]
  if (measured.length > 0) {
    const rows = measured.map(({ name, unit, value }) => [name, range(value), unit])
    process.stdout.write(`${table([['without HTTP', 'median (min–max)', ''], ...rows])}\n\n`)
  }

  const verdicts = [
    ...goalsOf(options.sizes.map((s) => s.name)).flatMap((goal) => judge(goal, samples)),
    ...judgeDeepPage(samples),
    ...judgeDirect(measured),
  ]
  process.stdout.write(
    `${table([
      ['goal', 'median (min–max)', ''],
      ...verdicts.map(({ text, value, unit, met }) => [
        text,
        `${range(value)}${unit}`,
        met ? 'PASS' : 'MISS',
      ]),
    ])}\n`,
  )
  if (values.gate && verdicts.some((v) => !v.met)) process.exitCode = 1
}

/** A ratio per round, since only what ran in the same round can be compared. */
function judge(goal: Goal, samples: ReadonlyMap<string, readonly Sample[]>): readonly Verdict[] {
  const { text, of, to, by, atLeast = 0, atMost = Infinity } = goal
  const [ofs, tos] = [samples.get(of), samples.get(to)]
  if (ofs === undefined || tos === undefined) return []
  const value = spread(ofs.map((sample, round) => sample[by] / tos[round]![by]))
  return [{ text, value, unit: '', met: value.median >= atLeast && value.median <= atMost }]
}

function judgeDeepPage(samples: ReadonlyMap<string, readonly Sample[]>): readonly Verdict[] {
  const { name } = options.sizes.at(-1)!
  const found = samples.get(title('page by index, 0.9 N', name))
  if (found === undefined) return []
  const value = spread(found.map((sample) => sample.p50))
  return [{ text: `startIndex at 0.9 N of ${name}`, value, unit: ' ms', met: value.median <= 50 }]
}

function judgeDirect(measured: readonly Direct[]): readonly Verdict[] {
  const goal = (prefix: string, text: string, met: (value: Spread) => boolean): Verdict[] =>
    measured
      .filter(({ name }) => name.startsWith(prefix))
      .map(({ value, unit }) => ({ text, value, unit: ` ${unit}`, met: met(value) }))
  return [
    ...goal('filter, typical', 'typical filter, parse + bind ≤ 20 µs', (v) => v.max <= 20),
    ...goal('filter, worst', 'any filter: ≤ 5 ms at a time', (v) => v.max <= 5),
    ...goal('store: grouped', 'store: group commit ≥ 4 × one each', (v) => v.median >= 4),
  ]
}

function rowOf(name: string, found: readonly Sample[]): string[] {
  const of = (pick: (sample: Sample) => number): Spread => spread(found.map(pick))
  return [
    name,
    range(of((s) => s.perSecond)),
    range(of((s) => s.cpu)),
    `${Math.round(of((s) => s.busy).median * 100)} %`,
    figure(of((s) => s.p50).median),
    figure(of((s) => s.p99).median),
    figure(of((s) => s.rssAnon).median),
  ]
}

function range({ median, min, max }: Spread): string {
  return min === max ? figure(median) : `${figure(median)} (${figure(min)}–${figure(max)})`
}

/** Three digits, or all before the point. */
function figure(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toFixed(digits).replace(/\B(?=(\d{3})+(?!\d)(?<!\.\d*))/g, ',')
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map((cells) => cells[column]!.length)),
  )
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  return [line(rows[0]!), rule, ...rows.slice(1).map(line)].join('\n')
}

function machine(): string {
  const versions = JSON.parse(
    readFileSync(path.join(import.meta.dirname, '..', 'package.json'), 'utf8'),
  ) as { readonly dependencies: Readonly<Record<string, string>> }
  const sqlite = new Database(':memory:')
    .prepare<[], { v: string }>('select sqlite_version() as v')
    .get()!.v
  const processors = cpus()
  return [
    `${processors.length} × ${processors[0]?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GB; ${isPinned ? 'server on core 0, load on core 1' : 'not pinned'}`,
    `Node ${process.versions.node}, Fastify ${versions.dependencies['fastify']}, better-sqlite3 ${versions.dependencies['better-sqlite3']} (SQLite ${sqlite}); commit ${commit()}`,
    `${options.rounds} rounds of ${options.seconds} s, medians (min–max)`,
  ].join('\n')
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}

function countOf(name: string): number {
  const found = /^(\d+)([km]?)$/.exec(name)
  const count = Number(found?.[1]) * { '': 1, k: 1_000, m: 1_000_000 }[found?.[2] ?? '']!
  if (count >= 1_000) return count
  process.stderr.write(`--sizes: "${name}" is not a size of at least 1k, such as 10k or 1m\n`)
  process.exit(2)
}

function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  process.stderr.write(`--${name} must be a whole number from 1\n`)
  process.exit(2)
}
