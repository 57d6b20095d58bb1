import { createReadStream } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { Command } from 'commander'
import type { AuditRow } from '../../domain/audit.ts'
import {
  checkpointLine,
  entryLine,
  headerLine,
  type KnownTree,
  type Verdict,
  verifyExport,
} from '../../domain/audit-export.ts'
import { verifyProof } from '../../domain/audit-proof.ts'
import { parseVerifierKey, type VerifierKey } from '../../domain/checkpoint.ts'
import { anchorFile, readAnchor } from '../../host/anchor.ts'
import { homeDirectory } from '../../host/home.ts'
import { visible } from '../../host/visible.ts'
import type { ApiClient, Connection } from '../connection.ts'
import { connect } from '../connection.ts'
import { apiCommand, type Cli, printJson } from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row, type Terminal } from '../terminal.ts'
import { readProof, reportProof } from './audit-proof.ts'

const page = 200
/** Between two checkpoints of an export: what a damaged export is narrowed down to. */
const checkpointEvery = 1_000
const followMilliseconds = 1_000

export function registerAudit(program: Command, cli: Cli): void {
  const noun = program.command('audit').description('the tamper-evident log of what happened')

  const verify = noun
    .command('verify [file]')
    .description(
      'recompute an export, the proof of one entry, or the server’s log, against a key pinned before',
    )
    .option('--key <key>', 'the public key, or a file that holds it (default: from audit-anchor)')
    .option('--server <url>', 'address of the server (CUSTODY_SERVER; default: the local one)')
    .option('--token-file <file>', 'file with the token (CUSTODY_TOKEN; default: the local one)')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExit codes: 0 every entry is as it was signed; 9 it is not.')
  verify.action(async (file: string | undefined) => {
    const options = verify.opts<Connection & { key?: string; json?: boolean }>()
    const { terminal } = cli
    const pinned = await pin(options.key, terminal)
    const source = file === undefined ? null : path.resolve(terminal.cwd, file)
    const proof = source === null ? null : await readProof(source)
    if (proof !== null) {
      const { key, known } = pinned
      const how = { json: options.json ?? false, source: pinned.source }
      return cli.exit(reportProof(verifyProof(proof, key, known), key, how, terminal))
    }
    const verdict =
      source === null
        ? await verifyServer(await connect(options, terminal), pinned)
        : await verifyFile(source, pinned)
    cli.exit(report(verdict, pinned, options, terminal))
  })

  apiCommand<{ output?: string }>(
    noun
      .command('export')
      .description('write the whole signed log to a file, one JSON object a line')
      .requiredOption('--output <file>', 'where to; written whole or not at all'),
    cli,
    async ({ api, options, terminal }) => {
      const target = path.resolve(terminal.cwd, options.output!)
      const { size, key } = await exportTo(target, api)
      if (options.json) return printJson({ file: target, size, key }, terminal)
      terminal.stderr(`${size} entries in ${target}.\nVerify them with the public key ${key}\n`)
    },
  )

  apiCommand<{ follow?: boolean; limit?: string; after?: string }>(
    noun
      .command('tail')
      .description('the latest events, oldest first')
      .option('--limit <n>', 'at most this many', '20')
      .option('--after <seq>', 'everything behind this place instead')
      .option('--follow', 'go on until interrupted'),
    cli,
    async ({ api, options, terminal }) => tail(api, options, terminal),
  )
}

interface Pinned {
  readonly key: VerifierKey
  /** What this home has seen signed. */
  readonly known: readonly KnownTree[]
  readonly source: string
}

/**
 * The key to check with: from the command line, else from this home's anchor. Never from the server
 * or the file that is to be checked: they would vouch for themselves.
 */
async function pin(option: string | undefined, terminal: Terminal): Promise<Pinned> {
  const home = homeDirectory(terminal)
  const anchors = [...((await readAnchor(home).catch(notReadable)) ?? new Map()).values()]
  if (option === undefined) {
    const [only, second] = anchors
    if (only === undefined || second !== undefined) {
      throw new CommandFailure(
        exitCodes.usage,
        `A public key is needed: pass --key. ${only ? 'The anchor here holds several' : `There is none in ${anchorFile(home)}`}; "custody audit export" prints the one of its server.`,
      )
    }
    return { key: parseVerifierKey(only.key)!, known: [only], source: anchorFile(home) }
  }
  const text = option.includes('+')
    ? option
    : await readFile(path.resolve(terminal.cwd, option), 'utf8')
  const key = parseVerifierKey(text)
  if (!key) {
    throw new CommandFailure(
      exitCodes.usage,
      '--key is not a public key of an audit log (<name>+<id>+<base64>).',
    )
  }
  const known = anchors.filter(
    (a) => a.origin === key.name && parseVerifierKey(a.key)?.id === key.id,
  )
  return { key, known, source: '--key' }
}

function notReadable(error: Error): never {
  throw new CommandFailure(exitCodes.integrity, visible(error.message), error)
}

async function verifyFile(file: string, { key, known }: Pinned): Promise<Verdict> {
  const verifier = verifyExport(key, known)
  // Strict: a byte that is no UTF-8 must not be read as a replacement character that was there.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let rest = Buffer.alloc(0)
  const feed = (bytes: Buffer): void => {
    let text: string
    try {
      text = decoder.decode(bytes)
    } catch {
      text = ''
    }
    verifier.line(text)
  }
  for await (const chunk of createReadStream(file)) {
    let bytes = Buffer.concat([rest, chunk as Buffer])
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      feed(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 1)
    }
    rest = Buffer.from(bytes)
  }
  // Every line ends: what is left over was cut off.
  if (rest.length > 0) verifier.line('')
  return verifier.end()
}

async function verifyServer(api: ApiClient, { key, known }: Pinned): Promise<Verdict> {
  const verifier = verifyExport(key, known)
  await readLog(api, (line) => verifier.line(line))
  return verifier.end()
}

/** Writes beside the target and renames: no half an export passes for a whole one. */
async function exportTo(target: string, api: ApiClient) {
  const temporary = `${target}.${process.pid}`
  const file = await open(temporary, 'wx', 0o600)
  try {
    let lines: string[] = []
    const write = async (): Promise<void> => {
      await file.appendFile(lines.map((line) => `${line}\n`).join(''))
      lines = []
    }
    const found = await readLog(api, (line) => {
      lines.push(line)
      return lines.length < page ? undefined : write()
    })
    await write()
    await file.sync()
    await file.close()
    await rename(temporary, target)
    return found
  } catch (error) {
    await file.close().catch(() => undefined)
    throw error
  } finally {
    await rm(temporary, { force: true })
  }
}

/** The server's signed log as the lines of an export. */
async function readLog(
  api: ApiClient,
  line: (text: string) => Promise<void> | void,
): Promise<{ readonly size: number; readonly key: string }> {
  const newest = await checkpointOf(api)
  await line(headerLine(newest.origin, newest.key))
  let at = 0
  let next = await checkpointOf(api, Math.min(checkpointEvery, newest.size))
  while (at < newest.size) {
    const cursor = at === 0 ? '' : `&cursor=${at - 1}`
    const { body } = await api.send('GET', `/api/v1/audit?order=seq&limit=${page}${cursor}`)
    const items = ((body as Row | null)?.['items'] ?? []) as readonly Row[]
    // Missing rows are for the verifier to tell, from the checkpoint that follows.
    if (items.length === 0) break
    for (const { seq, leaf, ...row } of items) {
      if (at === newest.size) break
      await line(
        entryLine({
          seq: seq as number,
          leaf: leaf as string,
          row: row as unknown as AuditRow,
        }),
      )
      at++
      if (at === next.size && at < newest.size) {
        await line(checkpointLine(next.note))
        next = await checkpointOf(api, Math.min(at + checkpointEvery, newest.size))
      }
    }
  }
  await line(checkpointLine(newest.note))
  return { size: at, key: newest.key }
}

async function checkpointOf(api: ApiClient, size?: number) {
  const query = size === undefined ? '' : `?size=${size}`
  const { text, headers } = await api.send('GET', `/api/v1/audit/checkpoint${query}`)
  const [origin = '', count] = text.split('\n')
  const key = headers.get('custody-audit-key') ?? ''
  return { note: text, origin, size: Number(count), key }
}

function report(
  verdict: Verdict,
  { key, known, source }: Pinned,
  options: { readonly json?: boolean },
  terminal: Terminal,
): ExitCode {
  if (options.json) printJson(verdict, terminal)
  if (verdict.ok) {
    const { size, root } = verdict.checkpoint
    if (!options.json) terminal.stdout(`${size} ${size === 1 ? 'entry' : 'entries'} verified\n`)
    terminal.stderr(
      `Log ${key.name}, root ${root}, key ${key.name}+${key.id} from ${visible(source)}, ${verdict.checkpoints} signed ${verdict.checkpoints === 1 ? 'checkpoint' : 'checkpoints'}${known.length > 0 ? ', in keeping with the anchor of this home' : ''}.\n`,
    )
    return exitCodes.ok
  }
  const { index, last, line, reason } = verdict
  const where =
    index === null
      ? `line ${line}`
      : index === last
        ? `entry ${index} (line ${line})`
        : `entries ${index} to ${last} (noticed at line ${line})`
  terminal.stderr(`NOT AS IT WAS SIGNED: ${where}: ${visible(reason)}.\n`)
  return exitCodes.integrity
}

async function tail(
  api: ApiClient,
  options: {
    readonly follow?: boolean
    readonly limit?: string
    readonly after?: string
    readonly json?: boolean
  },
  terminal: Terminal,
): Promise<void> {
  const limit = Number(options.limit)
  if (!Number.isInteger(limit) || limit < 1) {
    throw new CommandFailure(exitCodes.usage, '--limit must be a whole number above zero.')
  }
  let after = options.after ?? null
  if (after === null) {
    const { body } = await api.send('GET', '/api/v1/events?limit=1')
    const newest = (body as Row)['newest']
    // Places start at 0: behind -1 is the beginning.
    if (typeof newest === 'number' && newest >= limit) after = String(newest - limit)
  }
  let isReading = false
  try {
    for (;;) {
      const behind = after === null ? '' : `&after=${encodeURIComponent(after)}`
      const { body } = await api.send('GET', `/api/v1/events?limit=${page}${behind}`)
      const { items, cursor, more } = body as {
        readonly items: readonly Row[]
        readonly cursor: string | null
        readonly more: boolean
      }
      for (const event of items) terminal.stdout(eventText(event, options.json ?? false))
      after = cursor
      isReading = true
      if (more) continue
      if (!options.follow) return
      await new Promise((resolve) => setTimeout(resolve, followMilliseconds))
    }
  } catch (error) {
    if (options.follow && isReading && after !== null) {
      terminal.stderr(`Go on with: custody audit tail --follow --after ${visible(after)}\n`)
    }
    throw error
  }
}

/** One line each, also as JSON: a feed has no end that an array could be closed at. */
function eventText(event: Row, json: boolean): string {
  if (json) return `${JSON.stringify(event)}\n`
  const { seq, at, type, subject, actor } = event as {
    readonly seq: number
    readonly at: string
    readonly type: string
    readonly subject: { readonly type: string; readonly id: string }
    readonly actor: { readonly name: string }
  }
  return `${visible(`${seq}  ${at}  ${type}  ${subject.type} ${subject.id}  by ${actor.name}`)}\n`
}
