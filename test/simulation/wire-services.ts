import type { WireAnswer, WireRequest } from '../../src/provider/contract.ts'
import { AwsError } from '../../src/sandbox/aws/error.ts'
import type { Envelope } from '../../src/sandbox/aws/respond.ts'
import { answerError, openEnvelope, respond } from '../../src/sandbox/aws/respond.ts'
import type { AwsWorld } from '../../src/sandbox/aws.ts'
import { answer, operationOf } from '../../src/sandbox/github-routes.ts'
import type { GithubWorld } from '../../src/sandbox/github.ts'

export const awsUrl = 'https://aws.invalid'
export const githubUrl = 'https://github.invalid'

export interface Worlds {
  readonly aws: AwsWorld
  readonly github: GithubWorld
}

/** One request to a provider, and all that the provider could say instead of what it should. */
export interface Exchange {
  /** `CreateAccessKey`, `POST /repos/{owner}/{repo}/keys`. */
  readonly operation: string
  /** Only of what neither mints nor takes anything that a repetition could double. */
  readonly isRepeatable: boolean
  act(): WireAnswer
  /** As `act`, with a page that holds one item, however many there are. */
  actInPages(): WireAnswer
  /** Whether it asks for a later page of a list. */
  readonly isLaterPage: boolean
  throttled(): WireAnswer
  failed(): WireAnswer
  denied(): WireAnswer
  /** Null where the operation knows no such refusal; likewise the next two. */
  quota(): WireAnswer | null
  attached(): WireAnswer | null
  /** Our clock and the provider's are too far apart. */
  skewed(): WireAnswer | null
}

export function exchange(worlds: Worlds, request: WireRequest): Exchange {
  return request.url.origin === githubUrl
    ? github(worlds.github, request)
    : aws(worlds.aws, request)
}

export const quotaOperations: readonly string[] = [
  'CreateUser',
  'CreateAccessKey',
  'PutUserPolicy',
  'CreateSecret',
  'PutSecretValue',
]

function aws(world: AwsWorld, { method, url, headers, body }: WireRequest): Exchange {
  const envelope: Envelope = openEnvelope({
    method,
    url: `${url.pathname}${url.search}`,
    headers,
    body: Buffer.from(body),
  })
  const { service, operation } = envelope
  const refuse = (code: string, message: string): WireAnswer =>
    answerError(service, new AwsError(code, message))
  return {
    operation,
    isRepeatable: operation !== 'CreateAccessKey',
    act: () => respond(world, envelope),
    actInPages() {
      const usual = world.pageSizeMax
      world.pageSizeMax = 1
      try {
        return respond(world, envelope)
      } finally {
        world.pageSizeMax = usual
      }
    },
    isLaterPage: service === 'iam' && new URLSearchParams(body).has('Marker'),
    throttled: () => refuse('Throttling', 'Rate exceeded'),
    failed: () => refuse(service === 'iam' ? 'ServiceFailure' : 'InternalFailure', 'Try again.'),
    denied: () => refuse('AccessDenied', 'not authorized to perform this'),
    quota: () =>
      quotaOperations.includes(operation) ? refuse('LimitExceeded', 'Cannot exceed quota.') : null,
    attached: () =>
      operation === 'DeleteUser'
        ? refuse('DeleteConflict', 'Cannot delete entity, must remove referenced objects first.')
        : null,
    skewed: () =>
      refuse('SignatureDoesNotMatch', 'Signature expired: it is now earlier than that.'),
  }
}

function github(world: GithubWorld, { method, url, headers, body }: WireRequest): Exchange {
  const target = `${url.pathname}${url.search}`
  const known = operationOf(world, method, target)
  if (known === null) throw new Error(`the sandbox does not play ${method} ${target}`)
  const date = new Date(world.clock.now()).toUTCString()
  const reply = (
    status: number,
    content: unknown,
    more: Readonly<Record<string, string>> = {},
  ): WireAnswer => ({
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', date, ...more },
    body: content === undefined ? '' : JSON.stringify(content),
  })
  const act = (): WireAnswer => {
    const parsed: unknown = body === '' ? undefined : JSON.parse(body)
    const { authorization } = headers
    const r = answer(world, { method, target, authorization, body: parsed }, githubUrl)
    return reply(r.status, r.body, r.headers)
  }
  return {
    operation: `${method} ${url.pathname}`,
    isRepeatable: !url.pathname.endsWith('/access_tokens'),
    act,
    actInPages: act,
    isLaterPage: Number(url.searchParams.get('page') ?? 1) > 1,
    throttled: () =>
      reply(403, { message: 'You have exceeded a secondary rate limit.' }, { 'retry-after': '1' }),
    failed: () => reply(502, { message: 'Server Error' }),
    denied: () => reply(403, { message: 'Resource not accessible by integration' }),
    quota: () =>
      method === 'POST'
        ? reply(422, { message: 'Validation Failed', errors: [{ message: 'too many keys' }] })
        : null,
    attached: () => null,
    skewed: () => reply(401, { message: "'Issued at' claim ('iat') must be in the past" }),
  }
}
