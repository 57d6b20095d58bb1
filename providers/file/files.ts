import { constants } from 'node:fs'
import { link, lstat, mkdir, open, rename, rm, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ProviderError } from '../../src/provider/contract.ts'

/**
 * The few file operations a sink needs, each durable when it returns and harmless to repeat. None
 * follows a symbolic link below the root.
 */

const directoryMode = 0o700
const fileMode = 0o600

/**
 * Makes `root/segments…` and returns its path. Directories that exist keep their mode.
 * @throws ProviderError conflict when a segment is a symbolic link or no directory
 */
export async function ensureDirectory(root: string, segments: readonly string[]): Promise<string> {
  let path = root
  for (const segment of segments) {
    const parent = path
    path = join(path, segment)
    if (await makeDirectory(path)) await syncDirectory(parent)
  }
  return path
}

/** As `ensureDirectory`, but null instead of making what is missing. */
export async function findDirectory(
  root: string,
  segments: readonly string[],
): Promise<string | null> {
  let path = root
  for (const segment of segments) {
    path = join(path, segment)
    const found = await statOrNull(path)
    if (!found) return null
    if (!found.isDirectory()) throw notADirectory(path)
  }
  return path
}

async function makeDirectory(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: directoryMode })
    return true
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
    if (!(await lstat(path)).isDirectory()) throw notADirectory(path)
    return false
  }
}

function notADirectory(path: string): ProviderError {
  return new ProviderError(
    'conflict',
    `${path} is a symbolic link or no directory; secrets are only written below real directories.`,
    { outcome: 'notApplied' },
  )
}

async function statOrNull(path: string) {
  return lstat(path).catch(nullIfMissing)
}

/**
 * The bytes of a regular file; null when there is none.
 * @throws ProviderError conflict for a symbolic link, a directory, a device
 */
export async function readRegular(path: string): Promise<Buffer | null> {
  const found = await statOrNull(path)
  if (!found) return null
  if (!found.isFile()) {
    throw new ProviderError('conflict', `${path} is not a regular file.`, { outcome: 'notApplied' })
  }
  // O_NOFOLLOW: between the look and the open somebody may have put a link there.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch(nullIfMissing)
  if (!file) return null
  try {
    return await file.readFile()
  } finally {
    await file.close()
  }
}

/** Replaces `path` as a whole or not at all; `temporary` lies in the same directory. */
export async function replaceFile(path: string, temporary: string, bytes: Buffer): Promise<void> {
  await writeNew(temporary, bytes)
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** As `replaceFile`, but never over anything that is there already: then false. */
export async function createFile(path: string, temporary: string, bytes: Buffer): Promise<boolean> {
  await writeNew(temporary, bytes)
  try {
    // A rename would overwrite silently; a link fails when the name is taken.
    await link(temporary, path)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  } finally {
    await removeFile(temporary)
  }
  await syncDirectory(dirname(path))
  return true
}

/** Already gone is success. */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Removes a directory of ours with all that interrupted calls left in it. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
  await syncDirectory(dirname(path))
}

async function writeNew(path: string, bytes: Buffer): Promise<void> {
  // A leftover of an interrupted call: never current, so it may go.
  await removeFile(path)
  const file = await open(path, 'wx', fileMode)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Without this a power cut may undo a rename that was reported as done. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY).catch(nullIfMissing)
  if (!directory) return
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

function nullIfMissing(error: unknown): null {
  if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return null
  throw error
}
