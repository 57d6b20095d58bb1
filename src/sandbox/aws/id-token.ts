import type { WireAnswer } from './respond.ts'
import type { AwsWorld } from './world.ts'

const route = '/_sandbox/id-token'

/**
 * Plays the platform of a workload: `GET /_sandbox/id-token?sub=…&audience=…[&issuer=…]` answers
 * `{ value }`, as GitHub's `ACTIONS_ID_TOKEN_REQUEST_URL` does. No part of AWS.
 * @returns null for any other request
 */
export function idTokenAnswer(world: AwsWorld, method: string, path: string): WireAnswer | null {
  const url = new URL(path, 'http://sandbox')
  if (method !== 'GET' || url.pathname !== route) return null
  const headers = { 'content-type': 'application/json' }
  const [sub, aud, issuer] = ['sub', 'audience', 'issuer'].map((n) => url.searchParams.get(n))
  if (!sub || !aud) {
    const message = 'Ask with sub and audience: whose token, and for whom.'
    return { status: 400, headers, body: JSON.stringify({ message }) }
  }
  const value = world.issueWebIdentity({ sub, aud, ...(issuer ? { issuer } : {}) })
  return { status: 200, headers, body: JSON.stringify({ value }) }
}
