import { createHash, timingSafeEqual } from 'node:crypto'
import { inspect } from 'node:util'

/**
 * The only home of secret bytes. It prints as `[secret]` wherever a value may end up in text, so a
 * secret reaches an output only through `use`, and each call of `use` can be found by name.
 * Bytes live in a Buffer: a secret held as a JavaScript string stays in heap snapshots, a zeroed
 * Buffer does not.
 */
export class Secret {
  readonly #bytes: Buffer
  #disposed = false

  private constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Takes ownership of `bytes`: the caller's copy is the same memory and is wiped by `dispose`. */
  static of(bytes: Uint8Array): Secret {
    return new Secret(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  }

  /** For values that a library hands out as text (the SDK's SecretAccessKey, a PEM). */
  static ofText(text: string): Secret {
    return new Secret(Buffer.from(text, 'utf8'))
  }

  /** Lends the bytes for the length of one call; do not keep them. */
  use<T>(fn: (bytes: Buffer) => T): T {
    if (this.#disposed) throw new Error('this secret was disposed of')
    return fn(this.#bytes)
  }

  /** SHA-256 in hex: enough to trace a leaked string, useless to rebuild it. */
  fingerprint(): string {
    return this.use((bytes) => createHash('sha256').update(bytes).digest('hex'))
  }

  equals(other: Secret): boolean {
    return this.use((a) => other.use((b) => a.length === b.length && timingSafeEqual(a, b)))
  }

  dispose(): void {
    this.#bytes.fill(0)
    this.#disposed = true
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [Symbol.toPrimitive](): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
