import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import type { ExitCode, Terminal } from '../terminal.ts'

export interface BackupOptions {
  readonly config: string | null
  readonly json: boolean
}

export interface RestoreOptions extends BackupOptions {
  /** A database that is there is moved aside. */
  readonly replace: boolean
}

export interface BackupModule {
  create(file: string, options: BackupOptions, terminal: Terminal): Promise<ExitCode>
  verify(file: string, options: BackupOptions, terminal: Terminal): Promise<ExitCode>
  restore(file: string, options: RestoreOptions, terminal: Terminal): Promise<ExitCode>
}

/** `custody backup create|verify|restore`. */
export function registerBackup(
  program: Command,
  { terminal, exit }: Cli,
  load: () => Promise<BackupModule>,
): void {
  const noun = program.command('backup').description('copies of the database, and back')
  const options = (command: Command) =>
    command
      .option('--config <file>', 'configuration that names the database')
      .option('--json', 'print JSON')
  const read = (flags: { config?: string; json?: boolean }): BackupOptions => ({
    config: flags.config ?? null,
    json: flags.json ?? false,
  })

  options(noun.command('create <file>'))
    .description('copy the database into a file, beside the running service (SQLite)')
    .addHelpText(
      'after',
      '\nWrites <file> and <file>.manifest.json. PostgreSQL: stop the service first, or use pg_dump.',
    )
    .action(async (file: string, flags: { config?: string; json?: boolean }) => {
      exit(await (await load()).create(file, read(flags), terminal))
    })
  options(noun.command('verify <file>'))
    .description('read a backup whole: digest, damage, counters, audit log')
    .action(async (file: string, flags: { config?: string; json?: boolean }) => {
      exit(await (await load()).verify(file, read(flags), terminal))
    })
  options(noun.command('restore <file>'))
    .description('put a backup in the place of the database; the service must be stopped')
    .option('--replace', 'move the database that is there aside')
    .action(async (file: string, flags: { config?: string; json?: boolean; replace?: boolean }) => {
      const wanted = { ...read(flags), replace: flags.replace ?? false }
      exit(await (await load()).restore(file, wanted, terminal))
    })
}
