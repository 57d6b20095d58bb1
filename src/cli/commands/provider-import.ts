import { appendFile, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { apiCommand, type Cli, column, confirm, printJson, type Session } from '../command.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row, table } from '../terminal.ts'
import { isActionPlan } from '../mutations.ts'
import { applyDirectoryPlan, isDirectoryPlan } from './directory-plan.ts'
import type { Found } from './import-plan.ts'
import { daysSince, readPlan, writePlan } from './import-plan.ts'

interface ImportOptions {
  readonly output?: string
  readonly resume?: boolean
  readonly apply?: string
  readonly yes?: boolean
}

interface Page {
  readonly items: readonly Found[]
  readonly cursor: string | null
  readonly complete: boolean
  readonly total: number | null
  readonly retryAfter: number | null
}

interface Answer {
  readonly external: string
  readonly status: 'adopted' | 'already' | 'later' | 'failed'
  readonly account: string | null
  readonly error: { readonly code: string; readonly message: string } | null
  readonly retryAfter: number | null
}

/** As many as one request takes. */
const batchSize = 10
/** Throttled so often in a row, without anything done: somebody should look. */
const patienceMax = 20
const pauseSecondsMax = 30

/** @param noun `provider`, which the other commands about providers hang on as well */
export function registerProviderImport(program: Command, noun: Command, cli: Cli): void {
  apiCommand<ImportOptions>(
    noun
      .command('import <name>')
      .description('find what nobody manages yet, and write a plan to review; changes nothing')
      .option('--output <file>', 'the plan to write (default: import-<name>.yaml)')
      .option('--resume', 'go on with a listing that was cut off')
      .option('--apply <plan>', 'adopt what a reviewed plan says, as "custody apply" does')
      .option('--yes', 'do not ask'),
    cli,
    (session, name) =>
      session.options.apply === undefined
        ? find(session, name)
        : applyPlan(session, session.options.apply, name),
  )
  apiCommand<{ yes?: boolean; confirmCount?: string }>(
    program
      .command('apply <plan>')
      .description('do what a reviewed plan says')
      .option('--confirm-count <n>', 'refuse unless the plan hits so many')
      .option('--yes', 'do not ask'),
    cli,
    (session, file) => applyPlan(session, file, null),
  )
}

async function find(session: Session<ImportOptions>, name: string): Promise<ExitCode | void> {
  const { options, terminal } = session
  const file = path.resolve(terminal.cwd, options.output ?? `import-${fileNameOf(name)}.yaml`)
  const taken = await readFile(file).then(
    () => true,
    () => false,
  )
  if (taken) {
    const sentence = `${file} is there already, perhaps reviewed; move it away or name another with --output.`
    throw new CommandFailure(exitCodes.conflict, sentence)
  }
  const partial = `${file}.partial`
  const { found, isWhole } = await listAll(session, name, partial)
  const now = Date.now()
  const free = found.filter((f) => !f.managed && f.obstacle === null)
  const stuck = found.filter((f) => !f.managed && f.obstacle !== null)
  await writeFile(file, writePlan(name, found, now), { flag: 'wx', mode: 0o600 })
  await rm(partial, { force: true })
  const counts = {
    plan: file,
    seen: found.length,
    managed: found.filter((f) => f.managed).length,
    unmanaged: free.length,
    obstacles: stuck.length,
    complete: isWhole,
  }
  if (options.json) printJson({ ...counts, items: free }, terminal)
  else {
    if (free.length > 0) terminal.stdout(table(columnsOf(now), free as never, terminal))
    for (const { name: what, obstacle } of stuck) terminal.stderr(`${what}: ${obstacle}\n`)
    terminal.stderr(
      `${counts.seen} seen: ${counts.managed} managed, ${counts.unmanaged} not. Review ${file}, then: custody apply ${file}\n`,
    )
    if (!isWhole) terminal.stderr('A part could not be read; import again later for the rest.\n')
  }
  return isWhole ? exitCodes.ok : exitCodes.partial
}

function fileNameOf(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9._-]/g, '_')
}

function columnsOf(now: number) {
  const days = (instant: unknown) => daysSince((instant ?? null) as string | null, now) ?? ''
  return [
    column('name'),
    column('kind'),
    { title: 'age (days)', value: (row: Row) => days(row['createdAt']) },
    { title: 'unused (days)', value: (row: Row) => days(row['lastUsedAt']) },
    { title: 'keys', value: (row: Row) => (row['keys'] as readonly unknown[]).length },
    column('vendor'),
    { title: 'owner?', value: (row: Row) => (row as unknown as Found).owners[0]?.userName },
  ]
}

/** What was cut off in between is kept beside the plan: thousands are not listed twice. */
async function listAll(
  session: Session<ImportOptions>,
  name: string,
  partial: string,
): Promise<{ readonly found: readonly Found[]; readonly isWhole: boolean }> {
  const { api, options } = session
  const before = options.resume ? await readPartial(partial, name) : []
  if (before.length === 0) await writeFile(partial, `${JSON.stringify({ provider: name })}\n`)
  const found = before.flatMap((page) => page.items)
  let cursor = before.at(-1)?.cursor ?? null
  let isWhole = before.every((page) => page.complete)
  let patience = patienceMax
  const progress = progressOf(session, name, found.length)
  let goesOn = before.length === 0 || cursor !== null
  while (goesOn) {
    const query: string = cursor === null ? '' : `?cursor=${encodeURIComponent(cursor)}`
    const route = `/api/v1/providers/${encodeURIComponent(name)}/discovery${query}`
    const page = (await api.send('GET', route)).body as Page
    if (page.retryAfter !== null) {
      if (--patience === 0) throw impatient(name, `--resume goes on after ${found.length}`)
      await pause(page.retryAfter)
      continue
    }
    patience = patienceMax
    const { items, complete } = page
    await appendFile(partial, `${JSON.stringify({ items, complete, cursor: page.cursor })}\n`)
    found.push(...items)
    isWhole &&= complete
    cursor = page.cursor
    goesOn = cursor !== null
    progress.tell(found.length, page.total, found.filter((f) => !f.managed).length)
  }
  progress.end()
  return { found, isWhole }
}

type KeptPage = Pick<Page, 'items' | 'complete' | 'cursor'>

async function readPartial(file: string, name: string): Promise<readonly KeptPage[]> {
  const text = await readFile(file, 'utf8').catch(() => null)
  if (text === null) {
    throw new CommandFailure(exitCodes.usage, `There is nothing to go on with: no ${file}.`)
  }
  // The last line may have been cut off while it was written.
  const lines = text.split('\n').flatMap((line) => {
    try {
      return line === '' ? [] : [JSON.parse(line) as unknown]
    } catch {
      return []
    }
  })
  const [about, ...pages] = lines as [{ readonly provider?: string } | undefined, ...KeptPage[]]
  if (about?.provider !== name) {
    throw new CommandFailure(exitCodes.usage, `${file} is not a listing of ${name}; remove it.`)
  }
  if (pages.length > 0 && pages.at(-1)!.cursor === null) return pages.slice(0, -1)
  return pages
}

/** One line on a terminal, with counts and rate; nothing where nobody looks. */
function progressOf({ terminal, options }: Session<unknown>, name: string, from: number) {
  const isShown = terminal.isInteractive && !options.json
  const began = Date.now()
  return {
    tell(seen: number, total: number | null, unmanaged: number) {
      if (!isShown) return
      const rate = Math.round((seen - from) / Math.max(0.1, (Date.now() - began) / 1_000))
      const of = total === null ? '' : ` of ${total}`
      terminal.stderr(`\r\u001B[K${name}: ${seen}${of} seen, ${unmanaged} unmanaged, ${rate}/s`)
    },
    end() {
      if (isShown) terminal.stderr('\r\u001B[K')
    },
  }
}

function pause(retryAfter: number): Promise<void> {
  return sleep(Math.min(retryAfter, pauseSecondsMax) * 1_000)
}

function impatient(name: string, next: string): CommandFailure {
  const sentence = `${name} throttles and let nothing through for a while; try again later: ${next}.`
  return new CommandFailure(exitCodes.providerFailed, sentence)
}

async function applyPlan(
  session: Session<{ yes?: boolean }>,
  file: string,
  name: string | null,
): Promise<ExitCode> {
  const { api, options, terminal } = session
  const where = path.resolve(terminal.cwd, file)
  const content = await readFile(where, 'utf8').catch((cause: Error) => {
    throw new CommandFailure(exitCodes.usage, `${where} cannot be read: ${cause.message}.`, cause)
  })
  if (name === null && isActionPlan(content)) {
    const { applyActionPlan } = await import('../action-plan.ts')
    return applyActionPlan(session, content, where)
  }
  if (name === null && isDirectoryPlan(content)) {
    return applyDirectoryPlan(session, content, where)
  }
  const { provider, adoptions } = await readPlan(content, where)
  if (name !== null && name !== provider) {
    throw new CommandFailure(exitCodes.usage, `${where} is a plan for ${provider}, not ${name}.`)
  }
  if (adoptions.length === 0) {
    terminal.stderr('The plan adopts nothing: no entry says "adopt: true".\n')
    return exitCodes.ok
  }
  await confirm(
    `${adoptions.length} thing(s) at ${provider} get an owner and an end date.`,
    options,
    terminal,
  )
  const route = `/api/v1/providers/${encodeURIComponent(provider)}/adopt`
  const answers: Answer[] = []
  const progress = progressOf(session, provider, 0)
  let waiting = [...adoptions]
  let patience = patienceMax
  while (waiting.length > 0) {
    const batch = waiting.slice(0, batchSize)
    const { body } = await api.send('POST', route, { entries: batch })
    const items = (body as { readonly items: readonly Answer[] }).items
    const done = items.filter((a) => a.status !== 'later')
    answers.push(...done)
    const settled = new Set(done.map((a) => a.external))
    waiting = waiting.filter((a) => !settled.has(a.external))
    progress.tell(answers.length, adoptions.length, waiting.length)
    const retryAfter = items.find((a) => a.retryAfter !== null)?.retryAfter ?? null
    if (done.length > 0) patience = patienceMax
    else if (--patience === 0) throw impatient(provider, 'run the same plan again')
    if (retryAfter !== null) await pause(retryAfter)
  }
  progress.end()
  const names = new Map(adoptions.map((a) => [a.external, a.userName]))
  return report(answers, names, session)
}

function report(
  answers: readonly Answer[],
  names: ReadonlyMap<string, string | undefined>,
  { options, terminal }: Session<unknown>,
): ExitCode {
  const count = (status: Answer['status']) => answers.filter((a) => a.status === status).length
  const failed = answers.filter((a) => a.status === 'failed')
  if (options.json) printJson({ items: answers }, terminal)
  else {
    for (const { external, error } of failed) {
      terminal.stderr(`${names.get(external) ?? external}: ${error?.message ?? 'failed'}\n`)
    }
    terminal.stdout(
      `${count('adopted')} adopted, ${count('already')} managed already, ${failed.length} failed\n`,
    )
  }
  if (failed.length === 0) return exitCodes.ok
  return failed.length < answers.length ? exitCodes.partial : exitCodes.failed
}
