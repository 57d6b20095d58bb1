import { chmodSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import path from 'node:path'

/** Where Linux keeps a file system in memory. */
const memory = '/dev/shm'

/** A whole run fills some hundred megabytes; containers often have only 64. */
const neededBytes = 2 * 2 ** 30

/**
 * Has everything that asks for a temporary directory, in this process and those it starts, write to
 * memory where there is enough of it. Every commit of a database waits for the disk otherwise: four
 * files of test/lifecycle took 46 s on a disk that others used too, 25 s in memory, and half as much
 * processor time more. What is killed loses nothing either way: only a machine without power would.
 */
export function useMemoryForFiles(): void {
  if (process.env['TMPDIR'] !== undefined || roomIn(memory) < neededBytes) return
  const directory = mkdtempSync(path.join(memory, 'custody-tests-'))
  // As /tmp is: PostgreSQL runs as a user of its own where the tests run as root.
  chmodSync(directory, 0o1777)
  process.env['TMPDIR'] = directory
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
}

function roomIn(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory)
    return bavail * bsize
  } catch {
    return 0
  }
}
