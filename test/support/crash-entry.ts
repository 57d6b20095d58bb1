import { defaultTenant } from '../../src/domain/ids.ts'
import { loadConfig } from '../../src/host/config.ts'
import { createLog } from '../../src/host/log.ts'
import { startCustody } from '../../src/main.ts'
import type { Store } from '../../src/store/store.ts'

/**
 * A Custody that stands still at named points, for a test to kill it there. Only this entry knows
 * such points: what is shipped has none.
 */
export interface CommitPoint {
  /** Of the operation, e.g. `rotate`. */
  readonly kind: string
  /** Which commit of that operation, from 0. */
  readonly commit: number
  readonly when: 'before' | 'after'
}

export type Told =
  | { readonly type: 'listening'; readonly url: string }
  | { readonly type: 'held'; readonly account: string }
  | { readonly type: 'commit'; readonly account: string; readonly kind: string }

const never = new Promise<never>(() => undefined)
const tell = (told: Told): void => void process.send!(told)

/** By the user name of the account. */
const points = JSON.parse(process.env['CUSTODY_CRASH_AT'] ?? '{}') as Readonly<
  Record<string, CommitPoint>
>

function standingStill(store: Store): Store {
  const made = new Map<string, number>()
  return {
    ...store,
    async commit(changes) {
      const step = changes.find((c) => c.type === 'advance')
      const operation = step ? await store.read.operation(defaultTenant, step.id) : null
      if (!operation?.account) return store.commit(changes)
      const account = (await store.read.account(operation.tenant, operation.account))!.userName
      const { kind } = operation
      const nth = made.get(operation.id) ?? 0
      made.set(operation.id, nth + 1)
      tell({ type: 'commit', account, kind })
      const point = points[account]
      const isHere = point?.kind === kind && point.commit === nth
      const stand = async (): Promise<never> => {
        tell({ type: 'held', account })
        return never
      }
      if (isHere && point.when === 'before') return stand()
      const result = await store.commit(changes)
      return isHere ? stand() : result
    },
  }
}

const config = await loadConfig({
  file: process.env['CUSTODY_CRASH_CONFIG']!,
  env: process.env,
  cwd: process.cwd(),
})
const custody = await startCustody({
  config,
  roles: ['http', 'worker'],
  rateLimit: null,
  log: createLog({ level: 'error' }),
  store: standingStill,
})
tell({ type: 'listening', url: custody.url })
