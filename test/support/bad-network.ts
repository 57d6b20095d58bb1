import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer } from 'node:net'

/** What becomes of the bytes of a client that says something. */
export type Fate =
  | 'forward'
  /** The server never hears it, and the client never hears of that. */
  | 'swallow'
  /** The server never hears it; the connection breaks. */
  | 'cut before'
  /** The server hears it; the connection breaks before its answer. */
  | 'cut after'

export interface BadNetwork {
  /** The URL of the database, by way of this. */
  readonly url: string
  /** Asked for each piece that a client sends, as text. */
  fate: (said: string) => Fate
  /** Nothing gets through either way, on any connection, old or new. */
  silent: boolean
  /** Connections that are open now. */
  readonly open: number
  /** Breaks all of them. */
  cut(): void
  close(): Promise<void>
}

/** A network between Custody and its database that can be as bad as real ones. */
export async function badNetwork(url: string): Promise<BadNetwork> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port) })
    sockets.add(client)
    const end = (): void => {
      sockets.delete(client)
      client.destroy()
      upstream.destroy()
    }
    let isDeaf = false
    client.on('data', (bytes) => {
      if (network.silent) return
      const fate = network.fate(bytes.toString('latin1'))
      switch (fate) {
        case 'forward':
          upstream.write(bytes)
          return
        case 'swallow':
          return
        case 'cut before':
          end()
          return
        case 'cut after':
          isDeaf = true
          upstream.write(bytes)
      }
    })
    upstream.on('data', (bytes) => {
      if (network.silent) return
      if (isDeaf) end()
      else client.write(bytes)
    })
    for (const socket of [client, upstream]) {
      socket.on('error', end)
      socket.on('close', end)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String((server.address() as AddressInfo).port)
  const network: BadNetwork = {
    url: through.href,
    fate: () => 'forward',
    silent: false,
    get open() {
      return sockets.size
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
  return network
}
