import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { homeOf, scratchHome } from './fixtures.ts'
import type { Postgres } from './postgres.ts'
import { startPostgres } from './postgres.ts'
import type { Server } from './process.ts'
import { startServer } from './process.ts'
import { referenceToken } from './reference/bearer.ts'

/** A server that is up, and the token that it wants. */
export interface Target {
  readonly server: Server
  readonly token: string
}

/** How a Custody that is written to commits. */
export type Writing = 'grouped' | 'single' | 'dry'

export interface ServersOptions {
  /** Where profiles of Custody go; null = none. */
  readonly profile: string | null
  readonly say: (text: string) => void
}

/** All servers of one run; each is started when the first case asks for it, and all stay up. */
export class Servers {
  readonly #options: ServersOptions
  readonly #started = new Map<string, Promise<Target>>()
  #postgres: Promise<Postgres> | null = null

  constructor(options: ServersOptions) {
    this.#options = options
  }

  /** PostgreSQL itself: asked for before this process is pinned, it has all cores. */
  postgres(): Promise<Postgres> {
    return (this.#postgres ??= startPostgres(this.#options.say))
  }

  bare(): Promise<Target> {
    return this.#reference('reference/bare.ts', [])
  }

  /** The ceiling of a create, with an insert in a group commit or without. */
  async writeReference(of: { readonly insert: boolean; readonly size: number }): Promise<Target> {
    if (!of.insert) return this.#reference('reference/write.ts', ['none'])
    const home = await scratchHome(await this.home(of.size), 'reference')
    return this.#reference('reference/write.ts', [path.join(home, 'write.db')])
  }

  async readReference(size: number): Promise<Target> {
    const file = path.join(await this.home(size), 'reference.db')
    return this.#reference('reference/read.ts', [file, String(size)])
  }

  peer(size: number, style: 'indexed' | 'documented', use: 'reads' | 'writes'): Promise<Target> {
    return this.#once(`peer ${size} ${style} ${use}`, async () => ({
      server: await startServer('reference/scimmy.ts', [String(size), style]),
      token: referenceToken,
    }))
  }

  /** Custody over the kept database of a size, for reading only. */
  sqlite(size: number): Promise<Target> {
    return this.#once(`sqlite ${size}`, async () => {
      const home = await this.home(size)
      return this.#custody(home, 'grouped')
    })
  }

  /** Custody over a copy. It has to be asked for before the kept database is open. */
  sqliteWriting(size: number, writing: Writing): Promise<Target> {
    return this.#once(`sqlite ${writing}`, async () => {
      return this.#custody(await scratchHome(await this.home(size), writing), writing)
    })
  }

  onPostgres(size: number, use: 'reads' | 'writes'): Promise<Target> {
    return this.#once(`postgres ${size} ${use}`, async () => {
      const url = await (await this.postgres()).filled(size)
      return this.#custody(await this.scratch(`postgres-${size}-${use}`), 'grouped', url)
    })
  }

  home(size: number): Promise<string> {
    return homeOf(size, this.#options.say)
  }

  /** A home of its own for a server whose database is elsewhere. */
  async scratch(name: string): Promise<string> {
    return scratchHome(await this.home(1_000), name)
  }

  async close(): Promise<void> {
    for (const target of this.#started.values()) {
      await target.then(
        ({ server }) => server.stop(),
        () => undefined,
      )
    }
    await (await this.#postgres?.catch(() => null))?.close()
  }

  async #custody(home: string, writing: Writing, url: string | null = null): Promise<Target> {
    const { profile } = this.#options
    const flags = profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
    const args = [home, writing, ...(url === null ? [] : [url])]
    const server = await startServer('custody.ts', args, flags)
    return { server, token: await adminToken(home) }
  }

  #reference(script: string, args: readonly string[]): Promise<Target> {
    return this.#once([script, ...args].join(' '), async () => ({
      server: await startServer(script, args),
      token: referenceToken,
    }))
  }

  #once(name: string, start: () => Promise<Target>): Promise<Target> {
    let target = this.#started.get(name)
    if (target === undefined) this.#started.set(name, (target = start()))
    return target
  }
}

export async function adminToken(home: string): Promise<string> {
  return (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
}
