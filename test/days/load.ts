import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Replica } from '../fleet/ground.ts'
import { nhiUrn, patchUrn, userUrn } from '../support/custody.ts'
import type { Json } from '../support/custody.ts'
import { role, password } from './server.ts'

export interface Wanted {
  readonly what: 'person' | 'patch' | 'account' | 'rotation'
  readonly method: string
  readonly route: string
  readonly body: Json
  /** The same for every repetition. */
  readonly key: string
  /** Of the person or the account; of the credential for a rotation. */
  readonly name: string
}
export interface Answer {
  readonly status: number
  readonly text: string
  readonly ms: number
  readonly retryAfter: string | null
}

/** No client waits longer than this for an answer. */
const longestMs = 25_000
const givenUpMs = 45_000

/** What clients do to one replica, and everything that is wrong with how they are answered. */
export class Load {
  readonly anomalies: string[] = []
  readonly done: Wanted[] = []
  readonly failed: Wanted[] = []
  readonly statuses = new Map<number, number>()
  slowestMs = 0
  readonly #replica: Replica

  constructor(replica: Replica) {
    this.#replica = replica
  }

  async ask(wanted: Wanted): Promise<Answer> {
    const began = performance.now()
    const answer = await this.call(wanted).catch((error: unknown) => ({
      status: 0,
      text: String(error),
      ms: performance.now() - began,
      retryAfter: null,
    }))
    this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1)
    this.slowestMs = Math.max(this.slowestMs, answer.ms)
    const of = `${wanted.what} ${wanted.name}: ${answer.status} ${answer.text.slice(0, 200)}`
    if (answer.ms > longestMs) this.anomalies.push(`${of} after ${Math.round(answer.ms)} ms`)
    if (answer.status >= 200 && answer.status < 300) this.done.push(wanted)
    else {
      this.failed.push(wanted)
      if (answer.status !== 503) this.anomalies.push(of)
      else this.#judgeRefusal(wanted, answer, of)
    }
    return answer
  }

  async call(wanted: Pick<Wanted, 'method' | 'route' | 'body' | 'key'>): Promise<Answer> {
    const began = performance.now()
    const response = await fetch(`${this.#replica.url}${wanted.route}`, {
      method: wanted.method,
      headers: {
        accept: wanted.route.startsWith('/scim') ? 'application/scim+json' : '*/*',
        authorization: `Bearer ${this.#replica.token}`,
        ...(wanted.key === '' ? {} : { 'idempotency-key': wanted.key }),
        ...(wanted.body === null ? {} : { 'content-type': 'application/scim+json' }),
      },
      ...(wanted.body === null ? {} : { body: JSON.stringify(wanted.body) }),
      signal: AbortSignal.timeout(givenUpMs),
    })
    const text = await response.text()
    const retryAfter = response.headers.get('retry-after')
    return { status: response.status, text, ms: performance.now() - began, retryAfter }
  }

  get(route: string): Promise<Answer> {
    return this.call({ method: 'GET', route, body: null, key: '' })
  }

  /** Everything that was refused, again under its key, until it is answered well. */
  async repeatFailed(): Promise<void> {
    const deadline = performance.now() + 40_000
    for (const wanted of this.failed.splice(0)) {
      for (;;) {
        const { status, text } = await this.call(wanted)
        if (status >= 200 && status < 300) {
          this.done.push(wanted)
          break
        }
        // The first one under this key may still be under way.
        if (performance.now() > deadline || ![409, 503].includes(status)) {
          this.anomalies.push(`repeated ${wanted.what} ${wanted.name}: ${status} ${text}`)
          break
        }
        await sleep(500)
      }
    }
  }

  #judgeRefusal(wanted: Wanted, { text, retryAfter }: Answer, of: string): void {
    if (!/^\d+$/.test(retryAfter ?? '')) this.anomalies.push(`${of}: no Retry-After`)
    if (wanted.route.startsWith('/scim') && !text.includes('api:messages:2.0:Error')) {
      this.anomalies.push(`${of}: not an error of SCIM`)
    }
    this.judgeWords(text)
  }

  judgeWords(text: string): void {
    if ([role, password, '127.0.0.1', 'postgres://'].some((word) => text.includes(word))) {
      this.anomalies.push(`says too much: ${text}`)
    }
  }
}

export const person = (name: string): Wanted => ({
  what: 'person',
  method: 'POST',
  route: '/scim/v2/Users',
  body: { schemas: [userUrn], userName: name, displayName: name, active: true },
  key: randomUUID(),
  name,
})

export const patch = (id: string, name: string): Wanted => ({
  what: 'patch',
  method: 'PATCH',
  route: `/scim/v2/Users/${id}`,
  body: {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', path: 'displayName', value: `patched ${name}` }],
  },
  key: randomUUID(),
  name,
})

export const account = (name: string, owner: string): Wanted => ({
  what: 'account',
  method: 'POST',
  route: '/scim/v2/Users',
  body: {
    schemas: [userUrn, nhiUrn],
    userName: name,
    [nhiUrn]: {
      kind: 'serviceAccount',
      owner: { value: owner },
      purpose: 'a bad day',
      credentials: [
        {
          provider: 'aws-prod',
          kind: 'access-key',
          scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
          deliverTo: `aws-secrets:${name}`,
        },
      ],
    },
  },
  key: randomUUID(),
  name,
})

export const rotation = (credential: string): Wanted => ({
  what: 'rotation',
  method: 'POST',
  route: `/api/v1/credentials/${credential}/rotate`,
  body: null,
  key: randomUUID(),
  name: credential,
})
