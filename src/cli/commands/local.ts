import type { Command } from 'commander'
import type { LifecycleSubject } from '../../policy/lifecycle.ts'
import type { Cli } from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Terminal } from '../terminal.ts'

const serverRoles = ['http', 'worker', 'scheduler'] as const
export type ServerRole = (typeof serverRoles)[number]

export interface ServeOptions {
  /** `--config`; null = CUSTODY_CONFIG, else `custody.yaml`. */
  readonly config: string | null
  readonly roles: readonly ServerRole[]
}

export interface DemoOptions {
  readonly keep: boolean
  readonly json: boolean
}

export interface SandboxOptions {
  readonly json: boolean
  /** 0 = any free port. */
  readonly awsPort: number
  readonly githubPort: number
  /** Seconds for which a new key is refused and one that was switched off still works. */
  readonly iamLag: number
  /** Seconds by which listings lag behind writes. */
  readonly listLag: number
  readonly throttle: boolean
  /** A real PostgreSQL beside them. */
  readonly postgres: boolean
  /** Okta and Microsoft Graph, as far as people are read there. */
  readonly directories: boolean
}

export interface PolicyOptions {
  readonly config: string | null
  readonly json: boolean
}

export interface MigrateOptions {
  readonly config: string | null
  readonly dryRun: boolean
  readonly json: boolean
}

export interface CopyOptions {
  readonly config: string | null
  readonly from: string | null
  readonly fromFile: string | null
  readonly to: string | null
  readonly toFile: string | null
  readonly check: boolean
  readonly json: boolean
}

export interface DoctorOptions {
  readonly config: string | null
  /** Nobody outside is asked: no provider, sink or directory. */
  readonly offline: boolean
  /** A large database file is read whole, too. */
  readonly deep: boolean
  /** What can be set right without losing anything is, each after a yes. */
  readonly fix: boolean
  readonly yes: boolean
  readonly json: boolean
}

interface Runs<O> {
  /** @returns the exit code, when the process has done its work */
  readonly run: (options: O, terminal: Terminal) => Promise<number>
}

/** How `main` loads them: each only when it runs, so that `--help` stays fast. */
export interface LocalModules {
  readonly serve: () => Promise<Runs<ServeOptions>>
  readonly demo: () => Promise<Runs<DemoOptions>>
  readonly doctor: () => Promise<Runs<DoctorOptions>>
  readonly sandbox: () => Promise<Runs<SandboxOptions>>
  readonly db: () => Promise<{
    readonly migrate: (options: MigrateOptions, terminal: Terminal) => Promise<ExitCode>
    readonly copy: (options: CopyOptions, terminal: Terminal) => Promise<ExitCode>
  }>
  readonly policy: () => Promise<{
    readonly check: (
      directory: string | null,
      options: PolicyOptions,
      terminal: Terminal,
    ) => Promise<ExitCode>
    readonly explain: (
      directory: string | null,
      subject: LifecycleSubject,
      options: PolicyOptions,
      terminal: Terminal,
    ) => Promise<ExitCode>
  }>
  readonly policyTest: () => Promise<{
    readonly test: (
      directory: string | null,
      options: PolicyOptions,
      terminal: Terminal,
    ) => Promise<ExitCode>
  }>
}

/** Commands that are processes of their own and need no server. */
export function registerLocal(program: Command, cli: Cli, modules: LocalModules): void {
  const { terminal, exit } = cli
  const finish = (code: number) => exit(code as ExitCode)

  program
    .command('serve')
    .description('run the service')
    .option('--config <file>', 'configuration (CUSTODY_CONFIG; default: custody.yaml, if there)')
    .option('--roles <list>', 'what this process does', serverRoles.join(','))
    .action(async (options: { config?: string; roles: string }) => {
      const roles = parseRoles(options.roles)
      const { run } = await modules.serve()
      finish(await run({ config: options.config ?? null, roles }, terminal))
    })
  program
    .command('demo')
    .description('the whole story on this machine, without network or accounts')
    .option('--keep', 'leave server and console open at the end')
    .option('--json', 'the same facts as JSON')
    .action(async (options: { keep?: boolean; json?: boolean }) => {
      const { run } = await modules.demo()
      finish(await run({ keep: options.keep ?? false, json: options.json ?? false }, terminal))
    })
  program
    .command('sandbox')
    .description('a stateful AWS and GitHub on loopback, to try things on')
    .option('--aws-port <port>', 'of IAM, STS and Secrets Manager; 0 = any that is free', '0')
    .option('--github-port <port>', 'of the REST API; 0 = any that is free', '0')
    .option('--iam-lag <seconds>', 'a key works, or stops working, so long after the call', '0')
    .option('--list-lag <seconds>', 'listings of IAM and Secrets Manager are so old', '0')
    .option('--throttle', 'refuse what is too fast, by the limits of AWS and GitHub')
    .option('--postgres', 'a real PostgreSQL too (from a checkout only)')
    .option('--directories', 'people at an Okta and a Microsoft Graph too')
    .option('--json', 'print the addresses as JSON')
    .action(async (options: SandboxFlags) => {
      const { run } = await modules.sandbox()
      const wanted = {
        json: options.json ?? false,
        awsPort: wholeNumber('--aws-port', options.awsPort, 65_535),
        githubPort: wholeNumber('--github-port', options.githubPort, 65_535),
        iamLag: wholeNumber('--iam-lag', options.iamLag, 86_400),
        listLag: wholeNumber('--list-lag', options.listLag, 86_400),
        throttle: options.throttle ?? false,
        postgres: options.postgres ?? false,
        directories: options.directories ?? false,
      }
      finish(await run(wanted, terminal))
    })
  registerDoctor(program, cli, modules)
  registerPolicy(program, cli, modules)
  registerDb(program, cli, modules)
}

type DoctorFlags = Partial<Omit<DoctorOptions, 'config'>> & { readonly config?: string }

function registerDoctor(program: Command, { terminal, exit }: Cli, modules: LocalModules): void {
  program
    .command('doctor')
    .description('what is wrong here, and what will hurt one day; changes nothing without --fix')
    .enablePositionalOptions()
    .option('--config <file>', 'configuration (CUSTODY_CONFIG; default: custody.yaml, if there)')
    .option('--offline', 'ask no provider, sink or directory')
    .option('--deep', 'read a large database file whole')
    .option('--fix', 'set right what can be without losing anything, each after a yes')
    .option('--yes', 'with --fix: do not ask')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExit 0: nothing worse than warnings, 1: problems, 2: no configuration.',
    )
    .action(async (options: DoctorFlags) => {
      const { run } = await modules.doctor()
      const { config = null, offline = false, deep = false, json = false } = options
      const { fix = false, yes = false } = options
      exit((await run({ config, offline, deep, fix, yes, json }, terminal)) as ExitCode)
    })
}

interface CopyFlags {
  readonly config?: string
  readonly from?: string
  readonly fromFile?: string
  readonly to?: string
  readonly toFile?: string
  readonly check?: boolean
  readonly json?: boolean
}

function registerDb(program: Command, { terminal, exit }: Cli, modules: LocalModules): void {
  const noun = program.command('db').description('the database itself; the service must be stopped')
  noun
    .command('migrate')
    .description('bring the configured database to this version, as a start would')
    .option('--config <file>', 'configuration that names the database')
    .option('--dry-run', 'list what would be applied')
    .option('--json', 'print JSON')
    .action(async (options: { config?: string; dryRun?: boolean; json?: boolean }) => {
      const { migrate } = await modules.db()
      const { config = null, dryRun = false, json = false } = options
      exit(await migrate({ config, dryRun, json }, terminal))
    })
  noun
    .command('copy')
    .description('copy every row into an empty database of either kind, and compare both')
    .option('--from <url>', 'sqlite:<path> or postgres://…; default: the configured one')
    .option('--from-file <file>', 'a file that holds the URL')
    .option('--to <url>', 'sqlite:<path> or postgres://…')
    .option('--to-file <file>', 'a file that holds the URL, for one with a password')
    .option('--config <file>', 'configuration that names the source')
    .option('--check', 'copy nothing, compare')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nInterrupted, the same command goes on where it was.')
    .action(async (options: CopyFlags) => {
      const { copy } = await modules.db()
      const wanted = {
        config: options.config ?? null,
        from: options.from ?? null,
        fromFile: options.fromFile ?? null,
        to: options.to ?? null,
        toFile: options.toFile ?? null,
        check: options.check ?? false,
        json: options.json ?? false,
      }
      exit(await copy(wanted, terminal))
    })
}

function registerPolicy(program: Command, { terminal, exit }: Cli, modules: LocalModules): void {
  const noun = program.command('policy').description('the rules in force, read from their files')
  const withConfig = (command: Command) =>
    command
      .option('--config <file>', 'configuration that names the policies')
      .option('--json', 'print JSON')

  withConfig(noun.command('check [directory]'))
    .description(
      'read the configuration and all rules as the service would at start; nothing is started',
    )
    .action(async (directory: string | undefined, options: { config?: string; json?: boolean }) => {
      const { check } = await modules.policy()
      exit(await check(directory ?? null, policyOptions(options), terminal))
    })
  withConfig(noun.command('test [directory]'))
    .description('hold the rules to the cases beside them (tests/*.yaml)')
    .action(async (directory: string | undefined, options: { config?: string; json?: boolean }) => {
      const { test } = await modules.policyTest()
      exit(await test(directory ?? null, policyOptions(options), terminal))
    })
  withConfig(noun.command('explain [directory]'))
    .description('the terms for one account or credential, and the rules that set them')
    .option('--provider <name>', 'the credential’s provider')
    .option('--kind <kind>', 'the credential’s kind')
    .option('--environment <name>', 'the account’s environment')
    .option('--label <key=value...>', 'the account’s labels')
    .option('--consumer <kind...>', 'the kinds of the account’s consumers')
    .option('--imported', 'the account was imported')
    .action(async (directory: string | undefined, options: ExplainFlags) => {
      const { explain } = await modules.policy()
      const subject = {
        provider: options.provider ?? null,
        kind: options.kind ?? null,
        environment: options.environment ?? null,
        labels: options.label ?? [],
        consumers: options.consumer ?? [],
        imported: options.imported ?? false,
      }
      exit(await explain(directory ?? null, subject, policyOptions(options), terminal))
    })
}

interface SandboxFlags {
  readonly json?: boolean
  readonly awsPort: string
  readonly githubPort: string
  readonly iamLag: string
  readonly listLag: string
  readonly throttle?: boolean
  readonly postgres?: boolean
  readonly directories?: boolean
}

/** @throws CommandFailure for anything but a whole number up to `most` */
function wholeNumber(option: string, text: string, most: number): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : Infinity
  if (number <= most) return number
  const message = `${option}: "${text}" is not a whole number from 0 to ${most}.`
  throw new CommandFailure(exitCodes.usage, message)
}

interface ExplainFlags {
  readonly config?: string
  readonly json?: boolean
  readonly provider?: string
  readonly kind?: string
  readonly environment?: string
  readonly label?: readonly string[]
  readonly consumer?: readonly string[]
  readonly imported?: boolean
}

function policyOptions(options: { config?: string; json?: boolean }): PolicyOptions {
  return { config: options.config ?? null, json: options.json ?? false }
}

function parseRoles(text: string): readonly ServerRole[] {
  const asked = text.split(',').map((r) => r.trim())
  const unknown = asked.filter((r) => !serverRoles.some((known) => known === r))
  if (unknown.length > 0) {
    throw new CommandFailure(
      exitCodes.usage,
      `--roles: "${unknown.join(', ')}" is unknown; there are ${serverRoles.join(', ')}.`,
    )
  }
  return asked as ServerRole[]
}
