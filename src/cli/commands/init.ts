import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Terminal } from '../terminal.ts'

export interface InitOptions {
  readonly output: string
  readonly providers: readonly string[]
  readonly sinks: readonly string[]
  /** Answers by name, e.g. `aws-prod.region`. */
  readonly set: ReadonlyMap<string, string>
  readonly yes: boolean
  readonly json: boolean
}

interface Flags {
  readonly output: string
  readonly provider?: readonly string[]
  readonly sink?: readonly string[]
  readonly set?: readonly string[]
  readonly yes?: boolean
  readonly json?: boolean
}

/** `custody init`. */
export function registerInit(
  program: Command,
  { terminal, exit }: Cli,
  load: () => Promise<{
    run: (options: InitOptions, terminal: Terminal) => Promise<ExitCode>
  }>,
): void {
  program
    .command('init')
    .description('write a configuration with comments, by asking')
    .option('--output <file>', 'where to', 'custody.yaml')
    .option('--provider <type...>', 'token, aws-iam, github, postgres, manual')
    .option('--sink <type...>', 'file, aws-secrets, github-actions')
    .option('--set <name=value...>', 'an answer, e.g. --set aws-prod.region=eu-central-1')
    .option('--yes', 'take what is usual, ask nothing')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nNothing that is there is overwritten, and no secret is asked for. Example:\n  custody init --yes --provider token aws-iam --set aws-prod.region=eu-central-1',
    )
    .action(async (flags: Flags) => {
      const { run } = await load()
      const options: InitOptions = {
        output: flags.output,
        providers: flags.provider ?? [],
        sinks: flags.sink ?? [],
        set: new Map((flags.set ?? []).map(pair)),
        yes: flags.yes ?? false,
        json: flags.json ?? false,
      }
      exit(await run(options, terminal))
    })
}

function pair(text: string): readonly [string, string] {
  const at = text.indexOf('=')
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
  throw new CommandFailure(exitCodes.usage, `--set: "${text}" is no name=value.`)
}
