import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import type { Command } from 'commander'
import { apiCommand, type Cli, column, confirm, printRows } from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row, type Terminal } from '../terminal.ts'

interface ReportOptions {
  readonly source?: string
  readonly revokeForeign?: boolean
  readonly provider?: string
  readonly yes?: boolean
}

/** As many as the server takes at once. */
const batchMax = 1_000

export function registerLeak(program: Command, cli: Cli): void {
  const noun = program.command('leak').description('secrets that somebody found')

  apiCommand<ReportOptions>(
    noun
      .command('report <file>')
      .description('end the secrets of a file, one per line; "-" reads stdin')
      .option('--source <text>', 'where they were found; kept in the audit log')
      .option('--revoke-foreign', 'end what is not Custody’s as well: for good, everywhere')
      .option('--provider <name>', 'which provider ends those, where several could')
      .option('--yes', 'do not ask'),
    cli,
    async ({ api, options, terminal }, file = '-') => {
      const leaks = splitLeaks(await contentOf(file, terminal))
      if (leaks.length === 0) throw new CommandFailure(exitCodes.usage, 'There is no secret in it.')
      const { source, provider, revokeForeign = false } = options
      if (revokeForeign) {
        const question =
          'Tokens that are not Custody’s end for good, everywhere, and their holders are told.'
        await confirm(question, options, terminal)
      }
      const rows: Row[] = []
      for (let at = 0; at < leaks.length; at += batchMax) {
        const { body } = await api.send('POST', '/api/v1/leaks', {
          credentials: leaks.slice(at, at + batchMax),
          revokeForeign,
          ...(source === undefined ? {} : { source }),
          ...(provider === undefined ? {} : { provider }),
        })
        const { items } = body as { readonly items: readonly Row[] }
        rows.push(...items.map((row) => ({ ...row, index: Number(row['index']) + at })))
      }
      const columns = [
        column('#', 'index'),
        column('fingerprint'),
        column('is', 'kind'),
        column('outcome'),
        column('credential'),
        column('operation'),
        column('message'),
      ]
      printRows(rows, { columns, none: 'Nothing was reported.' }, options, terminal)
      return exitCodeFor(rows)
    },
  )
}

async function contentOf(file: string, terminal: Terminal): Promise<string> {
  if (file === '-') return terminal.stdin ? terminal.stdin() : readAll(process.stdin)
  return readFile(path.resolve(terminal.cwd, file), 'utf8').catch((cause: unknown) => {
    const { code = 'unknown' } = cause as { readonly code?: string }
    throw new CommandFailure(exitCodes.usage, `${file} cannot be read (${code}).`, cause)
  })
}

/** One per line; a PEM block is one, over all its lines. */
export function splitLeaks(content: string): readonly string[] {
  const blocks = /-----BEGIN [A-Z ]+-----[\s\S]*?-----END [A-Z ]+-----|[^\r\n]+/g
  return (content.match(blocks) ?? []).map((leak) => leak.trim()).filter((leak) => leak !== '')
}

const handled: ReadonlySet<unknown> = new Set(['revoking', 'ended', 'alreadyEnded', 'submitted'])

/** 0 when all are ended or on their way; 6 when some are; else what stood in the way. */
function exitCodeFor(rows: readonly Row[]): ExitCode {
  const left = rows.filter((row) => !handled.has(row['outcome']))
  if (left.length === 0) return exitCodes.ok
  if (left.length < rows.length) return exitCodes.partial
  if (left.some((row) => row['outcome'] === 'failed')) return exitCodes.providerFailed
  return left.some((row) => row['outcome'] === 'needsConfirmation')
    ? exitCodes.waiting
    : exitCodes.notFound
}
