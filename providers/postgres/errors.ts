import type { ProviderErrorKind } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/** What `pg` throws: an answer of the server has `severity` and a SQLSTATE, a socket an errno. */
interface PgError {
  readonly code?: string
  readonly severity?: string
  readonly routine?: string
  readonly message?: string
}

/** By SQLSTATE (PostgreSQL manual, appendix A); the first two characters are its class. */
const kinds: Readonly<Record<string, ProviderErrorKind>> = {
  '28000': 'denied',
  '28P01': 'denied',
  '42501': 'denied',
  '3D000': 'notFound',
  '42704': 'notFound',
  '42710': 'conflict',
  '2BP01': 'conflict',
  '23505': 'conflict',
  '53300': 'throttled',
  '25006': 'unavailable',
  '40001': 'unavailable',
  '40P01': 'unavailable',
  '55P03': 'unavailable',
  '57014': 'unavailable',
  '0A000': 'invalid',
}
const classes: Readonly<Record<string, ProviderErrorKind>> = {
  '08': 'unavailable',
  '53': 'unavailable',
  '57': 'unavailable',
  '58': 'unavailable',
  XX: 'unavailable',
}
/** Never reached the server. */
const unsent = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])
/** The server went away while it worked: the commit may have come first. */
const cutOff = new Set(['57P01', '57P02', '57P03', '08006', '08003', '40003'])

const remedies: Readonly<Record<string, string>> = {
  '28P01': 'check the user and password that Custody signs in with',
  '28000': 'check pg_hba.conf and the user that Custody signs in with',
  '42501': 'see "What Custody needs" in the README of the provider',
  '25006': 'the server is read-only: point the provider at the primary',
  '3D000': 'check the database in the configuration',
}

/**
 * The one error a provider may throw. What the server refused did not happen: every write here is
 * one transaction. The cause is left out, since a library may hang the statement on it.
 * @param sent whether a statement that writes may have reached the server
 */
export function providerErrorOf(error: unknown, what: string, sent: boolean): ProviderError {
  if (error instanceof ProviderError) return error
  const { code = '', severity, message = '' } = (error ?? {}) as PgError
  if (severity === undefined) {
    const outcome = sent && !unsent.has(code) ? 'unknown' : 'notApplied'
    const said = code === '' ? 'the connection ended' : code
    return new ProviderError('unavailable', `PostgreSQL, ${what}: ${said}.`, { outcome })
  }
  const kind = kinds[code] ?? classes[code.slice(0, 2)] ?? 'invalid'
  const remedy = remedies[code]
  const text = `PostgreSQL, ${what}: ${message.slice(0, 200)} (${code})${remedy ? `; ${remedy}` : ''}.`
  return new ProviderError(kind, text, {
    outcome: sent && cutOff.has(code) ? 'unknown' : 'notApplied',
  })
}

/**
 * What a refused login says about the role that tried: `refused` only where PostgreSQL judged the
 * role or its password, never where it judged where the connection came from or had no room.
 */
export function loginRefusal(error: unknown): 'refused' | 'elsewhere' {
  const { code, routine } = (error ?? {}) as PgError
  // 28P01: wrong password, no such role, VALID UNTIL has passed: PostgreSQL tells them apart to nobody.
  if (code === '28P01') return 'refused'
  // NOLOGIN and CONNECTION LIMIT are judged here; pg_hba.conf and a full server are judged elsewhere.
  const ofRole = routine === 'InitializeSessionUserId'
  return ofRole && (code === '28000' || code === '53300') ? 'refused' : 'elsewhere'
}

export function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}
