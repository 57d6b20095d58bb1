// Plays one scenario with the real clients and prints what was answered; against two places, prints
// where they differ, and exits with 1 if they do.
//   node test/crosscheck/main.ts --scenario test/crosscheck/scenarios/iam-keys.yaml --against URL
import path from 'node:path'
import { parseArgs } from 'node:util'
import { difference, play, shown } from './play.ts'
import { readScenario } from './scenario.ts'
import type { Place } from './targets.ts'
import { openTarget } from './targets.ts'

const help = `npm run crosscheck -- --scenario FILE [options]

  --scenario FILE          or one of: iam-keys, secrets-stages, github-deploy-keys
  --endpoint URL           of IAM, STS and Secrets Manager; "aws" is AWS itself, with the
                           credentials the SDK finds; default: our sandbox, started for this
  --github URL             of GitHub's REST API; default: our sandbox
  --against URL            plays it here as well and compares; its environment variables begin
                           with AGAINST_ (AGAINST_AWS_ACCESS_KEY_ID …)
  --against-github URL     the same for steps of GitHub
  --var NAME=VALUE         sets a variable of the scenario; may be repeated
  --help

Credentials: AWS_ACCESS_KEY_ID … or the SDK's own ways; GITHUB_TOKEN, or GITHUB_APP_ID,
GITHUB_INSTALLATION_ID and GITHUB_APP_KEY_FILE. "custody sandbox" prints them for itself.
Exit codes: 0 same, or nothing to compare with; 1 different; 2 it could not be played.
`

/** @returns the exit code */
export async function crosscheck(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  say: (text: string) => void,
): Promise<0 | 1 | 2> {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        scenario: { type: 'string' },
        endpoint: { type: 'string' },
        github: { type: 'string' },
        against: { type: 'string' },
        'against-github': { type: 'string' },
        var: { type: 'string', multiple: true, default: [] },
        help: { type: 'boolean', default: false },
      },
    })
    if (values.help || values.scenario === undefined) {
      say(help)
      return values.help ? 0 : 2
    }
    const file = /^[\w-]+$/.test(values.scenario)
      ? path.join(import.meta.dirname, 'scenarios', `${values.scenario}.yaml`)
      : values.scenario
    const scenario = await readScenario(file)
    const variables = Object.fromEntries(values.var.map(variableOf))
    const played = async (place: Place) => {
      const target = await openTarget(place, env)
      try {
        return { title: target.title, lines: await play(scenario, target, variables) }
      } finally {
        await target.close()
      }
    }
    const place = { aws: values.endpoint ?? null, github: values.github ?? null } as const
    const one = await played({ ...place, prefix: '' })
    say(`${scenario.about}\nat ${one.title}\n\n${shown(one.lines)}`)
    const against = { aws: values.against ?? null, github: values['against-github'] ?? null }
    if (against.aws === null && against.github === null) return 0
    const other = await played({ ...against, prefix: 'AGAINST_' })
    const differs = difference(one, other)
    if (differs.length === 0) {
      say(`\nThe same at ${other.title}: ${one.lines.length} steps.\n`)
      return 0
    }
    say(`\n${differs.join('\n')}\n\n${differs.length} of ${one.lines.length} steps differ.\n`)
    return 1
  } catch (error) {
    say(`${error instanceof Error ? error.message : String(error)}\n`)
    return 2
  }
}

function variableOf(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new Error(`--var: "${text}" is not NAME=VALUE`)
}

if (import.meta.main) {
  const write = (text: string): void => void process.stdout.write(text)
  process.exitCode = await crosscheck(process.argv.slice(2), process.env, write)
}
