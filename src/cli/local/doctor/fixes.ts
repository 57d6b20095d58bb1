import { chmod, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../../../host/config.ts'
import { readServer } from '../../../host/home.ts'
import { isRunning, lockHolder } from '../../../host/lock.ts'

/** Something that is wrong and can be set right without losing anything. */
export interface Fix {
  /** What is wrong, in a sentence. */
  readonly found: string
  /** What is done about it. */
  readonly says: string
  readonly act: () => Promise<void>
}

/**
 * What the doctor itself may set right: who may read files, and what a process that died left behind.
 * Everything else needs somebody who knows why it is so; its check says what to do.
 */
export async function fixesFor(config: Config): Promise<readonly Fix[]> {
  const { home, store } = config
  const secrets = ['master.key', 'admin-token'].map((name) => path.join(home, name))
  const databases =
    store.kind === 'sqlite' && store.file !== ':memory:'
      ? ['', '-wal', '-shm'].map((end) => `${store.file}${end}`)
      : []
  const found = [
    await closed(home, 0o700),
    ...(await Promise.all([...secrets, ...databases].map((file) => closed(file, 0o600)))),
    await staleServer(home),
  ]
  return found.filter((fix) => fix !== null)
}

async function closed(name: string, mode: number): Promise<Fix | null> {
  const is = await stat(name).catch(() => null)
  if (is === null || (is.mode & 0o077) === 0) return null
  const text = mode.toString(8)
  return {
    found: `others on this machine may read ${name} (mode ${(is.mode & 0o777).toString(8)})`,
    says: `chmod ${text} ${name}`,
    act: () => chmod(name, mode),
  }
}

/** It names where a server listens that is not there any more; commands would ask in vain. */
async function staleServer(home: string): Promise<Fix | null> {
  const record = await readServer(home)
  const file = path.join(home, 'server.json')
  if (record === null || isRunning(record.pid)) return null
  if ((await lockHolder(path.join(home, 'server.lock'))) !== null) return null
  return {
    found: `${file} names process ${record.pid}, which is gone`,
    says: `rm ${file}`,
    act: () => rm(file, { force: true }),
  }
}
