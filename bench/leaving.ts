import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServiceAccount } from '../src/domain/account.ts'
import { defaultTenant } from '../src/domain/ids.ts'
import type { AccountWrite } from '../src/domain/want.ts'
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import type { Caller } from '../src/lifecycle/engine.ts'
import { callerOf } from '../src/lifecycle/engine.ts'
import type { Running } from '../src/main.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import type { Store } from '../src/store/store.ts'
import { environmentOf, urlOf } from './database.ts'
import { longestHold } from './loop.ts'
import { startServer } from './process.ts'

/** What became of one leaver, in milliseconds since the request to declare it. */
export interface Leaving {
  readonly accounts: number
  readonly switchMs: number
  readonly disablingMs: number
  /** While the accounts were gone through. */
  readonly holdMs: number
  readonly refusedMs: number
  readonly impactMs: number
  readonly impactHoldMs: number
  readonly reportMs: number
  readonly reportHoldMs: number
}

/** When each account was first `disabling`, and each key first refused, by what was committed. */
class Watch {
  readonly disabling = new Map<string, number>()
  readonly refused = new Map<string, number>()
  #told: (() => void)[] = []

  around(store: Store): Store {
    return {
      ...store,
      commit: async (changes) => {
        const result = await store.commit(changes)
        if (result !== 'saved') return result
        const at = performance.now()
        for (const change of changes) {
          if (change.type === 'account' && change.account.status === 'disabling') {
            this.disabling.set(change.account.id, at)
          }
          if (change.type === 'key' && change.key.refusedAt !== null) {
            if (!this.refused.has(change.key.keyId)) this.refused.set(change.key.keyId, at)
          }
        }
        for (const tell of this.#told.splice(0)) tell()
        return result
      },
    }
  }

  async until(isOver: () => boolean, seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1_000
    while (!isOver()) {
      if (performance.now() > end) throw new Error(`not over after ${seconds} s`)
      await Promise.race([new Promise<void>((tell) => this.#told.push(tell)), sleep(200)])
    }
  }
}

/**
 * An owner of so many accounts with an AWS access key each leaves: real adapters, real SigV4, our
 * AWS in another process, `settle` 0 and one probe.
 * @param url of an empty database; null = SQLite
 */
export async function measureLeaving(
  accounts: number,
  say: (text: string) => void,
  url: string | null = null,
): Promise<Leaving> {
  const sandbox = await startServer('sandbox.ts', [])
  const home = await mkdtemp(path.join(tmpdir(), 'custody-bench-leaver-'))
  const watch = new Watch()
  let custody: Running | null = null
  try {
    const file = path.join(home, 'custody.yaml')
    await writeFile(file, configOf(sandbox.url), { mode: 0o600 })
    const env = environmentOf(home, url ?? urlOf(home))
    const config = await loadConfig({ env, cwd: home, file }, checkConfig)
    custody = await startCustody({
      config,
      roles: ['worker'],
      log: createLog({ level: 'error', write: () => undefined }),
      store: (store) => watch.around(store),
    })
    return await leave(custody, watch, accounts, say)
  } finally {
    await custody?.close()
    await sandbox.stop()
    await rm(home, { recursive: true, force: true })
  }
}

async function leave(
  custody: Running,
  watch: Watch,
  accounts: number,
  say: (text: string) => void,
): Promise<Leaving> {
  const { engine } = custody
  const [client] = await engine.life.store.read.clients(defaultTenant)
  const admin: Caller = callerOf(client!)
  const { person } = await engine.createPerson(admin, {
    type: 'person',
    userName: 'leaver@bench.example',
    externalId: null,
    active: true,
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
  })
  const since = performance.now()
  const ids: string[] = []
  for (let i = 0; i < accounts; i++) {
    const { account } = await engine.requestAccount(admin, accountOf(i, person.id))
    ids.push(account.id)
  }
  const all = async (status: ServiceAccount['status']): Promise<void> => {
    const { read } = engine.life.store
    for (;;) {
      const rows = await read.accountsOwnedBy(defaultTenant, person.id, null, 10_000)
      if (rows.every((row) => row.status === status)) return
      await sleep(500)
    }
  }
  await all('active')
  say(
    `${accounts} accounts with a key each made in ${((performance.now() - since) / 1_000).toFixed(1)} s`,
  )

  const impact = await timed(() => engine.impact(admin, person.id))
  const begun = performance.now()
  let switchMs = 0
  const { holdMs } = await longestHold(async () => {
    await engine.declareLeave(admin, person.id, { reason: 'bench', since: null })
    switchMs = performance.now() - begun
    await watch.until(() => watch.disabling.size === accounts, 120)
  })
  await watch.until(() => watch.refused.size >= accounts, 300)
  const last = (map: ReadonlyMap<string, number>) => Math.max(...map.values()) - begun
  const [disablingMs, refusedMs] = [last(watch.disabling), last(watch.refused)]
  await all('disabled')
  const report = await timed(() => engine.offboarding(admin, person.id))
  return {
    accounts,
    switchMs,
    disablingMs,
    holdMs,
    refusedMs,
    impactMs: impact.ms,
    impactHoldMs: impact.holdMs,
    reportMs: report.ms,
    reportHoldMs: report.holdMs,
  }
}

async function timed(run: () => Promise<unknown>): Promise<{ ms: number; holdMs: number }> {
  const since = performance.now()
  let ms = 0
  const { holdMs } = await longestHold(async () => {
    await run()
    ms = performance.now() - since
  })
  return { ms, holdMs }
}

/** An account with one access key. */
export function accountOf(index: number, owner: string): AccountWrite {
  const name = `svc-${String(index).padStart(5, '0')}`
  return {
    type: 'account',
    userName: name,
    externalId: null,
    active: undefined,
    kind: 'serviceAccount',
    owner: { type: 'User', id: owner },
    backupOwners: undefined,
    purpose: 'bench',
    environment: undefined,
    labels: undefined,
    expiresAt: undefined,
    protected: undefined,
    credentials: [
      {
        provider: 'aws',
        kind: 'access-key',
        scopes: ['s3:GetObject on arn:aws:s3:::artifacts/*'],
        deliverTo: { sink: 'secrets', path: name },
      },
    ],
    attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
  } satisfies Omit<AccountWrite, 'status'> & { readonly attributes: ServiceAccount['attributes'] }
}

export function configOf(sandbox: string): string {
  const [endpoint, credentials] = sandbox.split('#') as [string, string]
  const [accessKeyId, secretAccessKey] = credentials.split(':') as [string, string]
  const connection = `region: us-east-1, endpoint: "${endpoint}", credentials: { accessKeyId: "${accessKeyId}", secretAccessKey: "${secretAccessKey}" }`
  const policies = path.resolve(import.meta.dirname, '..', 'policies')
  return `policies: ${JSON.stringify(policies)}
providers:
  - { name: aws, type: aws-iam, config: { ${connection}, settle: PT0S, probe: { count: 1, every: PT0S } } }
sinks:
  - { name: secrets, type: aws-secrets, config: { ${connection}, namePrefix: custody/ } }
`
}
