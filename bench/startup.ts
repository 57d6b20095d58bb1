import { setTimeout as sleep } from 'node:timers/promises'
import { homeOf, scratchHome } from './fixtures.ts'
import type { Figure } from './leaver.ts'
import { drain, spread } from './measure.ts'
import { cpuSeconds, rssAnon, spawnService } from './process.ts'

export interface StartupOptions {
  /** Resources in the database. */
  readonly size: number
  readonly rounds: number
  readonly say: (text: string) => void
}

/** One start of `custody serve`; processor time is of all threads. */
interface Start {
  readonly listeningMs: number
  readonly cpuMs: number
  readonly readyMs: number
  readonly mb: number
  /** How long it went on working once the first sweeps should have been over. */
  readonly busyMs: number
}

const idleMs = 5_000
/** Longer than the service waits before it keeps its compiled code. */
const firstIdleMs = 12_000

/**
 * How long `custody serve`, in all its roles, takes from the spawn of its process to `listening` and
 * to the first yes of `/readyz`, and what it holds once it has had nothing to do for a while: the
 * first sweeps are over by then. The very first start stands apart: it migrates, finds no compiled
 * code, and the database is in nobody's cache.
 */
export async function runStartup({
  size,
  rounds,
  say,
}: StartupOptions): Promise<readonly Figure[]> {
  const home = await scratchHome(await homeOf(size, say), 'startup')
  const first = await start(home, firstIdleMs)
  say(`first start: ${describe(first)}`)
  const found: Start[] = []
  for (let round = 0; round < rounds; round++) {
    found.push(await start(home, idleMs))
    say(`round ${round + 1}: ${describe(found.at(-1)!)}`)
  }
  const of = (pick: (one: Start) => number) => spread(found.map(pick))
  const goal = (atMost: number) => (size >= 1_000_000 ? { atMost } : {})
  return [
    {
      name: `spawn to listening @${size}`,
      unit: 'ms',
      value: of((o) => o.listeningMs),
      ...goal(1_000),
    },
    { name: 'processor time of it', unit: 'ms', value: of((o) => o.cpuMs) },
    { name: `spawn to ready @${size}`, unit: 'ms', value: of((o) => o.readyMs), ...goal(1_000) },
    { name: `RssAnon, idle @${size}`, unit: 'MB', value: of((o) => o.mb), ...goal(200) },
    { name: 'busy beyond 5 s after the start', unit: 'ms', value: of((o) => o.busyMs) },
    { name: 'first start: to listening', unit: 'ms', value: spread([first.listeningMs]) },
    { name: 'first start: RssAnon, idle', unit: 'MB', value: spread([first.mb]) },
  ]
}

const describe = ({ listeningMs, cpuMs, readyMs, mb }: Start): string =>
  `listening in ${Math.round(listeningMs)} ms (${Math.round(cpuMs)} ms of processor time), ready in ${Math.round(readyMs)} ms, ${Math.round(mb)} MB`

async function start(home: string, idle: number): Promise<Start> {
  const since = performance.now()
  const { child, ended, url: listening, kill } = spawnService(home)
  try {
    const url = await listening
    const listeningMs = performance.now() - since
    const pid = child.pid!
    const cpuMs = cpuSeconds(pid) * 1_000
    await untilReady(url)
    const readyMs = performance.now() - since
    await sleep(idle)
    const waited = performance.now()
    await drain({ url, pid, stdout: child.stderr, stop: async () => kill() })
    const busyMs = performance.now() - waited
    return { listeningMs, cpuMs, readyMs, busyMs, mb: rssAnon(pid) }
  } finally {
    child.kill('SIGTERM')
    const impatient = setTimeout(kill, 20_000)
    await ended
    clearTimeout(impatient)
  }
}

async function untilReady(url: string): Promise<void> {
  for (let tries = 0; tries < 6_000; tries++) {
    if ((await fetch(`${url}/readyz`)).ok) return
    await sleep(5)
  }
  throw new Error('the server does not become ready')
}
