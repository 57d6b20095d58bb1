import { setTimeout as sleep } from 'node:timers/promises'
import { visible } from '../host/visible.ts'
import type { ApiOptions, Session } from './command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row } from './terminal.ts'

export interface WatchOptions extends ApiOptions {
  readonly limit?: string
  readonly interval?: string
}

/** What is asked for again and again is a page: nobody watches a million rows. */
const rowsMax = '200'

const home = '\u001B[H\u001B[2J'

/**
 * Runs a command that reads again and again, until it is interrupted. A terminal is redrawn when
 * something changed. Elsewhere, and with `--json`, each change is a line of JSON:
 * `{ change: added | changed | removed, row }`.
 * A server that is away for a while is waited for.
 */
export async function watchCommand<O>(
  session: Session<O>,
  run: (session: Session<O>) => Promise<unknown>,
): Promise<ExitCode> {
  const { terminal } = session
  const options = session.options as WatchOptions
  const seconds = Number(options.interval)
  if (!(seconds > 0 && seconds <= 86_400)) {
    throw new CommandFailure(exitCodes.usage, '--interval must be a number of seconds above zero.')
  }
  const isDrawn = terminal.columns !== null && !options.json
  const asked = {
    ...session.options,
    json: !isDrawn,
    ...(options.limit === undefined ? { limit: rowsMax } : {}),
  }
  const signal = (terminal.interruption ?? processInterruption)()
  let drawn = ''
  let rows: ReadonlyMap<string, string> = new Map()
  let isAway = false
  while (!signal.aborted) {
    let out = ''
    let messages = ''
    try {
      const quiet = {
        ...terminal,
        stdout: (text: string) => void (out += text),
        stderr: (text: string) => void (messages += text),
      }
      await run({ ...session, options: asked, terminal: quiet })
      isAway = false
      if (isDrawn) {
        if (out + messages !== drawn) terminal.stdout(`${home}${out}${messages}`)
        drawn = out + messages
      } else {
        const now = rowsOf(JSON.parse(out))
        for (const line of changes(rows, now)) terminal.stdout(`${line}\n`)
        rows = now
      }
    } catch (error) {
      if (!isPassing(error)) throw error
      if (!isAway) terminal.stderr(`${visible(error.message)} Trying again.\n`)
      isAway = true
      // What is on the screen is old then.
      drawn = ''
    }
    await sleep(seconds * 1_000, null, { signal }).catch(() => null)
  }
  return exitCodes.interrupted
}

function isPassing(error: unknown): error is CommandFailure {
  return (
    error instanceof CommandFailure &&
    (error.exitCode === exitCodes.failed || error.exitCode === exitCodes.providerFailed)
  )
}

/** The JSON of each row by what names it; one thing is a list of one. */
function rowsOf(value: unknown): ReadonlyMap<string, string> {
  const list = (Array.isArray(value) ? value : [value]) as readonly Row[]
  return new Map(
    list.map((row, i) => {
      const named = [row['id'], row['name'], row['subject']].filter((v) => typeof v === 'string')
      return [named.join(' ') || String(i), JSON.stringify(row)]
    }),
  )
}

function changes(
  before: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): readonly string[] {
  const line = (change: string, row: string) => `{"change":"${change}","row":${row}}`
  return [
    ...[...now].flatMap(([key, row]) => {
      const old = before.get(key)
      if (old === row) return []
      return [line(old === undefined ? 'added' : 'changed', row)]
    }),
    ...[...before].flatMap(([key, row]) => (now.has(key) ? [] : [line('removed', row)])),
  ]
}

/** Ctrl-C ends the watching and nothing else: what is written is written whole. */
function processInterruption(): AbortSignal {
  const controller = new AbortController()
  process.once('SIGINT', () => controller.abort())
  return controller.signal
}
