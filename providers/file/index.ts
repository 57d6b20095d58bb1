import { mkdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Secret } from '../../src/domain/secret.ts'
import {
  ProviderError,
  type Call,
  type ProviderErrorKind,
  type SecretSink,
  type SinkModule,
  type SinkTarget,
} from '../../src/provider/contract.ts'
import type { SecretFormat } from '../../src/provider/secret-format.ts'
import { formatProperty, inFormat } from '../../src/provider/secret-format.ts'
import {
  codeOf,
  createFile,
  ensureDirectory,
  findDirectory,
  readRegular,
  removeFile,
  removeTree,
  replaceFile,
} from './files.ts'

/**
 * Secrets as files of mode 0600: `<directory>/<tenant>/<path>` is what consumers read, replaced by
 * rename so that they see the old bytes or the new ones and never a half. Staged and previous
 * versions live in `<directory>/.custody/<tenant>/<credential>/`, beside an index without secrets.
 */
export const file: SinkModule = {
  type: 'file',
  role: 'sink',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['directory'],
    properties: { directory: { type: 'string', minLength: 1 }, format: formatProperty },
  },
  create: (host, config) => {
    const { directory, format = 'custody' } = config as { directory: string; format?: SecretFormat }
    return inFormat(createSink(host.name, host.resolvePath(directory)), format)
  },
}

/** What Custody knows about one target; there before anything appears at the target. */
interface Index {
  readonly credential: string
  readonly path: string
  readonly current: string | null
  /** Call keys whose delivery is complete; each names the file that holds its bytes. */
  readonly versions: readonly string[]
}

const hidden = '.custody'
const indexName = 'index.json'
const namePattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/

function createSink(name: string, directory: string): SecretSink {
  let rootPromise: Promise<string> | null = null
  /** The configured directory may itself be a link: that is the operator's choice. */
  const root = (): Promise<string> => {
    rootPromise ??= mkdir(directory, { recursive: true, mode: 0o700 })
      .then(() => realpath(directory))
      .catch((error: unknown) => {
        rootPromise = null
        throw error
      })
    return rootPromise
  }

  const queues = new Map<string, Promise<unknown>>()
  /** One call at a time per credential: the index is read, changed and written back. */
  const inTurn = <T>(target: SinkTarget, run: () => Promise<T>): Promise<T> => {
    const before = queues.get(target.credential) ?? Promise.resolve()
    const mine = before.then(run, run)
    const settled = mine.then(noop, noop).then(() => {
      if (queues.get(target.credential) === settled) queues.delete(target.credential)
    })
    queues.set(target.credential, settled)
    return mine
  }

  const perform = <T>(
    what: string,
    target: SinkTarget,
    call: Call,
    writes: boolean,
    run: (place: Place) => Promise<T>,
  ): Promise<T> =>
    inTurn(target, async () => {
      try {
        if (call.signal.aborted) throw refuse('unavailable', `${what}: given up before starting.`)
        return await run(placeOf(await root(), target))
      } catch (error) {
        throw translate(error, `${what} ${target.tenant}/${target.path}`, writes)
      }
    })

  return {
    name,
    type: file.type,
    canRead: true,
    check: (target, call) =>
      perform('checking', target, call, false, async (place) => {
        await claimable(place)
        // Targets of one directory are checked at the same time; a repeated call cleans up its own.
        const trial = `.custody-check-${checkName('call key', call.key)}`
        // A write and a rename through both directories: only then is a full disk or a read-only
        // mount found before a key exists.
        const probe = Buffer.from('custody\n')
        for (const at of [await targetDirectory(place), await vaultDirectory(place)]) {
          await replaceFile(join(at, trial), join(at, `${trial}.tmp`), probe)
          await removeFile(join(at, trial))
        }
      }),
    deliver: (target, secret, call) =>
      perform('delivering to', target, call, true, async (place) => {
        const version = checkName('call key', call.key)
        const index = (await claimable(place)) ?? emptyIndex(place)
        const vault = await vaultDirectory(place)
        const stored = index.versions.includes(version)
          ? await readRegular(join(vault, version))
          : null
        if (stored) {
          const isSame = secret.use((bytes) => bytes.equals(stored))
          stored.fill(0)
          if (isSame) return version
          throw refuse('conflict', `version ${version} was delivered before with other bytes.`)
        }
        // Bytes first, name second: what the index names is there as a whole.
        await storeSecret(join(vault, version), secret)
        await writeIndex(vault, { ...index, versions: union(index.versions, version) })
        return version
      }),
    promote: (target, version, from, call) =>
      perform('promoting', target, call, true, async (place) => {
        const index = await readIndex(place)
        if (!index?.versions.includes(version)) {
          throw refuse('notFound', `version ${version} was never delivered here.`)
        }
        if (index.current !== version && index.current !== from) {
          throw refuse(
            'conflict',
            `${index.current ?? 'nothing'} is current, not ${from ?? 'nothing'}; someone promoted in between.`,
          )
        }
        await show(place, version, await shownVersion(place, index))
        if (index.current !== version) await writeIndex(place.vault, { ...index, current: version })
        return pathToFileURL(place.file).href
      }),
    find: (target, key, call) =>
      perform('looking at', target, call, false, async (place) => {
        const index = await readIndex(place)
        if (!index?.versions.includes(checkName('call key', key))) return null
        const bytes = await readRegular(join(place.vault, key))
        bytes?.fill(0)
        return bytes && key
      }),
    read: (target, version, call) =>
      perform('reading', target, call, false, async (place) => {
        const index = await readIndex(place)
        if (!index?.versions.includes(version)) return null
        const bytes = await readRegular(join(place.vault, version))
        return bytes && Secret.of(bytes)
      }),
    current: (target, call) =>
      perform('looking at', target, call, false, async (place) =>
        shownVersion(place, await readIndex(place)),
      ),
    discard: (target, version, call) =>
      perform('discarding at', target, call, true, async (place) => {
        const index = await readIndex(place)
        if (index?.current === version) return
        // A promotion that was cut off before it reached the index did not happen: take it back.
        if (index && (await shownVersion(place, index)) === version) {
          if (index.current === null) await removeFile(place.file)
          else await show(place, index.current, version)
        }
        // Bytes that no index names yet are a delivery that was cut off: they go as well.
        if (!(await findDirectory(place.root, place.vaultSegments))) return
        const bytes = join(place.vault, checkName('version', version))
        await removeFile(bytes)
        await removeFile(`${bytes}.tmp`)
        if (await findDirectory(place.root, place.parents)) {
          await removeFile(temporaryOf(place, version))
        }
        const versions = index?.versions.filter((v) => v !== version)
        if (index && versions && versions.length < index.versions.length) {
          await writeIndex(place.vault, { ...index, versions })
        }
      }),
    remove: (target, call) =>
      perform('removing', target, call, true, async (place) => {
        const index = await readIndex(place)
        if (index) {
          const shown = await shownVersion(place, index)
          for (const version of index.versions) await removeFile(temporaryOf(place, version))
          if (shown !== null) await removeFile(place.file)
        }
        // The index goes last, with the rest: as long as it is there, the target is known as ours.
        if (await findDirectory(place.root, place.vaultSegments)) await removeTree(place.vault)
      }),
    close: () => Promise.resolve(),
  }
}

interface Place {
  readonly root: string
  readonly credential: string
  readonly path: string
  /** Directories from the root to the target's own. */
  readonly parents: readonly string[]
  readonly file: string
  readonly vaultSegments: readonly string[]
  readonly vault: string
}

function placeOf(root: string, target: SinkTarget): Place {
  const segments = target.path.split('/')
  // `a/./b` and `a//b` would be second names of `a/b`, past the uniqueness of paths.
  if (segments.some((s) => s === '' || s === '.' || s === '..' || s.startsWith(hidden))) {
    throw refuse('invalid', `path "${target.path}" has an empty, relative or reserved segment.`)
  }
  const tenant = checkName('tenant', target.tenant)
  const parents = [tenant, ...segments.slice(0, -1)]
  const vaultSegments = [hidden, tenant, checkName('credential id', target.credential)]
  return {
    root,
    credential: target.credential,
    path: target.path,
    parents,
    file: join(root, tenant, ...segments),
    vaultSegments,
    vault: join(root, ...vaultSegments),
  }
}

function checkName(what: string, name: string): string {
  if (!namePattern.test(name)) throw refuse('invalid', `${what} "${name}" is no file name.`)
  return name
}

const targetDirectory = (place: Place) => ensureDirectory(place.root, place.parents)
const vaultDirectory = (place: Place) => ensureDirectory(place.root, place.vaultSegments)

/** Fixed per version, so that repeating an interrupted call cleans up after it. */
function temporaryOf(place: Place, version: string): string {
  return join(dirname(place.file), `.custody-${checkName('version', version)}.tmp`)
}

function emptyIndex(place: Place): Index {
  return { credential: place.credential, path: place.path, current: null, versions: [] }
}

async function readIndex(place: Place): Promise<Index | null> {
  if (!(await findDirectory(place.root, place.vaultSegments))) return null
  const bytes = await readRegular(join(place.vault, indexName))
  if (!bytes) return null
  const index = parseIndex(bytes)
  if (!index) throw refuse('conflict', `${join(place.vault, indexName)} is damaged; restore it.`)
  if (index.credential !== place.credential || index.path !== place.path) {
    throw refuse('conflict', `this credential already lives at ${index.path}.`)
  }
  return index
}

function parseIndex(bytes: Buffer): Index | null {
  try {
    const value = JSON.parse(bytes.toString('utf8')) as Partial<Index>
    const isIndex =
      typeof value.credential === 'string' &&
      typeof value.path === 'string' &&
      (value.current === null || typeof value.current === 'string') &&
      Array.isArray(value.versions)
    return isIndex ? (value as Index) : null
  } catch {
    return null
  }
}

function writeIndex(vault: string, index: Index): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(index, null, 2)}\n`)
  return replaceFile(join(vault, indexName), join(vault, `${indexName}.tmp`), bytes)
}

async function storeSecret(path: string, secret: Secret): Promise<void> {
  // `use` lends for one synchronous call, and the caller may dispose of the secret meanwhile.
  const bytes = secret.use((lent) => Buffer.from(lent))
  try {
    await replaceFile(path, `${path}.tmp`, bytes)
  } finally {
    bytes.fill(0)
  }
}

/** The index, when the target is ours or free. */
async function claimable(place: Place): Promise<Index | null> {
  const index = await readIndex(place)
  await shownVersion(place, index)
  return index
}

/**
 * Which of our versions lies at the target; null when nothing does. Bytes decide, not the index:
 * a crash may have come between the rename and the index.
 * @throws ProviderError conflict when somebody else put it there
 */
async function shownVersion(place: Place, index: Index | null): Promise<string | null> {
  if (!(await findDirectory(place.root, place.parents))) return null
  const there = await readRegular(place.file)
  if (!there) return null
  try {
    for (const version of index?.versions ?? []) {
      const ours = await readRegular(join(place.vault, version))
      const isSame = ours?.equals(there) ?? false
      ours?.fill(0)
      if (isSame) return version
    }
  } finally {
    there.fill(0)
  }
  throw foreign(place)
}

/** Puts the version's bytes at the target. Repeating it after a crash at any point is harmless. */
async function show(place: Place, version: string, shown: string | null): Promise<void> {
  const wanted = await readRegular(join(place.vault, version))
  if (!wanted) throw refuse('notFound', `the bytes of version ${version} are gone.`)
  await targetDirectory(place)
  const temporary = temporaryOf(place, version)
  try {
    if (shown === version) await removeFile(temporary)
    else if (shown !== null) await replaceFile(place.file, temporary, wanted)
    else if (!(await createFile(place.file, temporary, wanted))) throw foreign(place)
  } finally {
    wanted.fill(0)
  }
}

function foreign(place: Place): ProviderError {
  return refuse(
    'conflict',
    `${place.file} was not written by Custody for this credential; move it away or choose another path.`,
  )
}

function union(versions: readonly string[], version: string): readonly string[] {
  return versions.includes(version) ? versions : [...versions, version]
}

const noop = () => {}

function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}

const kinds: Readonly<Record<string, ProviderErrorKind>> = {
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  ELOOP: 'conflict',
  EISDIR: 'conflict',
  ENOTDIR: 'conflict',
  ENAMETOOLONG: 'invalid',
}

/** What a file operation failed with, as a ProviderError; paths are told, bytes never. */
function translate(error: unknown, what: string, writes: boolean): unknown {
  if (error instanceof ProviderError) {
    const { kind, outcome, retryAfter } = error
    return new ProviderError(kind, `${what}: ${error.message}`, { outcome, retryAfter })
  }
  const code = codeOf(error)
  if (code === '') return error
  return new ProviderError(kinds[code] ?? 'unavailable', `${what}: the file system says ${code}.`, {
    outcome: writes ? 'unknown' : 'notApplied',
    cause: error,
  })
}
