import { sign, type KeyObject } from 'node:crypto'

// GitHub refuses an `iat` in its future and an `exp` more than 600 s ahead by *its* clock; with
// these margins a clock that is up to a minute off either way still signs in.
const backdatedSeconds = 60
const lifetimeSeconds = 540

/** @param now milliseconds since 1970, by GitHub's clock as far as it is known */
export function signAppJwt(appId: string, privateKey: KeyObject, now: number): string {
  const at = Math.floor(now / 1_000)
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const claims = { iat: at - backdatedSeconds, exp: at + lifetimeSeconds, iss: appId }
  const body = `${encode({ alg: 'RS256', typ: 'JWT' })}.${encode(claims)}`
  return `${body}.${sign('sha256', Buffer.from(body), privateKey).toString('base64url')}`
}
