import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'

const serverCore = '0'
const loadCore = '1'
const readyMilliseconds = 120_000
/** Of /proc/<pid>/stat; 100 on every Linux that Node runs on. */
const ticksPerSecond = 100

export interface Server {
  readonly url: string
  readonly pid: number
  /** What it says besides. */
  readonly stdout: Readable
  stop(): Promise<void>
}

/** What ends the servers when this process ends without having stopped them. */
const running = new Set<() => void>()
process.once('exit', () => {
  for (const kill of running) kill()
})

/** Whether servers and load each get a core of their own. */
export const isPinned: boolean =
  availableParallelism() >= 2 && spawnSync('taskset', ['--version']).status === 0

/** Keeps this process, which makes the load, off the core of the servers. */
export function pinLoad(): void {
  if (isPinned) spawnSync('taskset', ['-a', '-c', '-p', loadCore, String(process.pid)])
}

/**
 * Starts a script of this directory as a process of its own and waits for `listening <url>`.
 * @throws Error with its last words when it does not come up
 */
export async function startServer(
  script: string,
  args: readonly string[],
  nodeFlags: readonly string[] = [],
  place: { readonly core: string | null } = { core: serverCore },
): Promise<Server> {
  const file = path.join(import.meta.dirname, script)
  const command = [process.execPath, ...nodeFlags, file, ...args]
  const pinned =
    isPinned && place.core !== null ? ['taskset', '-c', place.core, ...command] : command
  const child = spawn(pinned[0]!, pinned.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  const said: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    said.push(line)
    if (said.length > 20) said.shift()
  })
  const kill = (): void => void child.kill('SIGKILL')
  running.add(kill)
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`${script} does not listen`)),
      readyMilliseconds,
    )
    createInterface({ input: child.stdout }).on('line', (line) => {
      const found = /^listening (\S+)$/.exec(line)?.[1]
      if (found === undefined) return
      clearTimeout(timer)
      resolve(found)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      reject(new Error(`${script} ended with ${code}: ${said.join('\n')}`))
    })
  })
  return {
    url,
    pid: child.pid!,
    stdout: child.stdout,
    async stop() {
      running.delete(kill)
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const impatient = setTimeout(() => child.kill('SIGKILL'), 20_000)
      await ended
      clearTimeout(impatient)
    },
  }
}

const program = path.resolve(import.meta.dirname, '..', 'bin', 'custody.js')

/** `custody serve` on a home of its own, as somebody runs it; killed when this process ends. */
export function spawnService(home: string) {
  const child = spawn(process.execPath, [program, 'serve'], {
    cwd: home,
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      CUSTODY_HOME: home,
      CUSTODY_LISTEN: '127.0.0.1:0',
    },
    // Nobody reads the log: it must not fill a pipe.
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const kill = (): void => void child.kill('SIGKILL')
  const ended = once(child, 'exit').finally(() => running.delete(kill))
  running.add(kill)
  return { child, ended, url: listening(child.stderr, ended), kill }
}

function listening(
  stderr: NodeJS.ReadableStream,
  ended: Promise<readonly unknown[]>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const said: string[] = []
    createInterface({ input: stderr }).on('line', (line) => {
      const url = /^listening (\S+)$/.exec(line)?.[1]
      if (url !== undefined) resolve(url)
      if (said.push(line) > 20) said.shift()
    })
    void ended.then(([code]) =>
      reject(new Error(`custody serve ended with ${String(code)}: ${said.join('\n')}`)),
    )
  })
}

/** Processor time of all threads of a process so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in brackets may hold spaces; user and system time are fields 14 and 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

/** Memory that is the process's own; mapped pages of the database are the kernel's. In MB. */
export function rssAnon(pid: number): number {
  const found = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(found?.[1] ?? 0) / 1_024
}
