import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemClock } from '../../../host/clock.ts'
import type { Config } from '../../../host/config.ts'
import { loadConfig } from '../../../host/config.ts'
import { ensureDirectory, homeDirectory } from '../../../host/home.ts'
import type { AwsSandbox } from '../../../sandbox/aws.ts'
import { startAwsSandbox } from '../../../sandbox/aws.ts'
import type { GithubSandbox } from '../../../sandbox/github.ts'
import { startGithubSandbox } from '../../../sandbox/github.ts'
import type { PostgresSandbox } from '../../../sandbox/postgres.ts'
import { startPostgresSandbox } from '../../../sandbox/postgres.ts'
import type { Terminal } from '../../terminal.ts'
import { sandboxConfig } from '../sandbox.ts'
import type { Api } from './api.ts'
import { createApi } from './api.ts'
import { DemoFailure } from './failure.ts'
import type { Service } from './service.ts'
import { startService } from './service.ts'
import type { Show } from './show.ts'

/** Everything the story plays on. The sandboxes live in this process, the service in its own. */
export interface Stage {
  /** The service's `.custody`, in a temporary folder. */
  readonly home: string
  readonly config: Config
  readonly aws: AwsSandbox
  readonly github: GithubSandbox
  /** A real one; null where its package, a dependency of development, is not installed. */
  readonly postgres: PostgresSandbox | null
  readonly service: Service
  /** What `admin` says it is. */
  readonly adminToken: string
  readonly admin: Api
  readonly directory: Api
  readonly requester: Api
  readonly verifier: Api
  readonly show: Show
  /** Reports and the service's log; kept when all else is removed. */
  readonly evidence: string
  readonly signal: AbortSignal
  /** A file as it is called from where the demo was started. */
  nameOf(file: string): string
  /** Waits for what does not itself listen to `signal`. */
  unlessAborted<T>(happening: Promise<T>): Promise<T>
  /** Asks until the answer satisfies. @throws DemoFailure saying what did not come about */
  until<T>(
    what: string,
    ask: () => Promise<T> | T,
    satisfies: (value: T) => boolean,
    everyMilliseconds?: number,
    options?: { readonly patienceMilliseconds: number },
  ): Promise<T>
}

/** What has to be put away again, in whatever state the story was left. */
export interface Props {
  readonly closers: (() => Promise<void>)[]
  readonly atExit: (() => void)[]
}

export const oktaAgent = 'Okta SCIM Client 1.0.0'
const patienceMilliseconds = 20_000
const pollMilliseconds = 20

export async function prepareEvidence(terminal: Terminal): Promise<string> {
  const directory = path.join(homeDirectory(terminal), 'demo')
  // An earlier run's reports must not pass for this run's.
  await rm(directory, { recursive: true, force: true })
  await ensureDirectory(directory)
  return directory
}

/** @throws DemoFailure when the service does not come up, with its own sentence */
export async function setStage(
  terminal: Terminal,
  props: Props,
  options: {
    readonly evidence: string
    readonly logFile: string
    readonly show: Show
    readonly signal: AbortSignal
    /** Without the database that takes longest to start, and with the console's tour. */
    readonly isHouse?: boolean
  },
): Promise<Stage> {
  const { evidence, show, signal, isHouse = false } = options
  const home = await mkdtemp(path.join(tmpdir(), 'custody-demo-'))
  props.atExit.push(() => rmSync(home, { recursive: true, force: true }))
  props.closers.unshift(() => rm(home, { recursive: true, force: true, maxRetries: 3 }))
  await chmod(home, 0o700)

  show.progress(`starting ${isHouse ? '' : 'PostgreSQL and '}the sandboxes of AWS and GitHub`)
  const starting = isHouse ? Promise.resolve(null) : startPostgresSandbox(process.env)
  props.closers.unshift(async () => (await starting)?.close())
  const aws = await startAwsSandbox({ clock: systemClock })
  props.closers.unshift(() => aws.close())
  const github = await startGithubSandbox({ clock: systemClock })
  props.closers.unshift(() => github.close())
  const postgres = await starting
  props.atExit.push(() => postgres?.closeNow())
  const configFile = path.join(home, 'custody.yaml')
  await writeFile(path.join(home, 'app.pem'), github.world.app.privateKeyPem, { mode: 0o600 })
  await writeFile(configFile, sandboxConfig(aws, github, 'app.pem', postgres), { mode: 0o600 })

  const config = await loadConfig({ file: configFile, env: { CUSTODY_HOME: home }, cwd: home })
  show.progress('starting the service')
  const service = await startService({
    home,
    configFile,
    listen: terminal.env['CUSTODY_LISTEN'] || '127.0.0.1:0',
    logFile: options.logFile,
    env: terminal.env,
    isDemo: isHouse,
    signal,
  })
  props.atExit.push(() => service.killNow())
  props.closers.unshift(() => service.stop())

  const adminToken = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  const admin = createApi(service.url, adminToken, { signal })
  const client = async (role: string, name: string, agent?: string): Promise<Api> => {
    const { token } = await admin.call(201, 'POST', '/api/v1/clients', { name, role })
    return createApi(service.url, token, { signal, ...(agent === undefined ? {} : { agent }) })
  }
  return {
    home,
    config,
    aws,
    github,
    postgres,
    service,
    adminToken,
    admin,
    directory: await client('directory', 'company directory', oktaAgent),
    requester: await client('requester', 'platform team'),
    verifier: await client('verifier', 'api gateway'),
    show,
    evidence,
    signal,
    nameOf: (file) => {
      const relative = path.relative(terminal.cwd, file)
      return relative.startsWith('..') ? file : relative
    },
    unlessAborted: (happening) => Promise.race([happening, aborted(signal)]),
    async until(what, ask, satisfies, everyMilliseconds = pollMilliseconds, options) {
      const patience = options?.patienceMilliseconds ?? patienceMilliseconds
      const deadline = performance.now() + patience
      for (;;) {
        const value = await ask()
        if (satisfies(value)) return value
        if (performance.now() > deadline) {
          throw new DemoFailure(`${what}: not within ${patience / 1_000} s`)
        }
        await sleep(everyMilliseconds, undefined, { signal })
      }
    },
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new DemoFailure('interrupted'))
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}

/** Runs over a list a few at a time, as a directory or a platform's pipeline does. */
export async function eachOf<T, R>(
  items: readonly T[],
  atOnce: number,
  act: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++
      results[index] = await act(items[index]!, index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane))
  return results
}
