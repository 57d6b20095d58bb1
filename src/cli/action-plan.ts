import { createHash } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { canonicalJson, type Json } from '../domain/json.ts'
import { visible } from '../host/visible.ts'
import { printJson, type Session } from './command.ts'
import { confirmTyped, dryRunOf, type GuardOptions, type Recording } from './guard.ts'
import { actionPlanFormat, mutations } from './mutations.ts'
import { changesSince, hitsOf, observe, type PlannedRequest, radius } from './subjects.ts'
import { type Subject, subjectOfPlan } from './subjects.ts'
import { CommandFailure, type ExitCode, exitCodes } from './terminal.ts'

/** The server remembers a key for a day: after that it could not tell a repetition. */
const ageSecondsMax = 86_400

interface Entry {
  readonly request: PlannedRequest
  readonly subject: Subject | null
  readonly isPlannedByServer: boolean
}

export interface ActionPlan {
  readonly custody: typeof actionPlanFormat
  readonly server: string
  readonly command: string
  readonly createdAt: string
  readonly entries: readonly Entry[]
  /** SHA-256, in hex, of the canonical JSON (RFC 8785) of all the rest. */
  readonly sha256: string
}

export function hashOf({
  sha256: _sha256,
  ...rest
}: Omit<ActionPlan, 'sha256'> & { sha256?: string }): string {
  return createHash('sha256')
    .update(canonicalJson(rest as unknown as Json))
    .digest('hex')
}

/** Writes down what a command would have sent, and what that would hit. */
export async function writeActionPlan(
  { api, options, terminal }: Session<{ readonly output?: string }>,
  words: string,
  { requests, answers }: Recording,
): Promise<ExitCode> {
  if (requests.length === 0) {
    terminal.stderr('Nothing would be sent; no plan is written.\n')
    return exitCodes.ok
  }
  const entries: Entry[] = []
  for (const request of requests) {
    const isPlannedByServer = answers.has(request)
    const subject = isPlannedByServer
      ? subjectOfPlan(request, answers.get(request))
      : await observe(request, api)
    entries.push({ request, subject, isPlannedByServer })
  }
  if (entries.every((e) => e.isPlannedByServer && e.subject !== null && hitsOf(e.subject) === 0)) {
    terminal.stderr('Nothing would be done; no plan is written.\n')
    return exitCodes.ok
  }
  const rest = {
    custody: actionPlanFormat,
    server: api.server,
    command: words,
    createdAt: new Date().toISOString(),
    entries,
  } as const
  const plan: ActionPlan = { ...rest, sha256: hashOf(rest) }
  if (options.output === '-') {
    printJson(plan, terminal)
    return exitCodes.ok
  }
  const file = path.resolve(terminal.cwd, options.output ?? nameOf(words, entries))
  await writeFile(file, `${JSON.stringify(plan, null, 2)}\n`, { flag: 'wx', mode: 0o600 }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
      const sentence = `${file} is there already; move it away or name another with --output.`
      throw new CommandFailure(exitCodes.conflict, sentence, error)
    },
  )
  if (options.json && !answers.size) printJson(plan, terminal)
  for (const line of linesOf(plan)) terminal.stderr(`${line}\n`)
  terminal.stderr(`Nothing was done. To do it: custody apply ${file}\n`)
  return exitCodes.ok
}

function nameOf(words: string, entries: readonly Entry[]): string {
  const parts = ['plan', words, entries[0]!.subject?.name ?? '']
  return `${parts
    .join('-')
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/-+$/, '')
    .slice(0, 120)}.json`
}

function linesOf({ command, entries }: ActionPlan): readonly string[] {
  const takes = mutations[command]?.destroys !== undefined
  return entries.flatMap(({ request, subject, isPlannedByServer }) => [
    visible(`${request.method} ${request.path} ${JSON.stringify(request.body)}`),
    ...(subject && !isPlannedByServer
      ? radius(subject, Date.now(), takes).map((l) => `  ${l}`)
      : []),
    ...(isPlannedByServer ? [`  ${subject ? hitsOf(subject) : 0} thing(s)`] : []),
  ])
}

/** @throws CommandFailure (usage) when it is none; (integrity) when it is not as it was written */
function readActionPlan(content: string, file: string): ActionPlan {
  let plan: ActionPlan
  try {
    plan = JSON.parse(content) as ActionPlan
  } catch (error) {
    throw new CommandFailure(exitCodes.usage, `${file} is not a whole plan.`, error)
  }
  if (!Array.isArray(plan.entries) || hashOf(plan) !== plan.sha256) {
    throw new CommandFailure(
      exitCodes.integrity,
      `${file} is not as it was written: its hash does not match. Make a new plan.`,
    )
  }
  const isOurs = plan.entries.every(
    ({ request: { method, path: route } }) =>
      (method === 'POST' || method === 'DELETE') &&
      !route.includes('..') &&
      (route.startsWith('/api/v1/') || route === '/scim/v2/Users'),
  )
  if (!isOurs || !Object.hasOwn(mutations, plan.command)) {
    throw new CommandFailure(exitCodes.usage, `${file} holds what no command of Custody sends.`)
  }
  return plan
}

/** Failures after which a request may have been done all the same. */
const isOpen: readonly ExitCode[] = [exitCodes.failed, exitCodes.providerFailed]

/** How far a plan has come, beside it: what was begun may not be held to how it was before. */
interface Progress {
  readonly sha256: string
  readonly begun: number
  readonly done: number
}

/**
 * Does what a plan says, unless something changed since.
 * Every request bears a key made of the plan, so that the server does none of them twice.
 * @throws CommandFailure (conflict) naming what changed
 */
export async function applyActionPlan(
  session: Session<GuardOptions>,
  content: string,
  file: string,
): Promise<ExitCode> {
  const { api, options, terminal } = session
  const plan = readActionPlan(content, file)
  if (plan.server !== api.server) {
    const sentence = `${file} is a plan for ${visible(plan.server)}, not for ${api.server}.`
    throw new CommandFailure(exitCodes.usage, sentence)
  }
  const progress = await readProgress(file, plan.sha256)
  if (progress.done === plan.entries.length) {
    terminal.stderr('This plan was applied already; nothing was sent.\n')
    return exitCodes.ok
  }
  const age = (Date.now() - Date.parse(plan.createdAt)) / 1_000
  if (!(age < ageSecondsMax)) {
    throw new CommandFailure(exitCodes.conflict, `${file} is older than a day. Make a new plan.`)
  }
  await refuseChanged(session, plan, progress.begun)
  await agree(session, plan)
  const answers: unknown[] = []
  for (let i = progress.done; i < plan.entries.length; i++) {
    const { method, path: route, body } = plan.entries[i]!.request
    await keepProgress(file, { sha256: plan.sha256, begun: i + 1, done: i })
    const key = `plan-${plan.sha256}-${i}`
    const answer = await api
      .send(method, route, body ?? undefined, key)
      .catch(async (error: unknown) => {
        // Refused is not begun; without an answer nobody knows.
        const isRefused = error instanceof CommandFailure && !isOpen.includes(error.exitCode)
        if (isRefused) await keepProgress(file, { sha256: plan.sha256, begun: i, done: i })
        terminal.stderr(`${i} of ${plan.entries.length} done; apply it again to go on.\n`)
        throw error
      })
    await keepProgress(file, { sha256: plan.sha256, begun: i + 1, done: i + 1 })
    answers.push(answer.body)
    const id = answer.operation ?? (answer.body as { readonly id?: unknown } | null)?.id
    if (!options.json) {
      terminal.stderr(
        `${visible(`${method} ${route}`)}: done${typeof id === 'string' ? ` (${id})` : ''}\n`,
      )
    }
  }
  printJson(answers, terminal)
  return exitCodes.ok
}

async function refuseChanged(
  { api }: Session<unknown>,
  plan: ActionPlan,
  begun: number,
): Promise<void> {
  const changes: string[] = []
  for (const { request, subject, isPlannedByServer } of plan.entries.slice(begun)) {
    const now = isPlannedByServer
      ? subjectOfPlan(
          request,
          (await api.send(request.method, dryRunOf(request.path), request.body ?? undefined)).body,
        )
      : await observe(request, api)
    changes.push(...changesSince(subject, now))
  }
  if (changes.length === 0) return
  const more = changes.length > 10 ? `; and ${changes.length - 10} more` : ''
  throw new CommandFailure(
    exitCodes.conflict,
    `Changed since the plan was made: ${changes.slice(0, 10).join('; ')}${more}. Nothing was done; make a new plan.`,
  )
}

/** One thing by its name, several by their number; a script says both --yes and the number. */
async function agree({ options, terminal }: Session<GuardOptions>, plan: ActionPlan) {
  const hits = plan.entries.reduce(
    (n, { subject }) => n + Math.max(1, subject ? hitsOf(subject) : 0),
    0,
  )
  if (options.confirmCount !== undefined && Number(options.confirmCount) !== hits) {
    const sentence = `The plan hits ${hits} thing(s), not ${options.confirmCount}; nothing was done.`
    throw new CommandFailure(exitCodes.conflict, sentence)
  }
  // Whatever the command calls itself: what is sent is what stands here.
  for (const line of linesOf(plan)) terminal.stderr(`${line}\n`)
  const { destroys, isPlannedByServer, asksItself } = mutations[plan.command]!
  if (destroys === undefined && !isPlannedByServer && !asksItself) return
  const isBulk = hits > 1
  if (isBulk && options.yes && options.confirmCount === undefined) {
    const sentence = `The plan hits ${hits} things. Repeat with --yes --confirm-count ${hits}.`
    throw new CommandFailure(exitCodes.usage, sentence)
  }
  const name = isBulk ? String(hits) : (plan.entries[0]!.subject?.name ?? plan.command)
  await confirmTyped(`"${plan.command}" is done to ${hits} thing(s).`, name, options, terminal)
}

async function readProgress(file: string, sha256: string): Promise<Progress> {
  const text = await readFile(`${file}.applied`, 'utf8').catch(() => '')
  try {
    const progress = JSON.parse(text) as Progress
    if (progress.sha256 === sha256) return progress
  } catch {
    // None, or cut off while it was written: the server still knows the keys.
  }
  return { sha256, begun: 0, done: 0 }
}

async function keepProgress(file: string, progress: Progress): Promise<void> {
  const fresh = `${file}.applied.new`
  await writeFile(fresh, `${JSON.stringify(progress)}\n`, { mode: 0o600 })
  await rename(fresh, `${file}.applied`)
}
