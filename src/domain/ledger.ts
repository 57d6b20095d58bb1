import type { ClientId, TenantId } from './ids.ts'
import type { Instant } from './time.ts'

/** One use of an `Idempotency-Key`; `status` null while the first request is still running. */
export interface Replay {
  readonly tenant: TenantId
  readonly client: ClientId
  /** Method, route, id and key as JSON text. */
  readonly scope: string
  /** Keyed hash of query and body: a body may hold what must not be recoverable. */
  readonly fingerprint: string
  /** The id of the request that holds the claim. */
  readonly request: string
  readonly status: number | null
  readonly headers: Readonly<Record<string, string>> | null
  /** Null also when the answer carried a secret and is therefore not kept. */
  readonly body: string | null
  /** From then on an unanswered claim counts as abandoned: the process died under it. */
  readonly staleAt: Instant
  readonly expiresAt: Instant
}

/** What a client sent to SCIM and got, masked before it reaches any store. */
export interface ScimRequest {
  readonly tenant: TenantId
  readonly id: string
  readonly client: ClientId
  readonly at: Instant
  readonly method: string
  /** The route's pattern, without the prefix. */
  readonly route: string
  readonly target: string | null
  readonly query: string | null
  readonly agent: string | null
  readonly status: number
  readonly error: string | null
  readonly scimType: string | null
  readonly body: string | null
  readonly milliseconds: number
}

/** How a value was written in JSON, never what it was. */
export type SentForm =
  | 'text'
  | 'text of its own'
  | 'empty text'
  | 'base64'
  | 'boolean'
  | 'boolean as text'
  | 'integer'
  | 'decimal'
  | 'dateTime'
  | 'object'
  | 'list'
  | 'list of one'
  | 'empty list'
  | 'null'
  | 'removed'

/** That a client sent one attribute in one form: counted, without any value. */
export interface AttributeSighting {
  readonly tenant: TenantId
  readonly client: ClientId
  /** `User`, `Group` or `Credential`. */
  readonly resource: string
  /** As the schema spells it, or as it was sent when no schema knows it. */
  readonly path: string
  readonly form: SentForm
  readonly count: number
  readonly firstAt: Instant
  readonly lastAt: Instant
  /** The last one, e.g. `POST`, `PATCH replace`, `PATCH add without path`. */
  readonly operation: string
}
