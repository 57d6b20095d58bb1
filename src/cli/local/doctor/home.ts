import { stat, statfs } from 'node:fs/promises'
import path from 'node:path'
import type { Secret } from '../../../domain/secret.ts'
import type { Config } from '../../../host/config.ts'
import { decodeMasterKey, readSecretFile, readServer } from '../../../host/home.ts'
import { isRunning, lockHolder } from '../../../host/lock.ts'
import type { Check } from './check.ts'
import { looking, ok, problem, sentenceOf, warning } from './check.ts'

const MiB = 1024 * 1024
/** A day of a busy installation, and a fold of the WAL, have room in this. */
const freeWanted = 1024 * MiB
const freeNeeded = 128 * MiB
const answerMs = 5_000

const modeOf = async (name: string): Promise<number | null> =>
  stat(name).then(
    ({ mode }) => mode & 0o777,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null
      throw error
    },
  )

/** The directory, its secrets, and whether a server runs on it. */
export async function checkHome(config: Config): Promise<readonly Check[]> {
  const repair = 'Let the user that runs Custody own it, with mode 700.'
  return [
    ...(await looking('home', repair, answerMs, () => directory(config))),
    ...(await looking('secret files', repair, answerMs, () => secretFiles(config))),
    ...(await looking('server', 'See the log of the service.', 2 * answerMs, () => server(config))),
  ]
}

async function directory({ home }: Config): Promise<Check> {
  const mode = await modeOf(home)
  if (mode === null) {
    return warning('home', `${home} is not there yet`, 'The first custody serve makes it.')
  }
  return (mode & 0o077) === 0
    ? ok('home', home)
    : warning('home', `${home} is open to others (mode ${mode.toString(8)})`, `chmod 700 ${home}`)
}

async function secretFiles(config: Config): Promise<readonly Check[]> {
  const { home, store, masterKey } = config
  const found: Check[] = []
  for (const [name, isNeeded] of [
    ['master.key', masterKey === null],
    ['admin-token', true],
  ] as const) {
    const file = path.join(home, name)
    const mode = await modeOf(file)
    // A home that is not there yet has none; a key that is lost is told by `master key`.
    if (mode === null) continue
    if ((mode & 0o077) !== 0) {
      const next = `chmod 600 ${file}; if others were on this machine, replace it.`
      const says = `others may read ${file} (mode ${mode.toString(8)}); the service does not start`
      found.push(problem('secret files', says, next))
    } else if (isNeeded) await readSecretFile(file)
  }
  const databases = store.kind === 'sqlite' && store.file !== ':memory:' ? [store.file] : []
  for (const file of databases) {
    const mode = await modeOf(file)
    if (mode !== null && (mode & 0o077) !== 0) {
      const says = `others may read the database ${file} (mode ${mode.toString(8)})`
      found.push(warning('secret files', says, `chmod 600 ${file} ${file}-*`))
    }
  }
  return found.length > 0 ? found : [ok('secret files', 'readable by this user alone')]
}

async function server({ home }: Config): Promise<Check> {
  const record = await readServer(home)
  const holder = await lockHolder(path.join(home, 'server.lock'))
  const pid = holder ?? (record !== null && isRunning(record.pid) ? record.pid : null)
  if (pid === null) return ok('server', 'none runs on this home')
  if (record?.pid !== pid) {
    return warning('server', `process ${pid} is starting, or stuck at it`, 'See its log.')
  }
  const url = `${record.url}/readyz`
  const answer = await fetch(url, { signal: AbortSignal.timeout(answerMs) }).catch(() => null)
  if (answer === null) {
    const says = `process ${pid} does not answer at ${record.url}`
    return problem('server', says, 'See its log; stop it and start it again.')
  }
  if (answer.ok) return ok('server', `process ${pid} is ready at ${record.url}`)
  const body = (await answer.json().catch(() => null)) as { readonly detail?: unknown } | null
  const says = `process ${pid} is not ready${typeof body?.detail === 'string' ? `: ${body.detail}` : ''}`
  return problem('server', says, 'Mend what it names; it recovers by itself.')
}

/** @returns the key; null with what is wrong */
export async function masterKeyOf(
  config: Config,
  hasDatabase: boolean,
): Promise<{ readonly key: Secret | null; readonly check: Check | null }> {
  if (config.masterKey !== null) return { key: config.masterKey, check: null }
  const file = path.join(config.home, 'master.key')
  try {
    return { key: decodeMasterKey(await readSecretFile(file), file), check: null }
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    if (isMissing && !hasDatabase) return { key: null, check: null }
    const says = isMissing ? `${file} is missing, and there is a database` : sentenceOf(error)
    const next = isMissing
      ? 'Restore it from where it is kept; a new key opens nothing.'
      : 'Mend the file, or restore it; a new key opens nothing.'
    return { key: null, check: problem('master key', says, next) }
  }
}

/** Kinds of file systems by the number that Linux gives them (statfs(2)). */
const networks: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB2',
  0x00c36400: 'Ceph',
  0x5346414f: 'AFS',
  0x0bd00bd0: 'Lustre',
  0x01021997: '9P',
}

export interface Disk {
  readonly free: number
  readonly type: number
}

/** Room, and for SQLite a file system that it can lock and share memory on. */
export function judgeDisk(place: string, { free, type }: Disk, isDatabase: boolean): Check[] {
  const room = `${Math.floor(free / MiB)} MiB free at ${place}`
  const found: Check[] = [
    free < freeNeeded
      ? problem('disk', room, 'Make room: with a full disk nothing is written.')
      : free < freeWanted
        ? warning('disk', room, 'Make room, or move it to a larger disk.')
        : ok('disk', room),
  ]
  if (!isDatabase) return found
  const network = networks[type]
  const next = 'Move it to a local disk, or use PostgreSQL.'
  const says = `${place} is on ${network}, where SQLite can lose what was written`
  found.push(
    network === undefined
      ? ok('file system', 'not one that is known to be of a network')
      : problem('file system', says, next),
  )
  return found
}

/** @param place may not be there yet: what is above it counts then */
export async function checkDisk(place: string, isDatabase: boolean): Promise<readonly Check[]> {
  return looking('disk', 'See whether the disk is mounted.', answerMs, async () => {
    let at = place
    while ((await modeOf(at)) === null && path.dirname(at) !== at) at = path.dirname(at)
    const { bavail, bsize, type } = await statfs(at)
    return judgeDisk(at, { free: bavail * bsize, type }, isDatabase)
  })
}
