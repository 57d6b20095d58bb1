import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { packageRoot } from '../../../host/home.ts'
import { DemoFailure } from './failure.ts'

/** `custody serve` as a process of its own, so that killing it is killing it. */
export interface Service {
  readonly url: string
  readonly pid: number
  /** SIGKILL, mid-sentence. */
  kill(): Promise<void>
  /** Starts it again on the same home and address. @returns seconds until it listened */
  restart(): Promise<number>
  /** SIGTERM, and SIGKILL should that not be enough. */
  stop(): Promise<void>
  /** For an exit handler, which cannot wait. */
  killNow(): void
}

interface ServiceOptions {
  readonly home: string
  readonly configFile: string
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string
  readonly logFile: string
  /** The console offers its tour. */
  readonly isDemo?: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  /** Ends a start that nobody waits for any more. */
  readonly signal: AbortSignal
}

const readyMilliseconds = 20_000
const stopMilliseconds = 5_000

/** @throws DemoFailure with the service's own last words when it does not come up */
export async function startService(options: ServiceOptions): Promise<Service> {
  let { child, url } = await launch(options)
  const gone = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  return {
    get url() {
      return url
    },
    get pid() {
      return child.pid!
    },
    kill: () => gone('SIGKILL'),
    async restart() {
      const since = performance.now()
      ;({ child, url } = await launch({ ...options, listen: new URL(url).host }))
      return (performance.now() - since) / 1_000
    },
    async stop() {
      const impatient = setTimeout(() => child.kill('SIGKILL'), stopMilliseconds)
      await gone('SIGTERM')
      clearTimeout(impatient)
    },
    killNow() {
      child.kill('SIGKILL')
    },
  }
}

async function launch(
  options: ServiceOptions,
): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const entry = path.join(packageRoot, 'bin', 'custody.js')
  const child = spawn(process.execPath, [entry, 'serve', '--config', options.configFile], {
    cwd: options.home,
    env: {
      // Settings of the operator's own installation must not reach into the demo's.
      ...Object.fromEntries(
        Object.entries(options.env).filter(([name]) => !name.startsWith('CUSTODY_')),
      ),
      CUSTODY_HOME: options.home,
      CUSTODY_LISTEN: options.listen,
      ...(options.isDemo ? { CUSTODY_DEMO: '1' } : {}),
      // Each request with its id: a failing step names one.
      CUSTODY_LOG_LEVEL: options.env['CUSTODY_LOG_LEVEL'] ?? 'debug',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const log = createWriteStream(options.logFile, { flags: 'a', mode: 0o600 })
  // A log that cannot be written must not take the demo down, nor block the service.
  log.on('error', () => child.stderr.resume())
  child.stderr.pipe(log)
  let last = ''
  const cancel = (): boolean => child.kill('SIGKILL')
  options.signal.addEventListener('abort', cancel, { once: true })
  try {
    if (options.signal.aborted) throw new DemoFailure('interrupted')
    const url = await new Promise<string>((resolve, reject) => {
      const give = (reason: string) => reject(new DemoFailure(reason))
      const timer = setTimeout(
        () => give(`the service did not listen within ${readyMilliseconds / 1_000} s`),
        readyMilliseconds,
      )
      createInterface({ input: child.stderr }).on('line', (line) => {
        const listening = /^listening (\S+)$/.exec(line)?.[1]
        if (line.trim() !== '') last = line.trim()
        if (listening === undefined) return
        clearTimeout(timer)
        resolve(listening)
      })
      child.once('error', (error) => give(`the service did not start: ${error.message}`))
      // `close`, not `exit`: its last words may still be in the pipe.
      child.once('close', (code) => {
        clearTimeout(timer)
        give(last === '' ? `the service ended with ${code}` : last)
      })
    })
    return { child, url }
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  } finally {
    options.signal.removeEventListener('abort', cancel)
  }
}
