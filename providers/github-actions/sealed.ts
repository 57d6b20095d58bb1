/* oxlint-disable import/no-named-as-default-member -- its named exports exist in its types only */
import sodium from 'libsodium-wrappers'
import { ProviderError } from '../../src/provider/contract.ts'
import type { Secret } from '../../src/domain/secret.ts'

export interface PublicKey {
  readonly id: string
  readonly key: Uint8Array
}

/** What only GitHub can open, and the key it has to be opened with. */
export interface SealedBox {
  readonly keyId: string
  /** Base64. */
  readonly box: string
}

/** A version carries its box through the journal, so a large secret would swell every row of it. */
const bytesMax = 8_192

/** Seals for GitHub alone (libsodium's `crypto_box_seal`): not even we can open it again. */
export async function seal(secret: Secret, { id, key }: PublicKey): Promise<SealedBox> {
  await sodium.ready
  return secret.use((bytes) => {
    if (bytes.length > bytesMax) {
      throw new ProviderError(
        'invalid',
        `The secret has ${bytes.length} bytes; this sink takes up to ${bytesMax}.`,
        { outcome: 'notApplied' },
      )
    }
    const box = sodium.crypto_box_seal(bytes, key)
    return { keyId: id, box: Buffer.from(box).toString('base64') }
  })
}

/** `<version>~<key id>~<box>`: what stands before the first tilde may be shown. */
export function writeVersion(version: string, { keyId, box }: SealedBox): string {
  return `${version}~${keyId}~${box}`
}

/** @returns null when the version carries no box */
export function readBox(version: string): SealedBox | null {
  const m = /^[0-9A-F]{12}~([^~]+)~([A-Za-z0-9+/]+=*)$/.exec(version)
  return m ? { keyId: m[1]!, box: m[2]! } : null
}
