import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { defaultTenant } from '../src/domain/ids.ts'
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import { callerOf } from '../src/lifecycle/engine.ts'
import type { Running } from '../src/main.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import type { Figure } from './leaver.ts'
import { accountOf, configOf } from './leaving.ts'
import { spread } from './measure.ts'
import { startServer } from './process.ts'

interface Round {
  /** Until the last account was active again and its key tried, since the first request to undo. */
  readonly backMs: number
  /** Accounts that are active with the key id they had. */
  readonly same: number
}

export async function runUndo(options: {
  readonly people: number
  readonly rounds: number
  readonly say: (text: string) => void
}): Promise<readonly Figure[]> {
  const { people, rounds, say } = options
  const found: Round[] = []
  for (let round = 0; round < rounds; round++) {
    found.push(await measureUndo(people, say))
    say(`round ${round + 1}: ${JSON.stringify(found.at(-1))}`)
  }
  return [
    {
      name: `${people} owners deactivated by mistake, undone: all keys tried and accepted`,
      value: spread(found.map((r) => r.backMs / 1_000)),
      unit: 's',
      atMost: 60,
    },
    {
      name: 'accounts active again with the same key id',
      value: spread(found.map((r) => r.same)),
      unit: `of ${people}`,
      atLeast: people,
    },
  ]
}

/** Real adapters, real SigV4, our AWS in another process, `settle` 0 and one probe. */
async function measureUndo(people: number, say: (text: string) => void): Promise<Round> {
  const sandbox = await startServer('sandbox.ts', [])
  const home = await mkdtemp(path.join(tmpdir(), 'custody-bench-undo-'))
  let custody: Running | null = null
  try {
    const file = path.join(home, 'custody.yaml')
    await writeFile(file, configOf(sandbox.url), { mode: 0o600 })
    const config = await loadConfig({ env: { CUSTODY_HOME: home }, cwd: home, file }, checkConfig)
    custody = await startCustody({
      config,
      roles: ['worker'],
      log: createLog({ level: 'error', write: () => undefined }),
    })
    return await deactivateAndUndo(custody, people, say)
  } finally {
    await custody?.close()
    await sandbox.stop()
    await rm(home, { recursive: true, force: true })
  }
}

async function deactivateAndUndo(
  { engine }: Running,
  people: number,
  say: (text: string) => void,
): Promise<Round> {
  const { read } = engine.life.store
  const [client] = await read.clients(defaultTenant)
  const admin = callerOf(client!)
  const owners: string[] = []
  const accounts: string[] = []
  for (let i = 0; i < people; i++) {
    const { person } = await engine.createPerson(admin, {
      type: 'person',
      userName: `owner-${i}@bench.example`,
      externalId: null,
      active: true,
      attributes: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'] },
    })
    owners.push(person.id)
    accounts.push((await engine.requestAccount(admin, accountOf(i, person.id))).account.id)
  }
  const statuses = async (): Promise<ReadonlySet<string>> => {
    const rows = await Promise.all(accounts.map((id) => read.account(defaultTenant, id)))
    return new Set(rows.map((row) => row!.status))
  }
  const all = async (status: string): Promise<void> => {
    for (;;) {
      const seen = await statuses()
      if (seen.size === 1 && seen.has(status)) return
      await sleep(100)
    }
  }
  const keyIds = async (): Promise<readonly (string | null)[]> =>
    Promise.all(
      accounts.map(async (id) => {
        const [credential] = await read.credentialsOf(defaultTenant, id as never)
        return credential?.status === 'active' ? credential.keyId : null
      }),
    )
  await all('active')
  const before = await keyIds()
  // Declared by an operator, which no brake holds: what a mistaken leaving does is the same.
  const causes: string[] = []
  for (const id of owners) {
    const { operation } = await engine.declareLeave(admin, id, { reason: 'bench', since: null })
    causes.push(operation!.id)
  }
  await all('disabled')
  say(`${people} accounts are off`)
  const begun = performance.now()
  for (const cause of causes) {
    await engine.undo(admin, cause, { reason: 'bench', dryRun: false })
  }
  await all('active')
  const backMs = performance.now() - begun
  const after = await keyIds()
  return { backMs, same: after.filter((id, i) => id !== null && id === before[i]).length }
}
