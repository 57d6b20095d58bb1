import { open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import type { CheckpointSigner, SignedCheckpoint } from '../domain/checkpoint.ts'
import { openCheckpoint, parseVerifierKey } from '../domain/checkpoint.ts'
import { isJsonObject } from '../domain/json.ts'
import { type Hash, TreeIncomplete } from '../domain/merkle.ts'
import type { Clock, Instant } from '../domain/time.ts'

/** One tenant's line of the anchor: a signed checkpoint and the public key it is checked with. */
export interface Anchored extends SignedCheckpoint {
  readonly key: string
}

export interface Anchor {
  readonly file: string
  /** @throws AnchorDamaged */
  of(tenant: string): Promise<Anchored | null>
  all(): Promise<ReadonlyMap<string, Anchored>>
  /** Only upwards: a checkpoint no larger than the one held changes nothing. */
  raise(tenant: string, checkpoint: SignedCheckpoint): Promise<void>
  /**
   * Puts the file aside, under its name and the time, so that the next checkpoint starts a new one:
   * for an operator who confirmed that an older database was restored on purpose.
   * @returns where it is now; null when there was none
   */
  setAside(): Promise<string | null>
}

/** The file is there and does not hold what Custody wrote. */
export class AnchorDamaged extends Error {
  override readonly name = 'AnchorDamaged'
}

const version = 1

export function anchorFile(home: string): string {
  return path.join(home, 'audit-anchor')
}

/**
 * The high-water mark of the audit log, outside the database: `.custody/audit-anchor`. It is read at
 * each use, since several processes of one home may raise it.
 * @param signer whose checkpoints it holds; a file with those of another key is damaged
 */
export function openAnchor(host: {
  readonly home: string
  readonly clock: Clock
  readonly signer: CheckpointSigner
}): Anchor {
  const { clock, signer } = host
  const file = anchorFile(host.home)
  const own = async (): Promise<Map<string, Anchored>> => {
    const held = (await readAnchor(host.home)) ?? new Map<string, Anchored>()
    for (const [tenant, { key }] of held) {
      if (key !== signer.verifierKeyOf(tenant)) {
        throw new AnchorDamaged(`${file} holds checkpoints of another installation (${key})`)
      }
    }
    return held
  }
  return {
    file,
    all: own,
    async of(tenant) {
      return (await own()).get(tenant) ?? null
    },
    async raise(tenant, { origin, size, root, note, at }) {
      const held = await own()
      if (size <= (held.get(tenant)?.size ?? -1)) return
      held.set(tenant, { origin, size, root, note, at, key: signer.verifierKeyOf(tenant) })
      const checkpoints = Object.fromEntries(
        [...held].map(([name, line]) => [name, { key: line.key, at: line.at, note: line.note }]),
      )
      await writeWhole(file, `${JSON.stringify({ version, checkpoints }, null, 2)}\n`)
    },
    async setAside() {
      const aside = `${file}.${clock.now().replaceAll(':', '-')}`
      try {
        await rename(file, aside)
        return aside
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },
  }
}

/**
 * Reads the anchor of a home, each signature checked against the key beside it.
 * @returns null when there is none
 * @throws AnchorDamaged
 */
export async function readAnchor(home: string): Promise<Map<string, Anchored> | null> {
  const file = anchorFile(home)
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (text === null) return null
  const damaged = (why: string): never => {
    throw new AnchorDamaged(`${file} is not as Custody wrote it: ${why}`)
  }
  const value = parse(text)
  const lines = isJsonObject(value) && value['version'] === version ? value['checkpoints'] : null
  if (!isJsonObject(lines)) return damaged(`it is not JSON of version ${version}`)
  const held = new Map<string, Anchored>()
  for (const [tenant, line] of Object.entries(lines)) {
    const { key, note, at } = (isJsonObject(line) ? line : {}) as Readonly<Record<string, unknown>>
    const verifier = parseVerifierKey(String(key))
    const opened = verifier ? openCheckpoint(String(note), verifier) : 'its key cannot be read'
    if (typeof opened === 'string') return damaged(`the checkpoint of ${tenant}: ${opened}`)
    held.set(tenant, {
      ...opened,
      note: String(note),
      at: String(at) as Instant,
      key: String(key),
    })
  }
  return held
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** Whole or not at all, also after a power cut: the file is synced, then its name, then the folder. */
async function writeWhole(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}`
  try {
    const handle = await open(temporary, 'w', 0o600)
    try {
      await handle.chmod(0o600)
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
    const directory = await open(path.dirname(file), 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  } finally {
    await rm(temporary, { force: true })
  }
}

/** What contradicts the anchor, for one tenant. */
export interface AnchorFacts {
  readonly tenant: string | null
  readonly origin: string | null
  readonly reason: 'smaller' | 'differs' | 'damaged'
  readonly anchoredSize: number | null
  readonly databaseSize: number | null
  readonly anchoredAt: Instant | null
  /** For the operator: what was found. */
  readonly message: string
}

export type AnchorCheck =
  | { readonly behind: false }
  /** One per tenant that is behind; at least one. */
  | { readonly behind: true; readonly facts: readonly AnchorFacts[] }

/** What the check asks of the database. */
export interface TreeState {
  sizeOf(tenant: string): Promise<number>
  /** Asked for sizes that were reached. @throws TreeIncomplete when rows below it are gone */
  rootAt(tenant: string, size: number): Promise<Hash>
}

/**
 * Compares the database with the anchor: a tree that is smaller than the anchored one, or another
 * tree at its size, is an older backup or a rewritten log. Rows that had no place yet when the
 * anchor was written play no part: only signed trees are anchored. A damaged anchor counts as
 * behind: whoever put an old database in place could have damaged the file, too.
 */
export async function checkAnchor(anchor: Anchor, tree: TreeState): Promise<AnchorCheck> {
  let held: ReadonlyMap<string, Anchored>
  try {
    held = await anchor.all()
  } catch (error) {
    if (!(error instanceof AnchorDamaged)) throw error
    const unknown = { tenant: null, origin: null, anchoredSize: null, databaseSize: null }
    const fact = {
      ...unknown,
      reason: 'damaged',
      anchoredAt: null,
      message: error.message,
    } as const
    return { behind: true, facts: [fact] }
  }
  const facts: AnchorFacts[] = []
  for (const [tenant, { origin, size, root, at }] of held) {
    const databaseSize = await tree.sizeOf(tenant)
    const known = { tenant, origin, anchoredSize: size, databaseSize, anchoredAt: at }
    if (databaseSize < size) {
      const message = `The audit log of ${tenant} has ${databaseSize} rows; ${size} were signed by ${at}. An older database was put in place.`
      facts.push({ ...known, reason: 'smaller', message })
    } else if ((await rootOrNull(tree, tenant, size)) !== root) {
      const message = `The first ${size} rows of the audit log of ${tenant} are not those that were signed by ${at}. The database was rewritten, or restored and used since.`
      facts.push({ ...known, reason: 'differs', message })
    }
  }
  return facts.length === 0 ? { behind: false } : { behind: true, facts }
}

async function rootOrNull(tree: TreeState, tenant: string, size: number): Promise<Hash | null> {
  try {
    return await tree.rootAt(tenant, size)
  } catch (error) {
    if (error instanceof TreeIncomplete) return null
    throw error
  }
}
