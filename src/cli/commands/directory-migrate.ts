import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import { apiCommand, type Cli, confirm, printJson, printRecord } from '../command.ts'
import type { Row } from '../terminal.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

interface MigrateOptions {
  readonly from: string
  readonly to: string
  readonly match: string
  readonly dryRun?: boolean
  readonly output?: string
  readonly finish?: boolean
  readonly force?: boolean
  readonly yes?: boolean
}

interface Move extends Row {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly status: string
  readonly stage: string
}

const base = '/api/v1/directories/moves'

/** `custody directory migrate`: below the noun that whoever registers it made. */
export function registerDirectoryMigrate(noun: Command, cli: Cli): void {
  apiCommand<MigrateOptions>(
    noun
      .command('migrate')
      .description('people of one directory become another’s, with all they own')
      .requiredOption('--from <directory>', 'where they are now')
      .requiredOption('--to <directory>', 'where they will be')
      .requiredOption('--match <key>', 'by what they are the same: employeeNumber or email')
      .option('--dry-run', 'write what would happen to a plan file, and change nothing')
      .option('--output <file>', 'the plan file (default: migrate-FROM-TO.json)')
      .option('--finish', 'everybody has arrived: recognise nobody any more')
      .option('--force', 'finish although owners wait, of whom the new directory said nothing')
      .option('--yes', 'do not ask'),
    cli,
    async (session) => {
      const { api, options, terminal } = session
      const { from, to, match } = options
      const listed = (await api.send('GET', base)).body as { readonly items: readonly Move[] }
      const open = listed.items.find((move) => move.status === 'open')
      const isOurs = open?.from === from && open.to === to
      if (open && !isOurs) {
        const sentence = `A move from ${open.from} to ${open.to} is open; finish that first.`
        throw new CommandFailure(exitCodes.conflict, sentence)
      }
      if (options.finish) {
        if (!open) {
          terminal.stderr('No move is open; nothing was changed.\n')
          return exitCodes.ok
        }
        const { body } = await api.send('POST', `${base}/${open.id}/finish`, {
          force: options.force ?? false,
        })
        printRecord(body, options, terminal)
        const { waiting } = body as { readonly waiting: number }
        return waiting === 0 ? exitCodes.ok : exitCodes.partial
      }
      if (!open) {
        const wish = { from, to, match }
        const plan = (await api.send('POST', `${base}?dryRun=true`, wish)).body as Plan
        if (options.dryRun) {
          const file = path.resolve(terminal.cwd, options.output ?? `migrate-${from}-${to}.json`)
          await writeFile(file, `${JSON.stringify({ custody: 'directory-move/1', ...plan })}\n`)
          if (options.json) printJson(plan, terminal)
          else terminal.stdout(summary(plan))
          terminal.stderr(`The plan is in ${file}; nothing was changed.\n`)
          return exitCodes.ok
        }
        if (plan.people === 0 && plan.groups === 0) {
          terminal.stderr(`Nobody is in ${from}; nothing was changed.\n`)
          return exitCodes.ok
        }
        terminal.stderr(summary(plan))
        await confirm(
          `From now on ${from} ends nothing any more; what ${to} says counts.`,
          options,
          terminal,
        )
        await api.send('POST', base, wish)
      }
      const now = ((await api.send('GET', base)).body as { readonly items: readonly Move[] }).items
      let move = now.find((m) => m.status === 'open')!
      while (move.stage !== 'done') {
        move = (await api.send('POST', `${base}/${move.id}/advance`, {})).body as Move
      }
      printRecord(move, options, terminal)
      terminal.stderr(
        `They belong to ${to} now. Let ${to} provision everybody, then: custody directory migrate --from ${from} --to ${to} --match ${match} --finish\n`,
      )
      return exitCodes.ok
    },
  )
}

interface Plan {
  readonly people: number
  readonly groups: number
  readonly twins: number
  readonly groupTwins: number
  readonly ambiguous: readonly unknown[]
  readonly keyless: { readonly count: number }
}

function summary({ people, groups, twins, groupTwins, ambiguous, keyless }: Plan): string {
  return (
    `${people} people and ${groups} groups, of which ${twins} and ${groupTwins} are there already.\n` +
    (people + groups === 0 ? 'Nobody is there: moved already, or is --from spelt right?\n' : '') +
    `${keyless.count} people have no key, ${ambiguous.length} keys are shared: whom several share, or who has none, arrives as somebody new.\n`
  )
}
