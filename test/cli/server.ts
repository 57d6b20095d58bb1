import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly method: string
  readonly url: string
  readonly authorization: string | undefined
  readonly contentType: string | undefined
  readonly idempotencyKey: unknown
  readonly body: unknown
}

export interface Reply {
  readonly status?: number
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** A real HTTP server that answers as the API does, from a table of `METHOD /path`. */
export async function startServer(routes: Readonly<Record<string, (seen: Seen) => Reply>>) {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    void read(request).then((body) => {
      const entry: Seen = {
        method: request.method!,
        url: request.url!,
        authorization: request.headers.authorization,
        contentType: request.headers['content-type'],
        idempotencyKey: request.headers['idempotency-key'],
        body,
      }
      seen.push(entry)
      const route = routes[`${entry.method} ${entry.url.split('?')[0]}`]
      const reply = route?.(entry) ?? {
        status: 404,
        body: { title: 'Not Found', detail: `${entry.method} ${entry.url} is not here.` },
      }
      response.writeHead(reply.status ?? 200, {
        'content-type': 'application/json',
        ...reply.headers,
      })
      response.end(reply.body === undefined ? undefined : JSON.stringify(reply.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function read(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text === '' ? null : JSON.parse(text)
}
