import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { leaving, spreadOver } from './cases.ts'
import type { Size } from './cases.ts'
import { urlOf } from './database.ts'
import { idAt, scratchHome, userNameAt } from './fixtures.ts'
import type { Figure } from './leaver.ts'
import type { Ask, Load, Sample } from './measure.ts'
import { drain, measure, probe, spread } from './measure.ts'
import type { Server } from './process.ts'
import { startServer } from './process.ts'
import { adminToken, Servers } from './servers.ts'

export interface MixedOptions {
  readonly size: Size
  readonly store: 'sqlite' | 'postgres'
  readonly rounds: number
  readonly seconds: number
  readonly say: (text: string) => void
}

const connections = 50

/**
 * 80 % GET, 15 % filter by userName, 5 % PATCH of a person who leaves or returns: with nothing else
 * to do, and while looking for orphans among all accounts never ends.
 */
export async function runMixed(options: MixedOptions): Promise<readonly Figure[]> {
  const { size, store, rounds, seconds, say } = options
  const servers = new Servers({ profile: null, say })
  let server: Server | null = null
  try {
    const home = await (store === 'sqlite'
      ? scratchHome(await servers.home(size.count), 'mixed')
      : servers.scratch('mixed'))
    const url =
      store === 'sqlite' ? urlOf(home) : await (await servers.postgres()).filled(size.count)
    server = await startServer('sweeping.ts', [home, url], [], { core: null })
    const sweeping = new Sweeping(server)
    const token = await adminToken(home)
    const load: Load = { connections, token, asks: (c) => mixOf(size.count, c) }
    for (const ask of mixOf(size.count, 0).slice(0, 20)) {
      await probe(server, ask, token, () => undefined)
    }
    await measure(server, load, seconds)
    await sweeping.whileSweeping(() => Promise.resolve())
    const found: { readonly idle: Sample; readonly during: Sample }[] = []
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`)
      const one = server
      await drain(one)
      const idle = await measure(one, load, seconds)
      await drain(one)
      const during = await sweeping.whileSweeping(() => measure(one, load, seconds))
      found.push({ idle, during })
    }
    const name = `mixed 80/15/5 @${size.name}`
    const of = (pick: (f: (typeof found)[number]) => number) => spread(found.map(pick))
    return [
      { name, unit: 'req/s', value: of((f) => f.idle.perSecond) },
      { name: '… during sweeps', unit: 'req/s', value: of((f) => f.during.perSecond) },
      { name: '… p99', unit: 'ms', value: of((f) => f.idle.p99) },
      { name: '… p99 during sweeps', unit: 'ms', value: of((f) => f.during.p99) },
      {
        name: '… requests during sweeps / without',
        unit: '×',
        value: of((f) => f.during.perSecond / f.idle.perSecond),
      },
    ]
  } finally {
    await server?.stop()
    await servers.close()
  }
}

function mixOf(count: number, connection: number): readonly Ask[] {
  const writes = leaving(count, connection)
  const reads = spreadOver(count, connection, (index) => ({
    method: 'GET',
    path: `/scim/v2/Users/${idAt(index)}`,
  }))
  return reads.map((read, i): Ask => {
    if (i % 20 === 19) return writes[((i - 19) / 20) % 2]!
    if (i % 20 < 16) return read
    const index = (connection * 7_919 + i * 104_729) % count
    const filter = `userName eq "${userNameAt(index)}"`
    return { method: 'GET', path: `/scim/v2/Users?${new URLSearchParams({ filter }).toString()}` }
  })
}

/** The hour of the server comes again and again while something is measured. */
class Sweeping {
  readonly #server: Server
  readonly #lines: ReturnType<typeof createInterface>

  constructor(server: Server) {
    this.#server = server
    this.#lines = createInterface({ input: server.stdout })
  }

  async whileSweeping<T>(work: () => Promise<T>): Promise<T> {
    let isOver = false
    const sweeps = (async () => {
      do {
        const swept = once(this.#lines, 'line')
        process.kill(this.#server.pid, 'SIGUSR2')
        await swept
      } while (!isOver)
    })()
    try {
      return await work()
    } finally {
      isOver = true
      await sweeps
    }
  }
}
