import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'

/** Who holds a lock: a process id alone may be given to another program after a restart. */
interface Holder {
  readonly pid: number
  /** When the kernel started it (ticks since boot); null where it cannot be asked. */
  readonly started: string | null
}

export interface FileLock {
  release(): Promise<void>
}

const attemptsMax = 5

/**
 * Takes a lock that a file stands for, whole or not at all. The file of a process that is gone is
 * taken over; so is our own, left by an earlier life under the same process id, as in containers.
 * Processes that do not see each other (two machines, two containers on one volume) are not kept
 * apart.
 * @returns the lock, or the process id of the living process that holds it
 */
export async function takeLock(file: string): Promise<FileLock | number> {
  const unique = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  const self: Holder = { pid: process.pid, started: startOf(process.pid) }
  try {
    await writeFile(unique, `${JSON.stringify(self)}\n`, { mode: 0o600, flag: 'wx' })
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (await linkOnce(unique, file)) return { release: () => release(file) }
      const holder = await readHolder(file)
      if (holder !== null && isHolding(holder)) return holder.pid
      await moveAway(file, `${unique}.stale`)
    }
    throw new Error(`${file} cannot be taken: other processes take it at the same time`)
  } finally {
    await rm(unique, { force: true })
  }
}

/** The living process that holds the lock, another than this one; null when nobody does. Takes nothing. */
export async function lockHolder(file: string): Promise<number | null> {
  const holder = await readHolder(file)
  return holder !== null && isHolding(holder) ? holder.pid : null
}

async function linkOnce(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Two may find the same stale file: what was moved is looked at again before it is thrown away. */
async function moveAway(file: string, aside: string): Promise<void> {
  try {
    await rename(file, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const moved = await readHolder(aside)
  if (moved !== null && isHolding(moved)) await linkOnce(aside, file)
  await rm(aside, { force: true })
}

async function release(file: string): Promise<void> {
  if ((await readHolder(file))?.pid === process.pid) await rm(file, { force: true })
}

async function readHolder(file: string): Promise<Holder | null> {
  try {
    const { pid, started } = JSON.parse(await readFile(file, 'utf8')) as Partial<Holder>
    return typeof pid === 'number' ? { pid, started: started ?? null } : null
  } catch {
    return null
  }
}

function isHolding({ pid, started }: Holder): boolean {
  if (pid === process.pid || !isRunning(pid)) return false
  const now = startOf(pid)
  return now !== 'zombie' && (started === null || now === null || started === now)
}

/** A process of this machine that has not ended, whoever it belongs to. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** proc(5): after the name in brackets come the state and, 19 fields later, the start time. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? 'zombie' : (fields[19] ?? null)
  } catch {
    return null
  }
}
