import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import { createMask } from './mask.ts'
import type { Scenario, Step } from './scenario.ts'
import type { Target } from './targets.ts'

/** What one step was answered with, masked: two of them are the same or behaviour differs. */
export interface Line {
  readonly step: string
  readonly call: string
  /** `ok`, or `EntityAlreadyExistsException 409`. */
  readonly outcome: string
  readonly answer: unknown
}

/** Plays a scenario once; always plays its cleanup. */
export async function play(
  scenario: Scenario,
  target: Target,
  variables: Readonly<Record<string, string>>,
): Promise<readonly Line[]> {
  const run = randomBytes(4).toString('hex')
  const known = new Map<string, unknown>(
    Object.entries({ ...scenario.variables, ...variables, run }),
  )
  for (let n = 1; n <= 9; n++) known.set(`uuid${n}`, randomUUID())
  const pair = generateSshKeyPair(`crosscheck-${run}`, (length) => randomBytes(length))
  known.set('sshPublicKey', pair.publicKey)
  const mask = createMask(run)
  const transcript: Line[] = []
  try {
    for (const step of scenario.steps) {
      const { outcome, answer } = await answerTo(step, target, known)
      const seen = outcome === 'ok' ? picked(answer, step.compare) : null
      const masked = hideKey(mask(seen), pair.publicKey)
      const call = `${step.service} ${step.operation}`
      transcript.push({ step: step.name, call, outcome, answer: masked })
    }
  } finally {
    for (const step of scenario.cleanup ?? []) await answerTo(step, target, known).catch(() => null)
  }
  return transcript
}

interface Answer {
  readonly outcome: string
  readonly answer: unknown
}

async function answerTo(step: Step, target: Target, known: Map<string, unknown>): Promise<Answer> {
  const until = performance.now() + (step.patience ?? 0) * 1_000
  for (;;) {
    const found = await once(step, target, known)
    const again = step.whileAnswered !== undefined && found.outcome.startsWith(step.whileAnswered)
    if (!again || performance.now() >= until) return found
    await sleep(1_000)
  }
}

async function once(step: Step, target: Target, known: Map<string, unknown>): Promise<Answer> {
  // Outside of the try: a scenario that uses what it did not capture is wrong, not refused.
  const input = filled(step.input ?? {}, known) as Record<string, unknown>
  const as = step.as && (filled(step.as, known) as Step['as'])
  let answer: unknown
  try {
    answer = await target.call(step, input, as)
  } catch (error) {
    return { outcome: refusal(error), answer: null }
  }
  for (const [name, path] of Object.entries(step.capture ?? {})) known.set(name, at(answer, path))
  return { outcome: 'ok', answer }
}

/** @throws what is no answer of a service: a socket, a mistake in the scenario */
function refusal(error: unknown): string {
  const { name, status, $metadata } = error as {
    readonly name?: string
    readonly status?: number
    readonly $metadata?: { readonly httpStatusCode?: number }
  }
  const code = $metadata?.httpStatusCode ?? status
  if (code === undefined) throw error
  return `${name ?? 'Error'} ${code}`
}

/** Puts values in the place of `${name}`; a value that is nothing but one keeps its type. */
function filled(value: unknown, known: ReadonlyMap<string, unknown>): unknown {
  if (typeof value === 'string') {
    const whole = /^\$\{(\w+)\}$/.exec(value)
    if (whole) return valueOf(whole[1]!, known)
    return value.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => String(valueOf(name, known)))
  }
  if (Array.isArray(value)) return value.map((item) => filled(item, known))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, filled(v, known)]))
}

function valueOf(name: string, known: ReadonlyMap<string, unknown>): unknown {
  const value = known.get(name)
  if (value === undefined) throw new Error(`\${${name}} was not captured, and is no variable`)
  return value
}

function at(answer: unknown, path: string): unknown {
  let value: unknown = answer
  for (const part of path.split('.')) value = (value as Record<string, unknown> | undefined)?.[part]
  return value
}

function picked(answer: unknown, compare: readonly string[] | undefined): unknown {
  if (compare === undefined) return answer
  return Object.fromEntries(compare.map((path) => [path, at(answer, path)]))
}

/** An SSH key is new each time as well; GitHub gives it back without its comment. */
function hideKey(value: unknown, publicKey: string): unknown {
  const blob = publicKey.split(' ')[1]!
  return JSON.parse((JSON.stringify(value) ?? 'null').replaceAll(blob, '<ssh key>')) as unknown
}

/** The transcript as text, a step each. */
export function shown(lines: readonly Line[]): string {
  return lines
    .map((line, i) => `${i + 1}. ${line.step} (${line.call})\n   ${answered(line)}\n`)
    .join('')
}

function answered({ outcome, answer }: Line): string {
  return outcome === 'ok' ? `ok ${JSON.stringify(answer)}` : outcome
}

/** Where two transcripts of one scenario differ, for people; empty when nowhere. */
export function difference(
  one: { readonly title: string; readonly lines: readonly Line[] },
  other: { readonly title: string; readonly lines: readonly Line[] },
): readonly string[] {
  return one.lines.flatMap((line, i) => {
    const mine = answered(line)
    const theirs = answered(other.lines[i]!)
    if (mine === theirs) return []
    return [
      `step ${i + 1} "${line.step}" (${line.call}) differs\n  ${one.title}: ${mine}\n  ${other.title}: ${theirs}`,
    ]
  })
}
