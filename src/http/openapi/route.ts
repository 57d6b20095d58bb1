import type { Role } from '../../domain/client.ts'
import type { ApiSchema } from './schema.ts'
import { named, orNull, text } from './schema.ts'

/** What the reference and the page group routes by. */
export const tags = {
  accounts: 'Service accounts, their owners of today and of tomorrow.',
  credentials: 'Credentials, never their secrets; who uses them.',
  owners: 'People who own accounts, and what happens when they leave.',
  approvals: 'Batches that are held, and the brakes that hold them.',
  operations: 'The journal: what runs, waits, failed, and what to decide.',
  providers: 'Where credentials live, what is found there, and the work of people.',
  findings: 'Where providers and journal disagree, and what was let be.',
  directories: 'The directories themselves, and people who change between them.',
  audit: 'The tamper-evident log, the change feed, and reports.',
  administration: 'Clients, sessions, the log of SCIM, and this installation.',
  scim: 'SCIM 2.0 (RFC 7643, 7644, 9865); also below /scim.',
  oauth: 'Tokens (RFC 6749, 7009, 7662, 8414).',
  service: 'Health, metrics, the console and this document.',
} as const
export type Tag = keyof typeof tags

/** One header of an answer. */
export type AnswerHeader =
  | 'Custody-Operation'
  | 'Custody-Audit-Key'
  | 'ETag'
  | 'Location'
  | 'Content-Location'
  | 'Idempotency-Replayed'
  | 'Retry-After'
  | 'WWW-Authenticate'
  | 'Set-Cookie'
  | 'Content-Disposition'

export interface ApiAnswer {
  readonly says: string
  /** null: nothing is in it. */
  readonly body: ApiSchema | null
  /** `application/json` unless it says otherwise. */
  readonly type?: string
  /** The same status in another form: of what two places refuse, each in its own words. */
  readonly also?: { readonly body: ApiSchema; readonly type: string }
  readonly headers?: readonly AnswerHeader[]
}

/** One parameter of the query, beside the ones that go by their name alone. */
export type QueryWords = Readonly<Record<string, ApiSchema>>

/** One route, as it is described. What goes without saying of its kind is added by `document.ts`. */
export interface ApiRoute {
  readonly tag: Tag
  /** What it does, in one line. */
  readonly effect: string
  /** More, in Markdown. */
  readonly more?: string
  /** Who may: anybody, anybody with a token (who sees what is theirs), or these roles. */
  readonly roles: 'public' | 'any' | readonly Role[]
  /** The action of the policies that is asked for; `roles` are those that the shipped ones permit. */
  readonly action?: string
  /** What of the query differs from what the parameter means elsewhere; names are in accepts.ts. */
  readonly query?: QueryWords
  /** The JSON that is sent; absent = none is read. */
  readonly body?: ApiSchema
  readonly isBodyOptional?: true
  readonly bodyTypes?: readonly string[]
  readonly answers: Readonly<Record<number, ApiAnswer>>
  /** Refusals beyond those of all routes of its kind. */
  readonly refusals?: readonly number[]
  readonly parameters?: Readonly<Record<string, ApiSchema>>
}

/** By method and path below the area's prefix, as it is registered: `GET /accounts/:id`. */
export type ApiRoutes = Readonly<Record<string, ApiRoute>>

export function ok(body: ApiSchema, says = 'As asked.'): { readonly 200: ApiAnswer } {
  return { 200: { says, body } }
}

/** The answer of a write that leaves nothing to show. */
export const gone = { 204: { says: 'Done.', body: null } } as const

/** The answer to everything that queues one operation. */
export const accepted: { readonly 202: ApiAnswer } = {
  202: {
    says: 'Accepted: this operation does it.',
    body: named('Operation'),
    headers: ['Custody-Operation'],
  },
}

/** The field of bodies that say why. */
export const reason = { 'reason?': orNull(text) }
