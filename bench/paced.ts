import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'

export interface PacedLoad {
  readonly url: string
  readonly token: string
  readonly perSecond: number
  /** Kept open; a request that finds all of them busy waits, and its wait counts. */
  readonly connections: number
  /** Asked for in turn. */
  readonly paths: readonly string[]
}

/** In milliseconds, from when a request was due until its answer was whole. */
export interface Latencies {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/**
 * GETs at a fixed rate, however long the answers take: a client that waits for an answer before it
 * asks again would leave out the very requests that a stall delays. Autocannon's `overallRate` sends
 * in bursts of a second, and measured 217 ms at p99 on an idle server.
 */
export class PacedClient {
  readonly #load: PacedLoad
  readonly #idle: Line[] = []
  readonly #all: Line[] = []
  readonly #waiting: number[] = []
  #next = 0
  #failed: Error | null = null

  private constructor(load: PacedLoad) {
    this.#load = load
  }

  static async open(load: PacedLoad): Promise<PacedClient> {
    const client = new PacedClient(load)
    const { hostname, port } = new URL(load.url)
    for (let i = 0; i < load.connections; i++) {
      const socket = connect(Number(port), hostname)
      await once(socket, 'connect')
      const line = new Line(socket, (error) => (client.#failed ??= error))
      client.#all.push(line)
      client.#idle.push(line)
    }
    return client
  }

  /** @throws Error when any answer was not 200, or a connection was lost */
  async run(until: Promise<unknown>): Promise<Latencies> {
    const latencies: number[] = []
    let isOver = false
    void until.finally(() => (isOver = true))
    const every = 1_000 / this.#load.perSecond
    let due = performance.now() + every
    while (!isOver) {
      if (this.#failed) throw this.#failed
      const now = performance.now()
      for (; due <= now; due += every) this.#waiting.push(now)
      this.#send(latencies)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    while (this.#idle.length < this.#all.length && !this.#failed) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    if (this.#failed) throw this.#failed
    latencies.sort((a, b) => a - b)
    const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0
    return { count: latencies.length, p50: at(0.5), p99: at(0.99), max: latencies.at(-1) ?? 0 }
  }

  close(): void {
    for (const line of this.#all) line.close()
  }

  #send(latencies: number[]): void {
    while (this.#waiting.length > 0) {
      const line = this.#idle.pop()
      if (line === undefined) return
      const since = this.#waiting.shift()!
      const { paths, token } = this.#load
      const path = paths[this.#next++ % paths.length]!
      line.get(path, token, () => {
        latencies.push(performance.now() - since)
        this.#idle.push(line)
        this.#send(latencies)
      })
    }
  }
}

/** One connection, one request at a time. */
class Line {
  readonly #socket: Socket
  #text = ''
  #answered: (() => void) | null = null

  constructor(socket: Socket, fail: (error: Error) => void) {
    this.#socket = socket.setNoDelay(true).setEncoding('latin1')
    socket.on('error', fail)
    socket.on('data', (chunk) => {
      this.#text += String(chunk)
      const head = this.#text.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = /\r\ncontent-length: (\d+)/i.exec(this.#text.slice(0, head))?.[1]
      if (!this.#text.startsWith('HTTP/1.1 200 ') || length === undefined) {
        fail(new Error(this.#text.slice(0, 500)))
        return
      }
      if (this.#text.length < head + 4 + Number(length)) return
      this.#text = ''
      const answered = this.#answered
      this.#answered = null
      answered?.()
    })
  }

  get(path: string, token: string, answered: () => void): void {
    this.#answered = answered
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer ${token}\r\naccept: application/scim+json\r\n\r\n`,
    )
  }

  close(): void {
    this.#socket.destroy()
  }
}
