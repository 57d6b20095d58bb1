import { setTimeout as sleep } from 'node:timers/promises'
import { homeOf, scratchHome } from './fixtures.ts'
import type { Figure } from './leaver.ts'
import { drain, spread } from './measure.ts'
import { rssAnon, startServer } from './process.ts'

export interface StartupOptions {
  /** Resources in the database. */
  readonly size: number
  readonly rounds: number
  readonly say: (text: string) => void
}

const idleMs = 5_000

/**
 * How long Custody, in all its roles, takes from the start of its process until `/readyz` says yes,
 * and what it holds once it has had nothing to do for a while: the first sweeps are over by then.
 * The first round finds the file as it was left; the others, as it was closed.
 */
export async function runStartup({
  size,
  rounds,
  say,
}: StartupOptions): Promise<readonly Figure[]> {
  const home = await scratchHome(await homeOf(size, say), 'startup')
  const found: { readonly readyMs: number; readonly busyMs: number; readonly mb: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const since = performance.now()
    const server = await startServer('whole.ts', [home], [], { core: null })
    try {
      await untilReady(server.url)
      const readyMs = performance.now() - since
      await sleep(idleMs)
      await drain(server)
      const busyMs = performance.now() - since - readyMs - idleMs
      const mb = rssAnon(server.pid)
      say(`round ${round + 1}: ready in ${Math.round(readyMs)} ms, ${Math.round(mb)} MB`)
      found.push({ readyMs, busyMs, mb })
    } finally {
      await server.stop()
    }
  }
  const of = (pick: (one: (typeof found)[number]) => number) => spread(found.map(pick))
  const atLarge = (goal: number) => (size >= 1_000_000 ? { atMost: goal } : {})
  return [
    { name: `start to ready @${size}`, unit: 'ms', value: of((o) => o.readyMs), ...atLarge(1_000) },
    { name: `RssAnon, idle @${size}`, unit: 'MB', value: of((o) => o.mb), ...atLarge(200) },
    { name: 'busy beyond 5 s after the start', unit: 'ms', value: of((o) => o.busyMs) },
  ]
}

async function untilReady(url: string): Promise<void> {
  for (let tries = 0; tries < 6_000; tries++) {
    if ((await fetch(`${url}/readyz`)).ok) return
    await sleep(5)
  }
  throw new Error('the server does not become ready')
}
