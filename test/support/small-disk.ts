import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface SmallDisk {
  readonly directory: string
  /** Leaves no byte; writing fails from now on. */
  fill(): void
  /** The space is there again. */
  free(): void
  unmount(): void
}

/** A file system of its own in memory; null, with the reason, where this user may not mount one. */
export function mountSmallDisk(bytes: number): SmallDisk | string {
  const directory = mkdtempSync(path.join(tmpdir(), 'custody-small-disk-'))
  try {
    const options = ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory]
    execFileSync('mount', options, { stdio: 'pipe' })
  } catch (error) {
    rmSync(directory, { recursive: true })
    return `no tmpfs can be mounted here: ${(error as Error).message.split('\n').at(0)}`
  }
  const filler = path.join(directory, 'filler')
  return {
    directory,
    fill() {
      const { bavail, bsize } = statfsSync(directory)
      writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize)))
    },
    free: () => rmSync(filler, { force: true }),
    unmount() {
      execFileSync('umount', ['-l', directory])
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
