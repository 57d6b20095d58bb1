import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Secret } from './secret.ts'

/** `cst` opens Custody's own API, `csk` is an issued token that others introspect. */
export type TokenPrefix = 'cst' | 'csk'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const idLength = 12
const secretLength = 43
const crcLength = 6
const tokenPattern = /^(cst|csk)_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/

/** Rejection sampling: 62 does not divide 256, and a modulo would favour the first 8 letters. */
function base62(length: number, random: (length: number) => Uint8Array): string {
  let text = ''
  while (text.length < length) {
    for (const byte of random(length * 2)) {
      if (byte < 248 && text.length < length) text += alphabet[byte % 62]
    }
  }
  return text
}

function checksum(body: string): string {
  let n = crc32(body)
  let text = ''
  for (let i = 0; i < crcLength; i++) {
    text = alphabet[n % 62]! + text
    n = Math.floor(n / 62)
  }
  return text
}

/**
 * A bearer token `<prefix>_<id>_<43 base62><6 crc>`: 256 bits, found offline by secret scanners
 * thanks to prefix and CRC-32, looked up by its public id and never by scanning hashes.
 */
export function mintToken(
  prefix: TokenPrefix,
  random: (length: number) => Uint8Array = randomBytes,
): { readonly id: string; readonly token: Secret } {
  const id = base62(idLength, random)
  const body = `${prefix}_${id}_${base62(secretLength, random)}`
  return { id, token: Secret.ofText(body + checksum(body)) }
}

/** @returns null for anything that is not a well-formed token with a matching checksum */
export function parseToken(
  text: string,
): { readonly prefix: TokenPrefix; readonly id: string } | null {
  const m = tokenPattern.exec(text)
  if (!m || checksum(text.slice(0, -crcLength)) !== m[4]) return null
  return { prefix: m[1] as TokenPrefix, id: m[2]! }
}

/** HMAC-SHA-256 in hex under the server's pepper: a copied database does not open the API. */
export function hashToken(pepper: Uint8Array, token: string | Uint8Array): string {
  return createHmac('sha256', pepper).update(token).digest('hex')
}

export function sameHash(a: string, b: string): boolean {
  const left = Buffer.from(a, 'hex')
  const right = Buffer.from(b, 'hex')
  return left.length === right.length && left.length > 0 && timingSafeEqual(left, right)
}
