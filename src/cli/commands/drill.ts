import { randomUUID } from 'node:crypto'
import type { Command } from 'commander'
import type { ApiClient } from '../connection.ts'
import { apiCommand, type Cli, nhiSchema, printJson, suggest } from '../command.ts'
import {
  CommandFailure,
  type ExitCode,
  exitCodes,
  record,
  type Row,
  type Terminal,
} from '../terminal.ts'

/** What a drill did and how long each step took, for whoever keeps the evidence. */
export interface DrillReport {
  readonly drill: string
  readonly at: string
  readonly passed: boolean
  readonly steps: readonly { readonly step: string; readonly seconds: number }[]
  readonly facts: Readonly<Record<string, unknown>>
}

const drills = ['leaver', 'restore'] as const
const userSchema = 'urn:ietf:params:scim:schemas:core:2.0:User'
const patienceMs = 60_000
const lookMs = 150

/** `custody drill run`: does on purpose, with things of its own, what has to work on a bad day. */
export function registerDrill(
  program: Command,
  cli: Cli,
  load: () => Promise<{
    restoreDrill: (options: { config: string | null }, terminal: Terminal) => Promise<DrillReport>
  }>,
): void {
  const noun = program.command('drill').description('what has to work on a bad day, tried today')
  const run = apiCommand<{ sink?: string; provider?: string }>(
    noun
      .command('run <name>')
      .description(`one of: ${drills.join(', ')}; everything it makes bears the name drill-…`)
      .option('--provider <name>', 'leaver: of the kind api-token (default: the first)')
      .option('--sink <name>', 'leaver: where its secret goes (default: the first)')
      .addHelpText(
        'after',
        '\nleaver: a person with an account leaves; passed when each key was tried and refused.\nrestore: a backup is taken, read, put back beside, and compared.',
      ),
    cli,
    async ({ api, options, terminal }, name): Promise<ExitCode> => {
      if (!drills.some((known) => known === name)) {
        const sentence = `There is no drill "${name}"; there are ${drills.join(', ')}.`
        throw new CommandFailure(exitCodes.usage, sentence)
      }
      const report =
        name === 'leaver'
          ? await leaverDrill(api, options)
          : await (await load()).restoreDrill({ config: null }, terminal)
      if (options.json) printJson(report, terminal)
      else tell(report, terminal)
      return report.passed ? exitCodes.ok : exitCodes.failed
    },
  )
  suggest(run, { name: drills })
}

function tell({ drill, passed, steps, facts }: DrillReport, terminal: Terminal): void {
  for (const { step, seconds } of steps) {
    terminal.stdout(`${seconds.toFixed(2).padStart(8)} s  ${step}\n`)
  }
  terminal.stdout(record(facts, terminal))
  terminal.stderr(`The drill ${drill} ${passed ? 'passed' : 'FAILED'}.\n`)
}

/** Notes the seconds since the step before. */
export function stopwatch(): {
  readonly steps: { step: string; seconds: number }[]
  readonly note: (step: string) => void
} {
  const steps: { step: string; seconds: number }[] = []
  let since = performance.now()
  return {
    steps,
    note(step) {
      const now = performance.now()
      steps.push({ step, seconds: (now - since) / 1_000 })
      since = now
    },
  }
}

/**
 * A person and an account of the drill's own: the account works, the person leaves, and the key has to
 * be tried and refused. Both are removed, whatever came of it.
 */
async function leaverDrill(
  api: ApiClient,
  wanted: { readonly sink?: string; readonly provider?: string },
): Promise<DrillReport> {
  const at = new Date().toISOString()
  const name = `drill-${randomUUID().slice(0, 13)}`
  const { steps, note } = stopwatch()
  const provider =
    wanted.provider ?? (await firstNamed(api, 'provider', (p) => issues(p, 'api-token')))
  const sink = wanted.sink ?? (await firstNamed(api, 'sink', () => true))
  const owner = await made(api, {
    schemas: [userSchema],
    userName: `${name}@drill.invalid`,
    displayName: name,
    active: true,
  })
  let account: string | null = null
  try {
    account = await made(api, {
      schemas: [userSchema, nhiSchema],
      userName: name,
      [nhiSchema]: {
        kind: 'serviceAccount',
        owner: { value: owner },
        purpose: 'a drill: somebody leaves',
        credentials: [
          { provider, kind: 'api-token', scopes: [], deliverTo: `${sink}:${name}/token` },
        ],
      },
    })
    await until(
      async () => statusOf(api, account!),
      (status) => status === 'active',
    )
    note('an account with a key that works')
    await api.send('POST', `/api/v1/owners/${owner}/leave`, { reason: 'a drill' })
    note('its owner is declared gone')
    const report = await until(
      async () => (await api.send('GET', `/api/v1/reports/offboarding/${owner}`)).body as Row,
      (found) => found['verdict'] === 'complete' && (found['keys'] as Row[]).length > 0,
    )
    note('every key tried and refused')
    const keys = (report['keys'] ?? []) as readonly Row[]
    const passed =
      report['verdict'] === 'complete' && keys.every((key) => key['outcome'] === 'refused')
    const seconds = Math.max(0, ...keys.map((key) => Number(key['provenDeadSeconds'] ?? 0)))
    const facts = {
      provider,
      sink,
      keys: keys.length,
      verdict: report['verdict'],
      provenDeadSeconds: seconds,
    }
    return { drill: 'leaver', at, passed, steps, facts }
  } finally {
    await removed(api, owner, account)
    note('what it made is removed')
  }
}

async function firstNamed(
  api: ApiClient,
  role: string,
  fits: (row: Row) => boolean,
): Promise<string> {
  const { rows } = await api.list('/api/v1/providers', {}, null)
  const found = rows.find((row) => row['role'] === role && fits(row))
  if (found) return String(found['name'])
  const sentence = `There is no ${role} for this drill; name one with --${role}.`
  throw new CommandFailure(exitCodes.notFound, sentence)
}

function issues(provider: Row, kind: string): boolean {
  return JSON.stringify(provider['kinds'] ?? provider['issues'] ?? provider).includes(`"${kind}"`)
}

async function made(api: ApiClient, body: unknown): Promise<string> {
  return String(((await api.send('POST', '/scim/v2/Users', body)).body as Row)['id'])
}

async function statusOf(api: ApiClient, account: string): Promise<string> {
  const { body } = await api.send('GET', `/api/v1/accounts/${account}`)
  return String((body as Row)['status'])
}

/** The last answer once it satisfies, or once patience is over. */
async function until<T>(ask: () => Promise<T>, satisfies: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const value = await ask()
    if (satisfies(value) || performance.now() > deadline) return value
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}

/** Retiring ends what may still work; a drill that failed must leave nothing behind either. */
async function removed(api: ApiClient, owner: string, account: string | null): Promise<void> {
  if (account !== null) await api.send('DELETE', `/scim/v2/Users/${account}`).catch(() => undefined)
  await api.send('DELETE', `/scim/v2/Users/${owner}`).catch(() => undefined)
}
