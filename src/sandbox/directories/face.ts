import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { DirectoryWorld } from './world.ts'

export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
}

export interface DirectoryFace {
  readonly url: string
  readonly world: DirectoryWorld
  close(): Promise<void>
}

export interface Asked {
  readonly method: string
  readonly url: URL
  readonly authorization: string | null
  readonly body: string
}

const bodyMax = 64 * 1024

/** One of the faces on loopback. */
export async function serveFace(
  world: DirectoryWorld,
  answer: (asked: Asked) => Answer,
  port = 0,
): Promise<DirectoryFace> {
  const server = createServer((request, response) => {
    void read(request).then((body) => {
      const url = new URL(request.url ?? '/', `http://${request.headers.host ?? 'localhost'}`)
      world.asked.push(`${request.method} ${url.pathname}${url.search}`)
      const authorization = request.headers.authorization ?? null
      const reply = answer({ method: request.method ?? 'GET', url, authorization, body })
      const headers = Object.entries(reply.headers ?? {}).map(
        ([name, value]) => [name, typeof value === 'string' ? value : [...value]] as const,
      )
      response
        .writeHead(reply.status, {
          'content-type': 'application/json',
          ...Object.fromEntries(headers),
        })
        .end(JSON.stringify(reply.body))
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const { port: bound } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${bound}`,
    world,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function read(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) {
    text += String(chunk)
    if (text.length > bodyMax) break
  }
  return text
}
