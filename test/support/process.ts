import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Json } from './custody.ts'

const bin = path.resolve(import.meta.dirname, '../../bin/custody.js')

/** A Custody in a process of its own, to be killed without warning. */
export interface ServerProcess {
  readonly url: string
  readonly child: ChildProcess
  readonly stderr: () => string
  call(method: string, route: string, body?: unknown): Promise<{ status: number; body: Json }>
  /** SIGKILL: no handler runs, nothing is flushed. */
  kill(): Promise<void>
  /** SIGTERM, then waits for the exit code. */
  stop(): Promise<number | null>
}

/** Starts `custody serve` and resolves when it says `listening`. */
export async function startProcess(
  home: string,
  options: {
    readonly config?: string
    readonly env?: Record<string, string>
    readonly cwd?: string
  } = {},
): Promise<ServerProcess> {
  const args = ['serve', ...(options.config ? ['--config', options.config] : [])]
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: options.cwd ?? home,
    env: {
      ...process.env,
      CUSTODY_HOME: home,
      CUSTODY_LISTEN: '127.0.0.1:0',
      CUSTODY_STORE_URL: `sqlite:${path.join(home, 'custody.db')}`,
      CUSTODY_LOG_LEVEL: 'warn',
      ...options.env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
      const ready = /^listening (\S+)$/m.exec(stderr)
      if (ready) resolve(ready[1]!)
    })
    child.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${stderr}`)))
  })
  const token = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  const exited = new Promise<number | null>((resolve) => child.on('exit', (code) => resolve(code)))
  return {
    url,
    child,
    stderr: () => stderr,
    async call(method, route, body) {
      const response = await fetch(`${url}${route}`, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text) }
    },
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async stop() {
      child.kill('SIGTERM')
      return exited
    },
  }
}
