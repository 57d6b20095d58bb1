import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Secret } from '../domain/secret.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds } from '../domain/time.ts'

/** Short, so that a copied one is soon worthless; Entra fetches a new one by itself. */
export const accessTokenSeconds = 3_600

const prefix = 'cat_'
const pattern = /^cat_([A-Za-z0-9_-]{20,400})\.([A-Za-z0-9_-]{43})$/

/**
 * An access token for the holder of a client token. It needs no table: it names the token it was
 * bought with, and is good exactly as long as that one and its client are.
 */
export function sealAccessToken(pepper: Secret, clientToken: string, now: Instant): string {
  const expiresAt = addSeconds(now, accessTokenSeconds)
  const payload = Buffer.from(JSON.stringify([clientToken, expiresAt])).toString('base64url')
  return `${prefix}${payload}.${macOf(pepper, payload).toString('base64url')}`
}

/** @returns null for anything we did not seal; an expired one is still read */
export function openAccessToken(
  pepper: Secret,
  text: string,
): { readonly clientToken: string; readonly expiresAt: Instant } | null {
  const [, payload, mac] = pattern.exec(text) ?? []
  if (payload === undefined || mac === undefined) return null
  const sent = Buffer.from(mac, 'base64url')
  const made = macOf(pepper, payload)
  if (sent.length !== made.length || !timingSafeEqual(sent, made)) return null
  const [clientToken, expiresAt] = JSON.parse(
    Buffer.from(payload, 'base64url').toString('utf8'),
  ) as [string, Instant]
  return { clientToken, expiresAt }
}

function macOf(pepper: Secret, payload: string): Buffer {
  return pepper.use((key) => createHmac('sha256', key).update(`access token\0${payload}`).digest())
}
