import { createInterface } from 'node:readline/promises'
import { Command, CommanderError } from 'commander'
import { nearest } from '../domain/errors.ts'
import { visible } from '../host/visible.ts'
import { packageVersion } from '../host/home.ts'
import { registerAccount } from './commands/account.ts'
import { registerAudit } from './commands/audit.ts'
import { registerApproval } from './commands/approval.ts'
import { registerBackup } from './commands/backup.ts'
import { registerBrake } from './commands/brake.ts'
import { registerClient } from './commands/client.ts'
import { registerCredential } from './commands/credential.ts'
import { registerDirectory } from './commands/directory.ts'
import { registerFinding } from './commands/finding.ts'
import { registerInit } from './commands/init.ts'
import { registerLeak } from './commands/leak.ts'
import { registerSeal } from './commands/seal.ts'
import { registerLocal } from './commands/local.ts'
import { registerOperation } from './commands/operation.ts'
import { registerOwner } from './commands/owner.ts'
import { registerProvider } from './commands/provider.ts'
import { registerProviderImport } from './commands/provider-import.ts'
import { registerProviderSwitch } from './commands/provider-switch.ts'
import { registerReport } from './commands/report.ts'
import { registerSweep } from './commands/sweep.ts'
import { registerScimRequest } from './commands/scim-request.ts'
import { registerCompletion } from './commands/completion.ts'
import { registerConsumer } from './commands/consumer.ts'
import { registerDrill } from './commands/drill.ts'
import { registerEject } from './commands/eject.ts'
import { registerTask } from './commands/task.ts'
import { registerTransfer } from './commands/transfer.ts'
import { registerUndo } from './commands/undo.ts'
import { registerVendor } from './commands/vendor.ts'
import { describeTree } from './help.ts'
import { systemFailure } from './system-failure.ts'
import { type ExitCode, exitCodeOf, exitCodes, type Terminal } from './terminal.ts'

/**
 * Runs one command line.
 * @param args without node and script
 * @returns the exit code (contract §7); output has been written by then
 */
export async function main(
  args: readonly string[],
  terminal: Terminal = processTerminal(),
): Promise<ExitCode> {
  let code: ExitCode = exitCodes.ok
  const program = programFor(terminal, (c) => {
    code = c
  })
  try {
    await program.parseAsync([...args], { from: 'user' })
    return code
  } catch (thrown) {
    const error = systemFailure(thrown, null) ?? thrown
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    }
    terminal.stderr(`${shown(describe(error, terminal))}\n`)
    return exitCodeOf(error)
  }
}

/** The whole tree of commands, e.g. to describe it. */
export function programFor(terminal: Terminal, exit: (code: ExitCode) => void): Command {
  const program = new Command('custody')
    .description('Every service account has an owner and an end date.')
    .version(packageVersion(), '--version')
    .helpOption('-h, --help')
    .helpCommand(false)
    // `doctor` has options of its own, and `doctor directory` has others.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: terminal.stdout,
      writeErr: (text) => terminal.stderr(shown(text)),
      ...(terminal.columns === null ? {} : { getOutHelpWidth: () => terminal.columns! }),
    })
    .addHelpText(
      'after',
      '\nExit codes: 0 ok, 1 failed, 2 usage or configuration, 3 not found, 4 not allowed, 5 conflict,\n6 partial, 7 waiting for approval, 8 provider failed, 9 integrity failed, 130 interrupted.',
    )
    .showHelpAfterError('Add --help to see how it is used.')
  const cli = { terminal, exit }
  registerLocal(program, cli, {
    serve: () => import('./local/serve.ts'),
    db: () => import('./local/db.ts'),
    doctor: () => import('./local/doctor.ts'),
    demo: () => import('./local/demo.ts'),
    sandbox: () => import('./local/sandbox.ts'),
    policy: () => import('./local/policy.ts'),
    policyTest: () => import('./local/policy-test.ts'),
  })
  registerInit(program, cli, () => import('./local/init.ts'))
  registerBackup(program, cli, () => import('./local/backup.ts'))
  registerDrill(program, cli, () => import('./local/drill.ts'))
  registerAccount(program, cli)
  registerCredential(program, cli)
  registerOwner(program, cli)
  registerTransfer(program, cli)
  registerApproval(program, cli)
  registerBrake(program, cli)
  registerOperation(program, cli)
  registerReport(program, cli)
  registerSweep(program, cli)
  registerAudit(program, cli)
  registerFinding(program, cli)
  registerLeak(program, cli)
  registerSeal(program, cli)
  const provider = registerProvider(program, cli)
  registerProviderSwitch(provider, cli)
  registerProviderImport(program, provider, cli)
  registerVendor(program, cli)
  registerDirectory(program, cli)
  registerScimRequest(program, cli)
  registerUndo(program, cli)
  registerEject(program, cli)
  registerTask(program, cli)
  registerConsumer(program, cli)
  registerClient(program, cli)
  registerCompletion(program, cli)
  registerHelp(program)
  describeTree(program)
  return program
}

/** `custody help account list`, at any depth; the library's own knows one word only. */
function registerHelp(program: Command): void {
  program
    .command('help [command...]')
    .description('how a command is used')
    .action((words: readonly string[]) => {
      let target = program
      for (const word of words) {
        const next = target.commands.find((c) => c.name() === word)
        if (!next) {
          const known = target.commands.map((c) => c.name())
          const hint = nearest(word, known)
          program.error(
            `error: unknown command '${word}'${hint ? `\n(Did you mean ${hint}?)` : ''}`,
          )
        }
        target = next
      }
      target.outputHelp()
    })
}

/** What somebody wrote on the command line, or a server sent, is shown and never obeyed. */
const shown = (text: string): string => text.split('\n').map(visible).join('\n')

/** A sentence for what we expected; the frames too for what we did not. */
function describe(error: unknown, terminal: Terminal): string {
  if (!(error instanceof Error)) return String(error)
  const isExpected = error.name === 'CommandFailure' || error.name === 'AppError'
  if (isExpected) return error.message
  return terminal.env['CUSTODY_LOG_LEVEL'] === 'debug'
    ? (error.stack ?? error.message)
    : `${error.message} (set CUSTODY_LOG_LEVEL=debug to see where)`
}

function processTerminal(): Terminal {
  // A reader that leaves (`| head`) is not an error worth a stack trace.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok)
    throw error
  })
  return {
    env: process.env,
    cwd: process.cwd(),
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    // Some terminals report no width, or none above zero.
    columns: (process.stdout.isTTY && process.stdout.columns) || null,
    isInteractive: process.stdin.isTTY && process.stderr.isTTY,
    async ask(question) {
      const reader = createInterface({ input: process.stdin, output: process.stderr })
      try {
        return await reader.question(question)
      } finally {
        reader.close()
      }
    },
  }
}
