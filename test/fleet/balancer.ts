import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

const askMs = 250

export interface Answer {
  readonly status: number
  // oxlint-disable-next-line no-explicit-any -- answers are probed field by field in drills
  readonly body: any
}

/** A call that was not served: refused, cut off, or answered by a 5xx. */
export interface FailedCall {
  readonly at: number
  readonly to: string
  readonly call: string
  readonly reason: string
}

/**
 * Sends requests to several servers in turn, as a balancer does that asks `/readyz` every 250 ms,
 * keeps its connections, and tries nothing twice.
 */
export interface Balancer {
  add(name: string, url: string): Promise<void>
  /** No new request goes to it; what is on its way goes on. */
  leave(name: string): void
  send(method: string, path: string, token: string, body?: unknown): Promise<Answer | null>
  readonly calls: () => number
  readonly failed: readonly FailedCall[]
  close(): void
}

interface Server {
  readonly name: string
  readonly url: string
  readonly agent: Agent
  isReady: boolean
}

export function startBalancer(): Balancer {
  const servers: Server[] = []
  const failed: FailedCall[] = []
  let [turn, calls, closed] = [0, 0, false]

  const isReady = ({ url }: Server): Promise<boolean> =>
    ask({ url, agent: undefined }, 'GET', '/readyz', {}).then(
      ({ status }) => status === 200,
      () => false,
    )
  const watch = async (): Promise<void> => {
    while (!closed) {
      await Promise.all(
        servers.map(async (server) => {
          server.isReady = await isReady(server)
        }),
      )
      await sleep(askMs)
    }
  }
  void watch()

  return {
    async add(name, url) {
      const agent = new Agent({ keepAlive: true, maxSockets: 16 })
      const server: Server = { name, url, agent, isReady: false }
      server.isReady = await isReady(server)
      servers.push(server)
    },
    leave(name) {
      const at = servers.findIndex((server) => server.name === name)
      servers.splice(at, 1)
    },
    async send(method, path, token, body) {
      const ready = servers.filter((server) => server.isReady)
      const server = ready[turn++ % Math.max(1, ready.length)]
      calls += 1
      const at = performance.now()
      const fail = (reason: string): null => {
        // No path of a resource: a name alone says what kind of call it was.
        const call = `${method} ${path.split('/').slice(0, 4).join('/').split('?')[0]}`
        failed.push({ at, to: server?.name ?? 'none', call, reason })
        return null
      }
      if (server === undefined) return fail('nobody is ready')
      const text = body === undefined ? undefined : JSON.stringify(body)
      const headers = {
        authorization: `Bearer ${token}`,
        accept: 'application/scim+json, application/json',
        ...(text === undefined
          ? {}
          : {
              'content-type': path.startsWith('/scim')
                ? 'application/scim+json'
                : 'application/json',
              'content-length': String(Buffer.byteLength(text)),
            }),
      }
      try {
        const answer = await ask(server, method, path, headers, text)
        if (answer.status >= 500) return fail(`${answer.status} ${JSON.stringify(answer.body)}`)
        return answer
      } catch (error) {
        return fail(String((error as NodeJS.ErrnoException).code ?? error))
      }
    },
    calls: () => calls,
    failed,
    close() {
      closed = true
      for (const { agent } of servers) agent.destroy()
    },
  }
}

/** @throws what the connection does */
function ask(
  { url, agent }: { readonly url: string; readonly agent: Agent | undefined },
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(new URL(path, url), { method, agent, headers }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('error', reject)
      response.on('end', () => {
        resolve({ status: response.statusCode!, body: text === '' ? null : JSON.parse(text) })
      })
    })
    call.on('error', reject)
    call.end(body)
  })
}
