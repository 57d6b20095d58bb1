import { expect } from 'vitest'
import type { Json, Reply, TestCustody } from './custody.ts'
import { patchUrn, userUrn } from './custody.ts'

export const enterpriseUrn = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User'
export const groupUrn = 'urn:ietf:params:scim:schemas:core:2.0:Group'
export const errorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error'

/** A client that wants to see what it wrote; others get 204 for a PATCH (RFC 7644 §3.5.2). */
export const wantsBody = { accept: 'application/scim+json' }

let made = 0
/** A name that no other test of the file uses. */
export const unique = (stem: string): string => `${stem}-${(made += 1)}`

export const patch = (...Operations: Json[]): Json => ({ schemas: [patchUrn], Operations })
export const person = (userName: string, more: Json = {}): Json => ({
  schemas: [userUrn],
  userName,
  ...more,
})
export const filter = (text: string): string => `filter=${encodeURIComponent(text)}`

/** What RFC 7644 §3.12 says of every refusal: one place of its status, the type and the body. */
export function refusal(status: number, scimType?: string) {
  return {
    status,
    type: expect.stringContaining('application/scim+json') as string,
    body: {
      schemas: [errorUrn],
      status: String(status),
      ...(scimType === undefined ? {} : { scimType }),
      detail: expect.stringMatching(/./) as string,
    },
  }
}

export function outcomeOf({ status, headers, body }: Reply) {
  return { status, type: headers.get('content-type'), body }
}

export type Send = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Reply>

/** Calls below the SCIM base as a client of one dialect, showing what it wrote. */
export function scimAs(custody: TestCustody, token: string): Send {
  return (method, path, body, headers = {}) =>
    custody.call(method, `/scim/v2${path}`, body, { token, headers: { ...wantsBody, ...headers } })
}
