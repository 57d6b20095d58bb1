import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { errors } from '../domain/errors.ts'
import { Secret } from '../domain/secret.ts'
import { mintToken, parseToken } from '../domain/token.ts'
import { takeLock } from './lock.ts'

export const masterKeyBytes = 32

/** Where a running server can be found by the local command line. */
export interface ServerRecord {
  readonly url: string
  readonly pid: number
}

export interface Home {
  /** Absolute; `.custody` unless `CUSTODY_HOME` moves it. */
  readonly path: string
  readonly masterKey: Secret
  /** The bearer token of the local administrator; `main` registers its hash on first start. */
  readonly adminToken: Secret
  /** Files that this start created, to be announced once. */
  readonly created: readonly string[]
  /**
   * Makes this process the one server of the home, until the returned function is called.
   * @throws homeInUse naming the process that is, and its address
   */
  claimServer(): Promise<() => Promise<void>>
  writeServer(record: ServerRecord): Promise<void>
  /** Removes the record unless another process has written its own since. */
  removeServer(): Promise<void>
}

/** Where `.custody` is; needs no configuration. */
export function homeDirectory(from: {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}): string {
  return path.resolve(from.cwd, from.env['CUSTODY_HOME'] || '.custody')
}

/**
 * Opens `.custody`, creating what the first start needs (0600, directory 0700).
 * @param options.masterKey from the environment; then no `master.key` is written
 * @param options.database a database that is there already: its key is not made anew. Look for it
 *   before this call, for another first start may be making key and database right now
 * @throws configInvalid when a secret file is readable by others or does not hold what it should;
 *   masterKeyMissing when there is a database, and no key
 */
export async function openHome(options: {
  readonly path: string
  readonly masterKey: Secret | null
  readonly database?: string | null
  readonly random?: (length: number) => Uint8Array
}): Promise<Home> {
  const random = options.random ?? randomBytes
  await ensureDirectory(options.path)
  const created: string[] = []

  async function secretFile(name: string, make: () => Buffer): Promise<Secret> {
    const file = path.join(options.path, name)
    if (await createOnce(file, make)) created.push(file)
    return readSecretFile(file)
  }

  const keyFile = path.join(options.path, 'master.key')
  const database = options.database ?? null
  if (options.masterKey === null && database !== null && !existsSync(keyFile)) {
    throw errors.masterKeyMissing({ path: keyFile, database })
  }
  const masterKey =
    options.masterKey ??
    decodeMasterKey(
      await secretFile('master.key', () =>
        Buffer.from(`${Buffer.from(random(masterKeyBytes)).toString('base64')}\n`),
      ),
      keyFile,
    )
  const adminToken = await secretFile('admin-token', () =>
    mintToken('cst', random).token.use((bytes) => Buffer.concat([bytes, Buffer.from('\n')])),
  )
  if (!adminToken.use((bytes) => parseToken(bytes.toString('utf8')))) {
    throw errors.configInvalid({
      problems: `${path.join(options.path, 'admin-token')}: does not hold a client token; restore it, or remove it and start again to get a new one.`,
    })
  }

  const serverFile = path.join(options.path, 'server.json')
  return {
    path: options.path,
    masterKey,
    adminToken,
    created,
    async claimServer() {
      const lock = await takeLock(path.join(options.path, 'server.lock'))
      if (typeof lock !== 'number') return () => lock.release()
      const record = await readServer(options.path)
      const url = record?.pid === lock ? record.url : null
      throw errors.homeInUse({ path: options.path, pid: lock, url })
    },
    async writeServer(record) {
      const temporary = `${serverFile}.${process.pid}`
      await writeFile(temporary, `${JSON.stringify(record)}\n`)
      await rename(temporary, serverFile)
    },
    async removeServer() {
      const record = await readServer(options.path)
      if (record?.pid === process.pid) await rm(serverFile, { force: true })
    },
  }
}

/**
 * Makes a directory, 0700, and those above it that are missing. Not by `mkdir({ recursive })`: that
 * tries forever where a parent is there and refuses children with ENOENT, as /proc does.
 * @throws the file system's own error, naming the path
 */
export async function ensureDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const parent = path.dirname(directory)
    if (code === 'ENOENT' && parent !== directory && !existsSync(parent)) {
      await ensureDirectory(parent)
      return ensureDirectory(directory)
    }
    const isThere = code === 'EEXIST' || code === 'EROFS' || code === 'EACCES'
    if (!isThere || !(await isDirectory(directory))) throw error
  }
}

async function isDirectory(name: string): Promise<boolean> {
  return stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  )
}

/** @returns null when no server wrote a record here, or it cannot be read */
export async function readServer(home: string): Promise<ServerRecord | null> {
  try {
    const text = await readFile(path.join(home, 'server.json'), 'utf8')
    const record = JSON.parse(text) as Partial<ServerRecord>
    return typeof record.url === 'string' && typeof record.pid === 'number'
      ? { url: record.url, pid: record.pid }
      : null
  } catch {
    return null
  }
}

/**
 * Writes a file only if there is none, whole or not at all: two first starts agree on one secret,
 * and a crash leaves no empty file behind that a later start would take for the key.
 */
async function createOnce(file: string, make: () => Buffer): Promise<boolean> {
  if (existsSync(file)) return false
  const temporary = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  const bytes = make()
  try {
    await writeFile(temporary, bytes, { mode: 0o600, flag: 'wx' })
    await chmod(temporary, 0o600)
    await link(temporary, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    bytes.fill(0)
    await rm(temporary, { force: true })
  }
}

/**
 * Reads a secret of one line.
 * @throws configInvalid when others may read the file, or it is empty
 */
export async function readSecretFile(file: string): Promise<Secret> {
  const { mode } = await stat(file)
  if (mode & 0o077) {
    throw errors.configInvalid({
      problems: `${file}: others may read this secret (mode ${(mode & 0o777).toString(8)}); run: chmod 600 ${file}`,
    })
  }
  const bytes = await readFile(file)
  let end = bytes.length
  while (end > 0 && (bytes[end - 1] === 10 || bytes[end - 1] === 13)) end--
  if (end === 0) throw errors.configInvalid({ problems: `${file}: is empty.` })
  return Secret.of(bytes.subarray(0, end))
}

/**
 * Reads 32 bytes written in base64 or hex.
 * @throws configInvalid naming `source`, never the text
 */
export function decodeMasterKey(text: Secret, source: string): Secret {
  const key = text.use((bytes) => {
    const written = bytes.toString('utf8').trim()
    if (/^[0-9a-fA-F]{64}$/.test(written)) return Buffer.from(written, 'hex')
    return /^[A-Za-z0-9+/_-]{43}=?$/.test(written) ? Buffer.from(written, 'base64') : null
  })
  if (key?.length === masterKeyBytes) return Secret.of(key)
  throw errors.configInvalid({
    problems: `${source}: must hold ${masterKeyBytes} random bytes in base64 or hex (make one with: openssl rand -base64 ${masterKeyBytes}).`,
  })
}

/** As in package.json. */
export function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot, 'package.json'), 'utf8')
  return (JSON.parse(text) as { readonly version: string }).version
}

/** The directory of Custody's own `package.json`: the checkout, or the installed package. */
export const packageRoot: string = (() => {
  let directory = path.dirname(fileURLToPath(import.meta.url))
  while (!existsSync(path.join(directory, 'package.json'))) directory = path.dirname(directory)
  return directory
})()
