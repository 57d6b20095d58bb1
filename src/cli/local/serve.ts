import { flushCompileCache } from 'node:module'
import { loadConfig } from '../../host/config.ts'
import type { Role } from '../../main.ts'
import { checkConfig, startCustody } from '../../main.ts'
import { listenFailure, systemFailure } from '../system-failure.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { exitCodes } from '../terminal.ts'

/** Behind the first sweeps, whose code is kept as well. */
const keepCodeAfterMs = 5_000

export interface ServeOptions {
  readonly config: string | null
  readonly roles: readonly Role[]
}

/**
 * Runs the service until SIGINT or SIGTERM. `listening <url>` on stderr means ready (contract §2),
 * without HTTP `ready: <roles>`; SIGHUP reads the policies again, here and on all other replicas.
 */
export async function run(options: ServeOptions, terminal: Terminal): Promise<ExitCode> {
  const { env, cwd, stderr } = terminal
  const config = await loadConfig({ file: options.config, env, cwd }, checkConfig)
  const isDemo = env['CUSTODY_DEMO'] === '1'
  const custody = await startCustody({ config, roles: options.roles, isDemo }).catch(
    (error: unknown) => {
      const database = config.store.kind === 'sqlite' ? config.store.file : null
      throw listenFailure(error, config.listen) ?? systemFailure(error, database) ?? error
    },
  )
  for (const created of custody.home.created) stderr(`created ${created} (readable by you only)\n`)
  const listens = options.roles.includes('http')
  stderr(listens ? `listening ${custody.url}\n` : `ready: ${options.roles.join(', ')}\n`)

  // Node would keep it when the process ends, which for a service may be by a kill.
  setTimeout(flushCompileCache, keepCodeAfterMs).unref()

  const reload = (): void => {
    custody.reloadPolicies().then(
      () => stderr('policies read again\n'),
      (error: Error) => stderr(`policies kept as they were: ${error.message}\n`),
    )
  }
  process.on('SIGHUP', reload)
  // Neither waiting work nor a signal's listener keeps a process alive that serves no HTTP.
  const alive = setInterval(() => undefined, 2 ** 30)
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  clearInterval(alive)
  process.off('SIGHUP', reload)
  await custody.close()
  return signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.ok
}
