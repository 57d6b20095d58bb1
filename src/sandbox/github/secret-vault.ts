/* oxlint-disable import/no-named-as-default-member -- its named exports exist in its types only */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import sodium from 'libsodium-wrappers'
import type { Clock, Instant } from '../../domain/time.ts'

/** A secret as an Actions API shows it: everything but its value. */
export interface ActionsSecret {
  readonly name: string
  readonly encryptedValue: string
  readonly createdAt: Instant
  readonly updatedAt: Instant
  /** Of an organisation's secret. */
  readonly visibility: string
}

interface VaultKey {
  readonly id: string
  /** Base64 of 32 bytes, as GitHub hands it out. */
  readonly publicKey: string
  readonly privateKey: Uint8Array
}

/** The Actions secrets of one repository, environment or organisation, and the key they are sealed for. */
export class SecretVault {
  readonly secrets = new Map<string, ActionsSecret>()
  readonly #clock: Clock
  #keys: VaultKey[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Made when first asked for: most repositories of a world never have a secret. */
  get key(): VaultKey {
    if (this.#keys.length === 0) this.rotateKey()
    return this.#keys.at(-1)!
  }

  /** What was sealed for the key before stays readable; a write that names it is refused. */
  rotateKey(): void {
    const { privateKey } = generateKeyPairSync('x25519')
    const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
    this.#keys.push({
      id: String(3_380_204_578_043_523_366n + BigInt(this.#keys.length)),
      publicKey: publicKey.subarray(-32).toString('base64'),
      privateKey: privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32),
    })
  }

  put(name: string, encryptedValue: string, visibility = 'private'): 'created' | 'updated' {
    const before = this.secrets.get(name)
    const now = this.#clock.now()
    const createdAt = before?.createdAt ?? now
    this.secrets.set(name, { name, encryptedValue, createdAt, updatedAt: now, visibility })
    return before ? 'updated' : 'created'
  }

  /** What a person does in the web interface. */
  async putByHand(name: string, value: string): Promise<void> {
    await sodium.ready
    const key = Buffer.from(this.key.publicKey, 'base64')
    this.put(name, Buffer.from(sodium.crypto_box_seal(value, key)).toString('base64'))
  }

  /** What a workflow gets for `${{ secrets.NAME }}`; null when there is none, or it cannot be opened. */
  async open(name: string): Promise<Buffer | null> {
    await sodium.ready
    const sealed = this.secrets.get(name.toUpperCase())?.encryptedValue
    if (sealed === undefined) return null
    for (const { publicKey, privateKey } of this.#keys) {
      try {
        const pair = [Buffer.from(publicKey, 'base64'), privateKey] as const
        return Buffer.from(sodium.crypto_box_seal_open(Buffer.from(sealed, 'base64'), ...pair))
      } catch {
        // Sealed for another key of ours, or for nobody.
      }
    }
    return null
  }
}
