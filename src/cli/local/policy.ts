import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { errors } from '../../domain/errors.ts'
import { formatDuration, type Instant, type Seconds } from '../../domain/time.ts'
import { systemClock } from '../../host/clock.ts'
import { type Config, type ConfigCheck, loadConfig } from '../../host/config.ts'
import { compileAuthorisation } from '../../policy/authorise.ts'
import {
  compileLifecycle,
  type LifecyclePolicy,
  type LifecycleSubject,
  type LifecycleTerms,
} from '../../policy/lifecycle.ts'
import { loadTemplates } from '../../policy/templates.ts'
import { frozenAt } from '../../policy/windows.ts'
import type { PolicyOptions } from '../commands/local.ts'
import { type ExitCode, exitCodes, record, type Terminal } from '../terminal.ts'

/**
 * Reads the configuration and compiles all rules exactly as the service does at start. A directory
 * alone is checked without a configuration.
 * @throws configInvalid, policyInvalid naming every problem of both kinds of rules
 */
export async function check(
  directory: string | null,
  options: PolicyOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const config =
    directory === null || options.config !== null
      ? await readConfig(options, terminal, (await import('../../main.ts')).checkConfig)
      : null
  const policies = directory === null ? config!.policies : path.resolve(terminal.cwd, directory)
  const [lifecycle, authorisation] = await Promise.allSettled([
    readLifecycle(policies),
    compileAuthorisation(path.join(policies, 'authorisation')),
  ])
  const [templates] = await Promise.allSettled([
    lifecycle.status === 'rejected'
      ? []
      : loadTemplates(path.join(policies, 'templates'), { policy: lifecycle.value }),
  ])
  const failed = [lifecycle, authorisation, templates].filter((r) => r.status === 'rejected')
  if (
    lifecycle.status === 'rejected' ||
    authorisation.status === 'rejected' ||
    templates.status === 'rejected'
  ) {
    const problems = failed.map((r) => (r.reason as Error).message).join('\n')
    throw errors.policyInvalid({ problems })
  }
  const facts = {
    config: config?.file ?? null,
    directory: policies,
    lifecycle: lifecycle.value.version,
    authorisation: authorisation.value.version,
    rules: authorisation.value.rules,
    templates: templates.value.map(({ name }) => name),
  }
  if (options.json) terminal.stdout(`${JSON.stringify(facts, null, 2)}\n`)
  else
    terminal.stdout(
      record(
        { ...facts, rules: facts.rules.join(', '), templates: facts.templates.join(', ') },
        terminal,
      ),
    )
  const read =
    facts.config === null ? 'All rules can be read.' : 'Configuration and rules can be read.'
  terminal.stderr(`${read}\n`)
  return exitCodes.ok
}

/** Shows what `termsFor` answers, by the function the engine itself asks. */
export async function explain(
  directory: string | null,
  subject: LifecycleSubject,
  options: PolicyOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  const policy = await readLifecycle(await findPolicies(directory, options, terminal))
  const by = policy.enforcementBy(subject)
  const terms = {
    ...readable(policy.termsFor(subject), systemClock.now()),
    'enforcement by': by === null ? 'the defaults' : `rule "${by}"`,
  }
  const rules = policy.rulesFor(subject)
  if (options.json) {
    terminal.stdout(`${JSON.stringify({ version: policy.version, rules, terms }, null, 2)}\n`)
    return exitCodes.ok
  }
  terminal.stdout(record(terms, terminal))
  terminal.stderr(
    rules.length
      ? `Defaults, then by rule: ${rules.join('; ')}. Policy ${policy.version}.\n`
      : `Defaults; no rule matches. Policy ${policy.version}.\n`,
  )
  return exitCodes.ok
}

/** Where the rules are read from: the directory named, else that of the configuration. */
export async function findPolicies(
  directory: string | null,
  options: PolicyOptions,
  terminal: Terminal,
): Promise<string> {
  if (directory !== null) return path.resolve(terminal.cwd, directory)
  return (await readConfig(options, terminal)).policies
}

function readConfig(
  options: PolicyOptions,
  { env, cwd }: Terminal,
  check?: ConfigCheck,
): Promise<Config> {
  return loadConfig({ file: options.config, env, cwd }, check)
}

export async function readLifecycle(policies: string): Promise<LifecyclePolicy> {
  const file = path.join(policies, 'lifecycle.yaml')
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw errors.policyInvalid({ problems: `${file}: cannot be read.` }, { cause })
  })
  return compileLifecycle(text, file)
}

/** `rotation.every P30D` …: seconds as the durations an operator wrote. */
export function readable(
  terms: LifecycleTerms,
  now: Instant,
): Readonly<Record<string, string | boolean>> {
  const lines: Record<string, string | boolean> = {}
  const add = (name: string, value: Seconds | string | boolean) => {
    lines[name] = typeof value === 'number' ? formatDuration(value) : value
  }
  for (const section of ['expiry', 'rotation', 'leaver'] as const) {
    for (const [key, value] of Object.entries(terms[section])) add(`${section}.${key}`, value)
  }
  add('hold', terms.hold)
  add('enforcement', terms.enforcement)
  add('require', terms.require.length > 0 ? terms.require.join(', ') : 'any kind')
  for (const window of terms.freeze ?? []) {
    const { name } = window
    const when =
      window.kind === 'once' ? `${window.from} - ${window.until}` : `${window.text} ${window.zone}`
    add(`freeze.${name}`, when)
  }
  const frozen = frozenAt(terms.freeze ?? [], now)
  add('planned acts', frozen ? `frozen by "${frozen.window}" until ${frozen.until}` : 'now')
  return lines
}
