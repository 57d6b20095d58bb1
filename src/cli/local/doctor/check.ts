import { AppError } from '../../../domain/errors.ts'
import { systemFailure } from '../../system-failure.ts'

/** What can be looked at, in the order in which it is told; docs/reference/doctor.md explains each. */
export const checkNames = [
  'configuration',
  'policies',
  'home',
  'secret files',
  'server',
  'database',
  'schema',
  'copy',
  'master key',
  'fence',
  'durability',
  'pooler',
  'clock',
  'connections',
  'damage',
  'disk',
  'file system',
  'replicas',
  'audit log',
  'audit anchor',
  'operations',
  'brakes',
  'restored',
  'provider',
  'sink',
  'directory',
] as const
export type CheckName = (typeof checkNames)[number]
export type CheckState = 'ok' | 'warning' | 'problem'

/** One look at one thing. */
export interface Check {
  readonly check: CheckName
  /** Which one, where there are several. */
  readonly subject: string | null
  readonly state: CheckState
  /** One line, and never a secret. */
  readonly found: string
  /** What to do about it; null when all is well. */
  readonly next: string | null
}

export const ok = (check: CheckName, found: string, subject: string | null = null): Check => ({
  check,
  subject,
  state: 'ok',
  found,
  next: null,
})
export const warning = (
  check: CheckName,
  found: string,
  next: string,
  subject: string | null = null,
): Check => ({ check, subject, state: 'warning', found, next })
export const problem = (
  check: CheckName,
  found: string,
  next: string,
  subject: string | null = null,
): Check => ({ check, subject, state: 'problem', found, next })

/** What was under way when its time was over. */
export class TooLate extends Error {
  override readonly name = 'TooLate'
}

/** @throws TooLate when `act` has not settled by then; it is left to itself */
export async function within<T>(milliseconds: number, act: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new TooLate(`no answer within ${milliseconds / 1_000} s`))
    }, milliseconds)
  })
  try {
    return await Promise.race([act(), late])
  } finally {
    clearTimeout(timer)
  }
}

/** Looks, and makes a problem of whatever goes wrong on the way. */
export async function looking(
  check: CheckName,
  next: string,
  milliseconds: number,
  act: () => Promise<Check | readonly Check[]>,
): Promise<readonly Check[]> {
  try {
    const found = await within(milliseconds, act)
    return 'check' in found ? [found] : found
  } catch (error) {
    return [problem(check, sentenceOf(error), next)]
  }
}

/** Our own words for an error; of others the name or code alone, for a message may quote a secret. */
export function sentenceOf(error: unknown, file: string | null = null): string {
  const known = systemFailure(error, file)
  if (known !== null) return oneLine(known.message)
  if (error instanceof AppError && error.code === 'notReady') return String(error.facts['reason'])
  if (error instanceof AppError || error instanceof TooLate) return oneLine(error.message)
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown }
  return `cannot be looked at (${typeof code === 'string' ? code : String(name)})`
}

const oneLine = (text: string): string => text.trim().replaceAll(/\s*\n\s*/g, '; ')
