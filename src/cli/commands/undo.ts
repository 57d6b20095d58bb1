import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import type { ApiClient } from '../connection.ts'
import { apiCommand, type Cli, column, printJson, printRows } from '../command.ts'
import { type Progress, progress } from '../progress.ts'
import type { ExitCode, Row } from '../terminal.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

interface UndoOptions {
  readonly cause?: readonly string[]
  readonly causeFile?: string
  readonly reason?: string
  readonly dryRun?: boolean
  readonly wait?: boolean
  readonly yes?: boolean
}

interface Answer {
  readonly accounts: number
  readonly sameKeys: number
  readonly newKeys: number
  readonly cannot: readonly Row[]
  readonly items: readonly Row[]
  readonly operations: readonly { readonly id: string }[]
}

/** `custody undo --cause EVENT`. */
export function registerUndo(program: Command, cli: Cli): void {
  apiCommand<UndoOptions>(
    program
      .command('undo')
      .description(
        'take back everything that one event did, with the same keys where that is possible',
      )
      .option('--cause <event...>', 'a leaving, a batch, a switching off, or an entry of the feed')
      .option('--cause-file <file>', 'one of them a line')
      .option('--reason <text>', 'kept in the audit log')
      .option('--dry-run', 'only say what would come back, and what cannot')
      .option('--wait', 'wait until every key was tried')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }): Promise<ExitCode> => {
      const { dryRun = false, reason } = options
      const causes = await causesOf(options, terminal.cwd)
      if (!dryRun && !reason) {
        throw new CommandFailure(exitCodes.usage, 'Say why: --reason "a mistake of the directory".')
      }
      const send = async (isDry: boolean): Promise<readonly Answer[]> => {
        const answers: Answer[] = []
        for (const cause of causes) {
          const route = `/api/v1/events/${encodeURIComponent(cause)}/undo${isDry ? '?dryRun=true' : ''}`
          answers.push((await api.send('POST', route, reason ? { reason } : {})).body as Answer)
        }
        return answers
      }
      const planned = await send(true)
      const answers = dryRun ? planned : await acted()
      async function acted(): Promise<readonly Answer[]> {
        terminal.stderr(`${summary(planned)}\n`)
        const name = causes.length === 1 ? causes[0]! : String(causes.length)
        const question = 'The owners count as there again, and their keys work again.'
        const { confirmTyped } = await import('../guard.ts')
        if (planned.some(({ items }) => items.length > 0)) {
          await confirmTyped(question, name, options, terminal)
        }
        return send(false)
      }
      const cannot = answers.flatMap((answer) => answer.cannot)
      if (options.json) printJson(answers, terminal)
      else {
        const columns = [column('account', 'userName'), column('act'), column('why')]
        const none = 'Nothing of it is left to take back.'
        printRows(
          answers.flatMap((a) => a.items),
          { columns, none },
          options,
          terminal,
        )
      }
      if (dryRun) terminal.stderr(`${summary(answers)}\n`)
      if (options.wait) {
        const ids = answers.flatMap((answer) => answer.operations.map(({ id }) => id))
        const stuck = await waitForAll(api, ids, progress(terminal, !options.json))
        terminal.stderr(`${ids.length - stuck} of ${ids.length} undone.\n`)
        if (stuck > 0) return exitCodes.failed
      }
      return cannot.length === 0 ? exitCodes.ok : exitCodes.partial
    },
  )
}

const pollMilliseconds = 250

/** @returns how many did not succeed */
async function waitForAll(api: ApiClient, ids: readonly string[], line: Progress): Promise<number> {
  let stuck = 0
  for (const [i, id] of ids.entries()) {
    for (;;) {
      const { status } = (await api.send('GET', `/api/v1/operations/${id}`)).body as Row
      if (status === 'succeeded') break
      if (status === 'needsOperator' || status === 'failed' || status === 'cancelled') {
        stuck++
        break
      }
      line.tell(`${i} of ${ids.length} undone`)
      await new Promise((resolve) => setTimeout(resolve, pollMilliseconds))
    }
  }
  line.clear()
  return stuck
}

function summary(answers: readonly Answer[]): string {
  const sum = (of: (answer: Answer) => number) => answers.reduce((n, answer) => n + of(answer), 0)
  const accounts = sum((a) => a.accounts)
  const cannot = sum((a) => a.cannot.length)
  return `${accounts} accounts come back: ${sum((a) => a.sameKeys)} with the same key, ${sum((a) => a.newKeys)} keys are made anew; ${cannot} accounts cannot.`
}

async function causesOf(
  { cause, causeFile }: UndoOptions,
  cwd: string,
): Promise<readonly string[]> {
  const named = [...(cause ?? [])]
  if (causeFile !== undefined) {
    const where = path.resolve(cwd, causeFile)
    const content = await readFile(where, 'utf8').catch((error: Error) => {
      throw new CommandFailure(exitCodes.usage, `${where} cannot be read: ${error.message}.`, error)
    })
    named.push(...content.split(/\s+/).filter((line) => line !== ''))
  }
  if (named.length > 0) return [...new Set(named)]
  throw new CommandFailure(exitCodes.usage, 'Name what is to be undone: --cause EVENT.')
}
