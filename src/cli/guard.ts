import type { Answer } from './client.ts'
import type { ApiOptions, Session } from './command.ts'
import type { ApiClient } from './connection.ts'
import type { Mutation } from './mutations.ts'
import {
  hitsOf,
  isDestructive,
  observe,
  type PlannedRequest,
  radius,
  type Subject,
} from './subjects.ts'
import { CommandFailure, exitCodes, type Terminal } from './terminal.ts'

export interface GuardOptions extends ApiOptions {
  readonly yes?: boolean
  readonly confirmCount?: string
}

/**
 * The same client, which asks before the first change that takes something away: it shows what is
 * hit and wants the name typed. Nothing is asked when nothing stops working, or with `--yes`.
 */
export function guarded(
  untyped: Session<unknown>,
  words: string,
  { destroys }: Mutation,
): ApiClient {
  const session = untyped as Session<GuardOptions>
  const { api, options } = session
  if (destroys === undefined) return api
  let isAgreed = options.yes === true && options.confirmCount === undefined
  return {
    ...api,
    async send(method, route, body, idempotencyKey) {
      if (method !== 'GET' && !isAgreed) {
        await agree({ method, path: route, body }, words, destroys, session)
        isAgreed = true
      }
      return api.send(method, route, body, idempotencyKey)
    },
  }
}

async function agree(
  request: PlannedRequest,
  words: string,
  destroys: string,
  { api, options, terminal }: Session<GuardOptions>,
): Promise<void> {
  const subject = await observe(request, api).catch((error: unknown) => {
    // Whoever may do it may perhaps not read it; that is no reason not to ask.
    if (error instanceof CommandFailure && error.exitCode === exitCodes.notAllowed) return null
    throw error
  })
  checkCount(subject, options)
  if (options.yes || (subject !== null && !isDestructive(subject, words))) return
  const name = subject?.name ?? request.path.split('/')[4] ?? words
  const what = subject?.what ?? words.split(' ')[0]!
  for (const line of subject ? radius(subject, Date.now(), true) : []) terminal.stderr(`${line}\n`)
  await confirmTyped(`The ${what} ${name} ${destroys}.`, name, options, terminal)
}

/** `--confirm-count N`: how many accounts whoever wrote the script believes it hits. */
function checkCount(subject: Subject | null, { confirmCount }: GuardOptions): void {
  if (confirmCount === undefined) return
  if (!/^\d{1,9}$/.test(confirmCount)) {
    throw new CommandFailure(exitCodes.usage, '--confirm-count must be a whole number.')
  }
  const hit = subject === null ? null : subject.what === 'owner' ? hitsOf(subject) : 1
  if (hit === Number(confirmCount)) return
  throw new CommandFailure(
    exitCodes.conflict,
    `This hits ${hit ?? 'an unknown number of'} account(s), not ${confirmCount}; nothing was done.`,
  )
}

/** @throws CommandFailure when nobody can be asked, or something else is typed */
export async function confirmTyped(
  question: string,
  name: string,
  options: { readonly yes?: boolean },
  terminal: Terminal,
): Promise<void> {
  if (options.yes) return
  if (!terminal.isInteractive) {
    throw new CommandFailure(exitCodes.usage, `${question} Repeat with --yes to do it.`)
  }
  const answer = await terminal.ask(`${question} Type "${name}" to do it: `)
  if (answer.trim() !== name) throw new CommandFailure(exitCodes.failed, 'Nothing was done.')
}

/** Ends a command at its first change, which is written down instead of being sent. */
export class Recorded extends Error {
  override readonly name = 'Recorded'
}

export interface Recording {
  readonly api: ApiClient
  readonly requests: readonly PlannedRequest[]
  /** What the server said it would do, for those that it plans itself. */
  readonly answers: ReadonlyMap<PlannedRequest, unknown>
}

/** A client that reads, and asks the server what it would do, but changes nothing. */
export function recording(api: ApiClient): Recording {
  const requests: PlannedRequest[] = []
  const answers = new Map<PlannedRequest, unknown>()
  return {
    requests,
    answers,
    api: {
      ...api,
      async send(method, route, body): Promise<Answer> {
        if (method === 'GET') return api.send(method, route)
        const request = { method, path: withoutDryRun(route), body: body ?? null }
        requests.push(request)
        if (request.path === route) throw new Recorded()
        const answer = await api.send(method, route, body)
        answers.set(request, answer.body)
        return answer
      },
    },
  }
}

function withoutDryRun(route: string): string {
  const [path = '', query = ''] = route.split('?')
  const parameters = new URLSearchParams(query)
  if (parameters.get('dryRun') !== 'true') return route
  parameters.delete('dryRun')
  const rest = parameters.toString()
  return rest === '' ? path : `${path}?${rest}`
}

/** Asks again what would be done; the reverse of what `recording` wrote down. */
export function dryRunOf(path: string): string {
  return `${path}${path.includes('?') ? '&' : '?'}dryRun=true`
}
