import { setTimeout as sleep } from 'node:timers/promises'
import { visible } from '../../../host/visible.ts'
import { DemoFailure } from './failure.ts'

// Answers are read as what the contract says they are; what is missing fails the step that needs it.
// oxlint-disable-next-line no-explicit-any -- one answer type for every route
export type Body = any

export interface Answer {
  readonly status: number
  readonly body: Body
  readonly request: string | null
}

/** One client of the service: a directory, a requester, a verifier or the administrator. */
export interface Api {
  /** @throws DemoFailure naming the request, unless the status is `expected` */
  call(expected: number, method: string, route: string, body?: unknown): Promise<Body>
  /** Any status; for a request that is meant to be refused. */
  ask(method: string, route: string, body?: unknown): Promise<Answer>
}

const timeoutMilliseconds = 15_000
/** Who asks too fast is told when to come back. */
const triesMax = 10

export function createApi(
  url: string,
  token: string,
  options: { readonly agent?: string; readonly signal: AbortSignal },
): Api {
  async function ask(method: string, route: string, body?: unknown): Promise<Answer> {
    for (let tried = 1; ; tried++) {
      const { answer, retryAfter } = await once(method, route, body)
      if (answer.status !== 429 || tried === triesMax) return answer
      await sleep(retryAfter * 1_000, undefined, { signal: options.signal })
    }
  }

  async function once(method: string, route: string, body: unknown) {
    const isForm = body instanceof URLSearchParams
    const response = await fetch(`${url}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        // Who names no type is answered to a PATCH with 204 and nothing to read.
        accept: 'application/scim+json, application/json',
        ...(options.agent === undefined ? {} : { 'user-agent': options.agent }),
        ...(body === undefined ? {} : { 'content-type': typeOf(route, isForm) }),
      },
      ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMilliseconds)]),
    }).catch((cause: unknown) => {
      throw new DemoFailure(`${method} ${route} got no answer from ${url}`, null, cause)
    })
    const text = await response.text()
    const answer: Answer = {
      status: response.status,
      body: text === '' ? null : JSON.parse(text),
      request: response.headers.get('x-request-id'),
    }
    return { answer, retryAfter: Number(response.headers.get('retry-after') ?? 1) }
  }
  return {
    ask,
    async call(expected, method, route, body) {
      const answer = await ask(method, route, body)
      if (answer.status === expected) return answer.body
      const detail = visible(String(answer.body?.detail ?? 'without a word'))
      throw new DemoFailure(
        `${method} ${route} answered ${answer.status}, not ${expected}: ${detail}`,
        answer.request,
      )
    },
  }
}

function typeOf(route: string, isForm: boolean): string {
  if (isForm) return 'application/x-www-form-urlencoded'
  return route.startsWith('/scim/') ? 'application/scim+json; charset=utf-8' : 'application/json'
}
