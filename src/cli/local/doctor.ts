import path from 'node:path'
import { AppError } from '../../domain/errors.ts'
import { type Config, loadConfig } from '../../host/config.ts'
import { visible } from '../../host/visible.ts'
import { checkConfig } from '../../main.ts'
import { loadPolicies, type Policies } from '../../policy/load.ts'
import { documentCodec } from '../../scim/codec.ts'
import { openStore } from '../../store/open.ts'
import type { DoctorOptions } from '../commands/local.ts'
import { type ExitCode, exitCodes, type Terminal } from '../terminal.ts'
import type { Check } from './doctor/check.ts'
import { looking, ok, problem, sentenceOf, within } from './doctor/check.ts'
import { checkDatabase } from './doctor/database.ts'
import { fixesFor } from './doctor/fixes.ts'
import { checkDisk, checkHome, masterKeyOf } from './doctor/home.ts'
import { checkDirectoriesLightly, checkPlugins } from './doctor/outside.ts'
import { checkRooms } from './doctor/rooms.ts'

const openMs = 10_000
const outsideMs = 40_000

/**
 * Looks at everything an installation stands on, whether or not its server runs. Nothing is changed,
 * here or elsewhere, and each look has a deadline.
 * @returns 0 when nothing is worse than a warning, 1 with problems, 2 when no configuration can be read
 */
export async function run(options: DoctorOptions, terminal: Terminal): Promise<ExitCode> {
  const config = await loadConfig(
    { file: options.config, env: terminal.env, cwd: terminal.cwd },
    checkConfig,
  ).catch((error: unknown) => {
    if (!(error instanceof AppError)) throw error
    return error
  })
  if (config instanceof AppError) {
    const next = 'Mend it; custody policy check reads it, too.'
    const lines = config.message.split('\n').filter((line) => line.trim() !== '')
    tell(
      lines.map((line) => problem('configuration', line.trim(), next)),
      options,
      terminal,
    )
    return exitCodes.usage
  }
  if (options.fix) await repair(config, options, terminal)
  const checks = await examine(config, options)
  tell(checks, options, terminal)
  return checks.some(({ state }) => state === 'problem') ? exitCodes.failed : exitCodes.ok
}

/** Sets right what can be, each after a yes; told on stderr, since the checks that follow are the data. */
async function repair(config: Config, options: DoctorOptions, terminal: Terminal): Promise<void> {
  const fixes = await fixesFor(config)
  if (fixes.length === 0) terminal.stderr('Nothing here can be set right by itself.\n')
  for (const { found, says, act } of fixes) {
    terminal.stderr(`${visible(found)}\n`)
    const isMeant =
      options.yes ||
      (terminal.isInteractive && /^y(es)?$/i.test((await terminal.ask(`  ${says} [y/N] `)).trim()))
    if (!isMeant) {
      terminal.stderr(`  not done: ${says}${terminal.isInteractive ? '' : '   (--yes does it)'}\n`)
      continue
    }
    await act()
    terminal.stderr(`  done: ${says}\n`)
  }
}

async function examine(config: Config, options: DoctorOptions): Promise<readonly Check[]> {
  const checks: Check[] = [ok('configuration', config.file ?? 'none, all defaults')]
  const policies = await loadPolicies(config.policies).catch((error: unknown) => error)
  const isRead = !(policies instanceof Error)
  checks.push(
    isRead
      ? ok('policies', config.policies)
      : problem('policies', sentenceOf(policies), `custody policy check ${config.policies}`),
    ...(await checkHome(config)),
  )
  const { store } = config
  const file = store.kind === 'sqlite' && store.file !== ':memory:' ? store.file : null
  const url =
    store.kind === 'sqlite'
      ? `sqlite:${store.file}`
      : store.url.use((bytes) => bytes.toString('utf8'))
  const found = await checkDatabase(url, options.deep)
  try {
    const key = await masterKeyOf(config, found.examined !== null)
    checks.push(...found.checks, ...(key.check === null ? [] : [key.check]))
    if (file === null || path.dirname(file) !== config.home) {
      checks.push(...(await checkDisk(config.home, false)))
    }
    if (file !== null) checks.push(...(await checkDisk(path.dirname(file), true)))
    if (found.isReadable) {
      const { facts } = found.examined!
      checks.push(
        ...(await looking('database', 'See its log.', openMs * 10, async () => {
          const readonly = { url, codec: documentCodec, readonly: true, connections: 2 }
          const store = await within(openMs, () => openStore(readonly))
          try {
            return await checkRooms({ store, config, facts, masterKey: key.key })
          } finally {
            await within(openMs, () => store.close()).catch(() => undefined)
          }
        })),
      )
    }
    if (options.offline) return checks
    const outside = { config, policies: isRead ? (policies as Policies) : null, masterKey: key.key }
    const repair = 'See providers and sinks in the configuration.'
    const [plugins, directories] = await Promise.all([
      looking('provider', repair, outsideMs, () => checkPlugins(outside)),
      looking('directory', repair, outsideMs, () => checkDirectoriesLightly(config)),
    ])
    return [...checks, ...plugins, ...directories]
  } finally {
    await found.examined?.close()
  }
}

const signs = { ok: 'ok', warning: 'warning', problem: 'PROBLEM' } as const

function tell(checks: readonly Check[], { json }: DoctorOptions, terminal: Terminal): void {
  const count = (state: Check['state']): number => checks.filter((c) => c.state === state).length
  const [problems, warnings] = [count('problem'), count('warning')]
  if (json) {
    terminal.stdout(`${JSON.stringify({ problems, warnings, checks }, null, 2)}\n`)
    return
  }
  for (const { check, subject, state, found, next } of checks) {
    const name = subject === null ? check : `${check} ${subject}`
    const what = next === null ? found : `${found} → ${next}`
    terminal.stdout(`${signs[state].padEnd(8)} ${visible(`${name}: ${what}`)}\n`)
  }
  const many = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`
  terminal.stderr(`${many(problems, 'problem')}, ${many(warnings, 'warning')}\n`)
}
