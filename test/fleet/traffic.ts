import { setTimeout as sleep } from 'node:timers/promises'
import { nhiUrn, patchUrn, userUrn } from '../support/custody.ts'
import type { Answer, Balancer } from './balancer.ts'

/** Beyond it a client is told to slow down: 50 requests a second. */
const pauseMs = 40

export interface Traffic {
  /** Ends it, and resolves when the last answer is there. */
  stop(): Promise<void>
  /** What an answer said that was neither a failure of the server nor what was to be expected. */
  readonly surprises: readonly string[]
  /** What a 2xx promised and is not so. */
  check(): Promise<readonly string[]>
  readonly promised: () => number
}

/**
 * What an identity provider sends all day, from several clients at once: people who come, change and
 * go, lists, bulk requests; one of the clients has each key rotated, one a second.
 */
export function startTraffic(
  balancer: Balancer,
  order: { readonly tokens: readonly string[]; readonly rotate: readonly string[] },
): Traffic {
  /** The name each person was given last; null once deleted. */
  const names = new Map<string, string | null>()
  const surprises: string[] = []
  let [made, running] = [0, true]

  const expectStatus = (answer: Answer | null, wanted: number, what: string): boolean => {
    if (answer === null) return false
    if (answer.status === wanted) return true
    surprises.push(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`.slice(0, 300))
    return false
  }
  const person = (userName: string, displayName: string) => ({
    schemas: [userUrn],
    userName,
    displayName,
    active: true,
  })

  const live = async (token: string): Promise<void> => {
    const send = (method: string, path: string, body?: unknown) =>
      sleep(pauseMs).then(() => balancer.send(method, `/scim/v2${path}`, token, body))
    const userName = `person-${(made += 1)}`
    const created = await send('POST', '/Users', person(userName, 'first'))
    if (!expectStatus(created, 201, 'create')) return
    const id = String(created!.body.id)
    names.set(id, 'first')

    const value = { op: 'replace', path: 'displayName', value: 'second' }
    const patched = await send('PATCH', `/Users/${id}`, {
      schemas: [patchUrn],
      Operations: [value],
    })
    if (expectStatus(patched, 200, 'patch')) names.set(id, 'second')
    const filter = encodeURIComponent(`userName eq "${userName}"`)
    const found = await send('GET', `/Users?filter=${filter}`)
    if (expectStatus(found, 200, 'filter') && found!.body.totalResults !== 1) {
      surprises.push(`filter: ${found!.body.totalResults} of 1 found`)
    }
    const put = await send('PUT', `/Users/${id}`, person(userName, 'third'))
    if (expectStatus(put, 200, 'put')) names.set(id, 'third')

    const bulk = await send('POST', '/Bulk', {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'],
      Operations: ['a', 'b'].map((bulkId) => ({
        method: 'POST',
        path: '/Users',
        bulkId,
        data: person(`${userName}-${bulkId}`, 'bulk'),
      })),
    })
    if (expectStatus(bulk, 200, 'bulk')) {
      for (const { status, location } of bulk!.body.Operations) {
        if (String(status) === '201') names.set(String(location).split('/').at(-1)!, 'bulk')
        else surprises.push(`bulk: ${status}`)
      }
    }
    if (made % 2 === 0 && expectStatus(await send('DELETE', `/Users/${id}`), 204, 'delete')) {
      names.set(id, null)
    }
  }

  const rotate = async (token: string, nth: number): Promise<void> => {
    await sleep(1_000)
    const id = order.rotate[nth]
    if (id === undefined) return
    const answer = await balancer.send('POST', `/api/v1/credentials/${id}/rotate`, token, {})
    // 409: the rotation before it is not over.
    if (answer !== null && answer.status !== 202 && answer.status !== 409) {
      surprises.push(`rotate: ${answer.status} ${JSON.stringify(answer.body)}`.slice(0, 300))
    }
  }

  const loops = order.tokens.map(async (token, i) => {
    for (let nth = 0; running; nth++) {
      await (i === 0 ? rotate(token, nth) : live(token))
    }
  })
  return {
    surprises,
    promised: () => names.size,
    async stop() {
      running = false
      await Promise.all(loops)
    },
    async check() {
      const wrong: string[] = []
      const token = order.tokens[0]!
      let at = 0
      for (const [id, name] of names) {
        const tokenOf = order.tokens[at++ % order.tokens.length] ?? token
        // Every client may ask 50 times a second.
        await sleep(1_000 / 45 / order.tokens.length)
        const answer = await balancer.send('GET', `/scim/v2/Users/${id}`, tokenOf)
        const isSo = name === null ? answer?.status === 404 : answer?.body?.displayName === name
        if (!isSo) wrong.push(`${id}: ${name ?? 'deleted'}, but ${answer?.status ?? 'no answer'}`)
      }
      return wrong
    },
  }
}

/** Asks for accounts of one owner, each with an AWS key. @returns ids of their credentials */
export async function askForKeys(
  balancer: Balancer,
  token: string,
  count: number,
): Promise<readonly string[]> {
  const owner = await balancer.send('POST', '/scim/v2/Users', token, {
    schemas: [userUrn],
    userName: 'owner',
    active: true,
  })
  for (let n = 0; n < count; n++) {
    const answer = await balancer.send('POST', '/scim/v2/Users', token, {
      schemas: [userUrn, nhiUrn],
      userName: `svc-${n}`,
      [nhiUrn]: {
        kind: 'workload',
        owner: { value: owner?.body.id },
        purpose: 'the drill of upgrades',
        credentials: [
          {
            provider: 'aws-prod',
            kind: 'access-key',
            scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
            deliverTo: `aws-secrets:svc-${n}`,
          },
        ],
      },
    })
    if (answer?.status !== 201) throw new Error(`no account: ${JSON.stringify(answer)}`)
  }
  const listed = await balancer.send('GET', `/api/v1/credentials?limit=${count}`, token)
  return (listed!.body.items as readonly { readonly id: string }[]).map(({ id }) => id)
}
