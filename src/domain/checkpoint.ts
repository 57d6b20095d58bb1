import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { hashPattern, type Hash } from './merkle.ts'
import type { Secret } from './secret.ts'
import type { Instant } from './time.ts'

/**
 * Signed tree heads in the public text formats of C2SP (tlog-checkpoint, signed-note): what any
 * witness or note verifier reads. Ed25519, whose signatures are the same each time: two processes
 * that sign one tree write the same note.
 */

export interface Checkpoint {
  /** Names the log, and is the name of its key. */
  readonly origin: string
  readonly size: number
  readonly root: Hash
}

export interface SignedCheckpoint extends Checkpoint {
  readonly note: string
  /** When we signed; said by us and not part of the note. */
  readonly at: Instant
}

export interface VerifierKey {
  readonly name: string
  /** The first four bytes of a hash over name and key, in hex. */
  readonly id: string
  readonly publicKey: KeyObject
}

export interface CheckpointSigner {
  /** The log's name: the same for as long as the key is, and another for each tenant. */
  originOf(tenant: string): string
  /** `<name>+<id>+<key>`: what a verifier pins. */
  verifierKeyOf(tenant: string): string
  sign(tenant: string, size: number, root: Hash): string
}

const ed25519 = 1
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex')
const spkiHead = Buffer.from('302a300506032b6570032100', 'hex')

/** @param seed 32 bytes that nothing else is made from */
export function createSigner(seed: Secret): CheckpointSigner {
  const privateKey = seed.use((bytes) =>
    createPrivateKey({ key: Buffer.concat([pkcs8Head, bytes]), format: 'der', type: 'pkcs8' }),
  )
  const bare = createPublicKey(privateKey)
    .export({ format: 'der', type: 'spki' })
    .subarray(spkiHead.length)
  const installation = createHash('sha256').update(bare).digest('hex').slice(0, 16)
  // A key's name holds neither spaces nor plus signs.
  const originOf = (tenant: string): string =>
    `custody/${installation}/${encodeURIComponent(tenant)}`
  return {
    originOf,
    verifierKeyOf: (tenant) => {
      const name = originOf(tenant)
      return `${name}+${keyId(name, bare)}+${Buffer.from([ed25519, ...bare]).toString('base64')}`
    },
    sign(tenant, size, root) {
      const name = originOf(tenant)
      const text = checkpointText({ origin: name, size, root })
      const signature = sign(null, Buffer.from(text), privateKey)
      const blob = Buffer.concat([Buffer.from(keyId(name, bare), 'hex'), signature])
      return `${text}\n— ${name} ${blob.toString('base64')}\n`
    },
  }
}

export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root, 'hex').toString('base64')}\n`
}

/** @returns null when the text is no Ed25519 verifier key, or its id is not the one of the key */
export function parseVerifierKey(text: string): VerifierKey | null {
  const m = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(text.trim())
  const key = m ? fromBase64(m[3]!) : null
  if (!m || key?.length !== 33 || key[0] !== ed25519) return null
  const bare = key.subarray(1)
  if (keyId(m[1]!, bare) !== m[2]) return null
  const publicKey = createPublicKey({
    key: Buffer.concat([spkiHead, bare]),
    format: 'der',
    type: 'spki',
  })
  return { name: m[1]!, id: m[2], publicKey }
}

/**
 * Reads a note and checks our own signature on it. Signatures under other keys are passed over: a
 * witness may have added its own.
 * @returns the checkpoint, or in words what is wrong with it
 */
export function openCheckpoint(note: string, key: VerifierKey): Checkpoint | string {
  const end = note.indexOf('\n\n')
  if (end < 0 || !note.endsWith('\n')) return 'it is not a signed note'
  const text = note.slice(0, end + 1)
  const [origin, size, root] = text.split('\n')
  const hash = fromBase64(root ?? '')?.toString('hex') ?? ''
  if (!origin || !/^(0|[1-9]\d{0,15})$/.test(size ?? '') || !hashPattern.test(hash)) {
    return 'it is not a checkpoint'
  }
  const signatures = note
    .slice(end + 2, -1)
    .split('\n')
    .map((line) => /^— (\S+) (\S+)$/.exec(line))
  if (signatures.includes(null)) return 'it is not a signed note'
  const isSigned = signatures.some((m) => {
    const blob = m![1] === key.name ? fromBase64(m![2]!) : null
    return (
      blob?.length === 68 &&
      blob.toString('hex', 0, 4) === key.id &&
      verify(null, Buffer.from(text), key.publicKey, blob.subarray(4))
    )
  })
  if (!isSigned) return `it is not signed by ${key.name}+${key.id}`
  if (origin !== key.name) return `it is about the log ${origin}, not ${key.name}`
  return { origin, size: Number(size), root: hash }
}

function keyId(name: string, bare: Uint8Array): string {
  return createHash('sha256')
    .update(`${name}\n`)
    .update(Uint8Array.of(ed25519))
    .update(bare)
    .digest('hex')
    .slice(0, 8)
}

/** Only what encodes back to the same text, so that no character can be changed unnoticed. */
function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : null
}
