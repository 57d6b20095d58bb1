import path from 'node:path'
import { instantOf } from '../../src/domain/time.ts'
import { systemClock } from '../../src/host/clock.ts'
import { loadConfig } from '../../src/host/config.ts'
import { createLog } from '../../src/host/log.ts'
import type { Role } from '../../src/main.ts'
import { checkConfig, startCustody } from '../../src/main.ts'
import { claimer } from '../support/claims.ts'

/** What a replica is told by its parent, through its environment. */
export interface ReplicaOrder {
  readonly home: string
  readonly storeUrl: string
  readonly roles: readonly Role[]
  /** How far its machine's clock runs ahead, in seconds. */
  readonly ahead: number
  /** Looks for what is due at once, instead of at the next slot. */
  readonly sweeps: boolean
}

/** One of several replicas, as `custody serve` runs them, on a machine whose clock is wrong. */
const { home, storeUrl, roles, ahead, sweeps } = JSON.parse(
  process.env['CUSTODY_REPLICA']!,
) as ReplicaOrder
const config = await loadConfig(
  {
    file: path.join(home, 'custody.yaml'),
    env: { CUSTODY_HOME: home, CUSTODY_LISTEN: '127.0.0.1:0', CUSTODY_STORE_URL: storeUrl },
    cwd: home,
  },
  checkConfig,
)
const custody = await startCustody({
  config,
  roles,
  rateLimit: null,
  log: createLog({ level: 'warn', write: (line) => process.stderr.write(line) }),
  clock: { ...systemClock, now: () => instantOf(Date.now() + ahead * 1_000) },
})
process.once('SIGTERM', () => {
  void custody.close().then(() => process.exit(0))
})
process.send?.({ url: custody.url })
if (sweeps) await custody.engine.runSweep(claimer, 'rotation')
