import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../domain/secret.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'

/** Short, so that a copied one is soon worthless; Entra fetches a new one by itself. */
export const accessTokenSeconds = 3_600

/** What a token of each use is called; the use is part of its MAC, so that none serves as another. */
const prefixes = {
  'access token': 'cat_',
  'console session': 'ccs_',
  'login link': 'cll_',
} as const
export type SealedUse = keyof typeof prefixes

const pattern = /^c(?:at|cs|ll)_([A-Za-z0-9_-]{20,400})\.([A-Za-z0-9_-]{43})$/

export interface SealedToken {
  /** The id of the client token it was bought with. */
  readonly clientToken: string
  readonly expiresAt: Instant
  /** When its holder showed the client token itself. */
  readonly since: Instant
}

/**
 * An access token for the holder of a client token. It needs no table: it names the token it was
 * bought with, and is good exactly as long as that one and its client are.
 */
export function sealAccessToken(pepper: Secret, clientToken: string, now: Instant): string {
  const expiresAt = addSeconds(now, accessTokenSeconds)
  return sealToken(pepper, 'access token', { clientToken, expiresAt, since: now })
}

export function sealToken(pepper: Secret, use: SealedUse, token: SealedToken): string {
  const fields = [token.clientToken, token.expiresAt, token.since]
  const payload = Buffer.from(JSON.stringify(fields)).toString('base64url')
  return `${prefixes[use]}${payload}.${macOf(pepper, use, payload)}`
}

/**
 * Compared as texts: 43 characters of base64url hold two bits more than a MAC, so that four of them
 * would decode to the same one, and what is used up by its text could be used four times.
 * @returns null for anything we did not seal for this use; an expired one is still read
 */
export function openToken(pepper: Secret, use: SealedUse, text: string): SealedToken | null {
  const [, payload, mac] = pattern.exec(text) ?? []
  if (payload === undefined || mac === undefined || !text.startsWith(prefixes[use])) return null
  const sent = Buffer.from(mac)
  const made = Buffer.from(macOf(pepper, use, payload))
  if (sent.length !== made.length || !timingSafeEqual(sent, made)) return null
  const [clientToken, expiresAt, since = expiresAt] = JSON.parse(
    Buffer.from(payload, 'base64url').toString('utf8'),
  ) as [string, Instant, Instant | undefined]
  return { clientToken, expiresAt, since }
}

function macOf(pepper: Secret, use: SealedUse, payload: string): string {
  return pepper.use((key) =>
    createHmac('sha256', key).update(`${use}\0${payload}`).digest('base64url'),
  )
}
