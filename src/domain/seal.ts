import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import { Secret } from './secret.ts'

/** What a sealed secret belongs to: bound to it, so that no row can be passed off as another's. */
export interface SealPlace {
  readonly tenant: string
  readonly credential: string
  readonly keyId: string
}

/** A key that wraps data keys; `id` says which one it is and nothing else. */
export interface SealKey {
  readonly id: string
  /** 32 bytes. */
  readonly key: Secret
}

/** The envelope cannot be opened: another place, another key, or bytes that somebody changed. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken'
}

const cipher = 'aes-256-gcm'
const keyBytes = 32
/** NIST SP 800-38D: 96 bits, used once per key; each data key seals once, each wrap draws anew. */
const ivBytes = 12
const tagBytes = 16
const version = 'v1'

export function sealKeyOf(key: Secret): SealKey {
  const id = key.use((bytes) =>
    createHash('sha256').update('custody seal key').update(bytes).digest('hex'),
  )
  return { id: id.slice(0, 16), key }
}

/**
 * Seals with a data key of its own (AES-256-GCM), which the seal key wraps: `v1.<key id>.<wrapped data
 * key>.<sealed bytes>`, both parts base64url of iv, tag and bytes. Rotating the seal key wraps anew
 * and leaves the sealed bytes as they are.
 */
export function seal(
  secret: Secret,
  place: SealPlace,
  by: SealKey,
  random: (length: number) => Uint8Array,
): string {
  const dataKey = Buffer.from(random(keyBytes))
  try {
    const body = secret.use((bytes) => encrypt(dataKey, bytes, boundTo(place), random))
    const wrapped = by.key.use((kek) => encrypt(kek, dataKey, boundTo(place, by.id), random))
    return [version, by.id, wrapped, body].join('.')
  } finally {
    dataKey.fill(0)
  }
}

/** @throws SealBroken */
export function unseal(envelope: string, place: SealPlace, keys: readonly SealKey[]): Secret {
  const { body, dataKey } = opened(envelope, place, keys)
  try {
    return Secret.of(decrypt(dataKey, body, boundTo(place)))
  } finally {
    dataKey.fill(0)
  }
}

/** The same secret under another seal key; it is never in the clear meanwhile. @throws SealBroken */
export function rewrap(
  envelope: string,
  place: SealPlace,
  keys: readonly SealKey[],
  to: SealKey,
  random: (length: number) => Uint8Array,
): string {
  const { body, dataKey } = opened(envelope, place, keys)
  try {
    const wrapped = to.key.use((kek) => encrypt(kek, dataKey, boundTo(place, to.id), random))
    return [version, to.id, wrapped, body].join('.')
  } finally {
    dataKey.fill(0)
  }
}

/** Which key an envelope is sealed under; null for what is none. */
export function sealKeyIdOf(envelope: string): string | null {
  const [found, id] = envelope.split('.')
  return found === version && id !== undefined && id !== '' ? id : null
}

function opened(envelope: string, place: SealPlace, keys: readonly SealKey[]) {
  const [found, id, wrapped, body, ...more] = envelope.split('.')
  const by = keys.find((key) => key.id === id)
  if (found !== version || !by || !wrapped || !body || more.length > 0) throw broken()
  return { body, dataKey: by.key.use((kek) => decrypt(kek, wrapped, boundTo(place, by.id))) }
}

/** Length-prefixed by JSON, so that no two places read the same. */
function boundTo(
  { tenant, credential, keyId }: SealPlace,
  wrappedBy: string | null = null,
): Buffer {
  return Buffer.from(JSON.stringify([version, wrappedBy, tenant, credential, keyId]))
}

function encrypt(
  key: Buffer,
  plain: Buffer,
  aad: Buffer,
  random: (length: number) => Uint8Array,
): string {
  const iv = random(ivBytes)
  const sealing = createCipheriv(cipher, key, iv, { authTagLength: tagBytes }).setAAD(aad)
  const text = Buffer.concat([sealing.update(plain), sealing.final()])
  return Buffer.concat([iv, sealing.getAuthTag(), text]).toString('base64url')
}

function decrypt(key: Buffer, part: string, aad: Buffer): Buffer {
  const bytes = Buffer.from(part, 'base64url')
  // Node decodes what is not base64url as well as it can: two texts must not be one envelope.
  if (bytes.toString('base64url') !== part) throw broken()
  const [iv, tag] = [bytes.subarray(0, ivBytes), bytes.subarray(ivBytes, ivBytes + tagBytes)]
  try {
    const opening = createDecipheriv(cipher, key, iv, { authTagLength: tagBytes })
    opening.setAAD(aad).setAuthTag(tag)
    return Buffer.concat([opening.update(bytes.subarray(ivBytes + tagBytes)), opening.final()])
  } catch {
    // Why it failed tells nothing that helps, and would tell a forger something.
    throw broken()
  }
}

const broken = () => new SealBroken('a sealed secret cannot be opened')
