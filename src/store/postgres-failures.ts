import { AppError, errors } from '../domain/errors.ts'
import { MemberFailed } from './postgres-group.ts'
import { ConstraintFailed } from './sql.ts'

export function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  return typeof code === 'string' ? code : ''
}

export function asConstraint(error: unknown): ConstraintFailed | null {
  switch (codeOf(error)) {
    case '23505':
      return new ConstraintFailed('unique', error)
    case '23503':
      return new ConstraintFailed('foreignKey', error)
    default:
      return null
  }
}

/** Serialisation failure and deadlock: the transaction did nothing and will succeed when repeated. */
export function isTransient(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error))
}

/** A write that others stood in the way of as often as it was tried; nothing of it was kept. */
export function contended(error: unknown): Error {
  return errors.notReady({ reason: 'too many write to the same rows at once' }, { cause: error })
}

/** One write of several brought it about; the others may do without it. */
export function isOfOne(error: unknown): boolean {
  // Data, constraints, what another transaction stood in the way of, and what is too long or many.
  const ofOne = ['22', '23', '40', '54']
  return error instanceof MemberFailed || ofOne.includes(codeOf(error).slice(0, 2))
}

/**
 * What the database says of itself, in words for whoever runs it; nothing of its address or its user,
 * since `/readyz` repeats them to anybody (PostgreSQL, appendix A).
 */
const reasons: Readonly<Record<string, string>> = {
  '25006': 'the database is read-only',
  '25P03': 'the database ended a transaction that stood still',
  '28000': 'the database refuses the user',
  '28P01': 'the database refuses the password',
  '3D000': 'the database is not there any more',
  '42501': 'the database refuses a right that Custody needs',
  '42P01': 'the database has lost its tables',
  '53100': 'the disk of the database is full',
  '53200': 'the database is out of memory',
  '53300': 'the database has no connection left',
  '55P03': 'the database is held up by a lock of somebody else',
  '57014': 'the database is too slow',
  '57P01': 'the database is shutting down',
  '57P02': 'the database is starting again after a crash',
  '57P03': 'the database is starting',
  '57P04': 'the database was dropped',
  '57P05': 'the database ended an idle session',
  '58030': 'the disk of the database reports an error',
}
const unreachable = 'the database cannot be reached'
/** As the driver says it, which gives these no code. */
const slowAnswer = 'Query read timeout'
const noneFree = 'timeout exceeded when trying to connect'
/** A standby's word for a write, which is asked for a number before it writes anything. */
const standby = 'cannot assign TransactionIds during recovery'

function reasonOf(error: unknown): string | null {
  const known = reasons[codeOf(error)]
  if (!(error instanceof Error)) return known ?? null
  // A row that the fence refuses is a bug of ours, and no passing trouble.
  if (error.message.includes('row-level security')) return null
  if (known !== undefined) return known
  if (error.message.includes(standby)) return reasons['25006']!
  if (error.message.includes(slowAnswer)) return 'the database does not answer'
  if (error.message.includes(noneFree))
    return 'the database does not answer, or too many ask it at once'
  return null
}

/**
 * The connection is of no use any more, whatever was under way on it: the server ended it, the
 * network did, or an answer is overdue, after which the driver would take the next one for it.
 */
export function isLost(error: unknown): boolean {
  const code = codeOf(error)
  if (
    ['25P02', '25P03', '57P01', '57P02', '57P03', '57P04', '57P05'].includes(code) ||
    code.startsWith('08')
  )
    return true
  // Of Node: ECONNRESET, ERR_SSL_….
  if (/^E[A-Z_]+$/.test(code)) return true
  return (
    error instanceof Error &&
    (error.message.includes(slowAnswer) || error.message.startsWith('Connection terminated'))
  )
}

/**
 * A connection broke, or could not be made, and nothing that was asked on it was kept. Not of a server
 * that keeps silent: whoever waited for it once need not wait again.
 */
export function brokeOff(error: unknown): boolean {
  if (error instanceof CommitUnheard || !(error instanceof AppError)) return false
  const { cause } = error
  return isLost(cause) && !(cause instanceof Error && cause.message.includes(slowAnswer))
}

/** What a connection was told when it was made outlives a change on the server: another one is needed. */
export function isReadOnly(error: unknown): boolean {
  return codeOf(error) === '25006'
}

/** As the server would say it to a write. */
export function readOnly(): Error {
  return Object.assign(new Error('the connection is read-only'), { code: '25006' })
}

/** The server is there and says no: a mistake in the configuration, when it is met at the start. */
export function isRefusal(error: unknown): boolean {
  return ['28000', '28P01', '3D000'].includes(codeOf(error))
}

export function asRefused(error: unknown): Error {
  const problems = 'store.url: the database refused the user, the password or the database name.'
  return errors.configInvalid({ problems }, { cause: error })
}

/** Errors of a connection, and of a server that is not there. */
export function asUnreachable(error: unknown): Error {
  return errors.notReady({ reason: reasonOf(error) ?? unreachable }, { cause: error })
}

/** Why a statement failed, in words a client may read where it is the client's doing. */
export function asFailure(error: unknown): unknown {
  // PostgreSQL keeps any text but U+0000.
  if (codeOf(error) === '22021') {
    return errors.invalidValue(
      { path: 'text', reason: 'must not contain U+0000.' },
      { cause: error },
    )
  }
  const reason = reasonOf(error)
  return reason === null ? error : errors.notReady({ reason }, { cause: error })
}

/**
 * The connection broke between COMMIT and its answer: what was written may be kept, or not.
 * `result` is what the caller gets if it was.
 */
export class CommitUnheard extends Error {
  override readonly name = 'CommitUnheard'
  readonly xid: string
  readonly backend: number | null
  readonly result: unknown

  constructor(of: { xid: string; backend: number | null; result: unknown }, cause: unknown) {
    super('the connection broke before a commit was answered', { cause })
    this.xid = of.xid
    this.backend = of.backend
    this.result = of.result
  }
}

export function unheard(cause: unknown): Error {
  const reason =
    'the database went away in the middle of a write, which may have been kept: look before you repeat it'
  return errors.notReady({ reason, mayBeKept: true }, { cause })
}
