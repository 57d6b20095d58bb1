import { Writable } from 'node:stream'
import { isatty } from 'node:tty'
import { pino } from 'pino'
import { visible } from './visible.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
export const logLevels: readonly LogLevel[] = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
]

/** What the rest of the house logs with; facts first, then one sentence. */
export interface Log {
  debug(facts: object, message: string): void
  info(facts: object, message: string): void
  warn(facts: object, message: string): void
  error(facts: object, message: string): void
  fatal(facts: object, message: string): void
  child(facts: object): Log
  isLevelEnabled(level: string): boolean
}

/**
 * Tokens that are recognisable by design are cut out of whatever line they slipped into: our own,
 * keeping the public id, and GitHub's (whose newer form holds dots and dashes).
 */
const ownToken = /\b(cst|csk)_([0-9A-Za-z]{12})_[0-9A-Za-z]{8,}/g
const githubToken = /\b(gh[pousr]_|github_pat_)[A-Za-z0-9_.-]{8,}/g

/**
 * Logs to stderr: JSON lines, or readable lines on a terminal. One event is always one line.
 * Errors are reduced to what is safe: an SDK's error carries the whole request and response, with
 * headers and bodies that hold secrets.
 */
export function createLog(options: {
  readonly level: LogLevel
  readonly write?: (line: string) => void
  readonly pretty?: boolean
  /** What every line says besides: which process, and the trace it belongs to. */
  readonly about?: () => object
}): Log {
  const write = options.write ?? ((line: string) => void process.stderr.write(line))
  const pretty = options.pretty ?? (options.write === undefined && isatty(2))
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      const line = chunk
        .toString()
        .replace(ownToken, '$1_$2_[secret]')
        .replace(githubToken, '$1[secret]')
      write(pretty ? prettyLine(line) : line)
      done()
    },
  })
  return pino(
    {
      level: options.level,
      base: null,
      ...(options.about ? { mixin: options.about } : {}),
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: {
        level: (label) => ({ level: label }),
        log: (facts) => safeFacts(facts, 0),
      },
      // `safeFacts` has been there first; pino's own serialiser would add every other property.
      serializers: { err: (reduced: unknown) => reduced },
    },
    stream,
  )
}

const factsDepthMax = 6

/** Errors are reduced wherever they stand: as JSON, one would show every property it carries. */
function safeFacts(facts: object, depth: number): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(facts).map(([key, value]) => [key, safeValue(value, depth)]),
  )
}

function safeValue(value: unknown, depth: number): unknown {
  if (value instanceof Error) return safeError(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= factsDepthMax) return '[deep]'
  if (Array.isArray(value)) return value.map((v) => safeValue(v, depth + 1))
  // Anything with a form of its own (a Secret, a Date) knows how it wants to be written.
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
  return isPlain ? safeFacts(value, depth + 1) : value
}

export interface SafeError {
  readonly name: string
  readonly code?: string
  readonly kind?: string
  readonly message: string
  readonly stack?: string
  readonly cause?: SafeError
}

const causeDepthMax = 4

/** Name, code, kind, message and frames, and the same of its causes; no other property. */
export function safeError(error: unknown, depth = 0): SafeError {
  if (!(error instanceof Error)) {
    const message = typeof error === 'string' ? error : 'something that is not an error was thrown'
    return { name: typeof error, message }
  }
  const { code, kind } = error as { code?: unknown; kind?: unknown }
  const isOurs = error.name === 'AppError' || error.name === 'ProviderError'
  return {
    name: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof kind === 'string' ? { kind } : {}),
    message: error.message,
    // An expected fact needs no frames; a bug does.
    ...(isOurs || !error.stack ? {} : { stack: framesOf(error.stack) }),
    ...(error.cause === undefined || depth >= causeDepthMax
      ? {}
      : { cause: safeError(error.cause, depth + 1) }),
  }
}

function framesOf(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, 8)
    .map((line) => line.trim())
    .join(' | ')
}

/** `09:55:41 WARN message key=value …`; control characters are shown, never obeyed. */
function prettyLine(json: string): string {
  // Who reads on a terminal has started the process.
  const {
    level,
    time,
    msg,
    replica: _replica,
    ...facts
  } = JSON.parse(json) as Record<string, unknown>
  const rest = Object.entries(facts)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('')
  const line = `${String(time).slice(11, 19)} ${String(level).toUpperCase().padEnd(5)} ${String(msg)}${rest}`
  return `${visible(line)}\n`
}
