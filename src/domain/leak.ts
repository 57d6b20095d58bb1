import { createHash, createPublicKey } from 'node:crypto'
import { parseToken } from './token.ts'

/** By what a leaked text may be known: ids and fingerprints as the journal keeps them, never itself. */
export interface LeakTraits {
  /** The public id of a `cst_` token: one that opens Custody's own API. */
  readonly clientToken: string | null
  /** Ids that the journal may have a key under. */
  readonly keyIds: readonly string[]
  /** Fingerprints that the journal may have a key under. */
  readonly fingerprints: readonly string[]
}

const accessKeyId = /(?<![A-Z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Z0-9])/g
/** A login at a database (`<prefix><credential>_g<generation>`): what a leaked address or variable names. */
const databaseLogin = /(?<![A-Za-z0-9_])[a-z_][a-z0-9_]{0,15}[0-9a-f]{32}_g[1-9]\d{0,8}(?!\w)/g
const keyIdMax = 128
const fingerprintShape = /^(?:SHA256:[A-Za-z0-9+/]{43}|[0-9a-f]{64})$/

/** Tokens that give themselves away in the middle of a line: ours, and GitHub's. */
const tokenShapes =
  /(?<![A-Za-z0-9_])(?:c(?:st|sk)_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}|gh[pour]_[A-Za-z0-9_]{16,}|ghs_[A-Za-z0-9_.-]{16,}|github_pat_\w{16,})/g

/**
 * The token in a line as it was found (`export TOKEN=…`, a header, a log), without the rest; a line
 * that holds none, or several, as it is.
 */
export function leakedPart(text: string): string {
  const found = new Set(text.match(tokenShapes) ?? [])
  const [token] = found
  return found.size === 1 && token !== undefined ? token.replace(/[.-]+$/, '') : text.trim()
}

/** What can be told from the text alone; reads nothing. */
export function leakTraits(text: string): LeakTraits {
  const trimmed = text.trim()
  const own = parseToken(trimmed)
  if (own?.prefix === 'cst') return { clientToken: own.id, keyIds: [], fingerprints: [] }
  const shortened = own ? [own.id] : isIdLike(trimmed) ? [trimmed] : []
  const ssh = sshFingerprint(trimmed)
  const prints = [
    ...(fingerprintShape.test(trimmed) ? [trimmed] : []),
    ...(ssh === null ? [] : [ssh]),
    sha256(text),
    sha256(trimmed),
  ]
  return {
    clientToken: null,
    keyIds: [
      ...new Set([
        ...shortened,
        ...(trimmed.match(accessKeyId) ?? []),
        ...(trimmed.match(databaseLogin) ?? []),
      ]),
    ],
    fingerprints: [...new Set(prints)],
  }
}

/** What reports and the audit call a leaked text by: enough to match it, useless to rebuild it. */
export function leakFingerprint(text: string): string {
  return sha256(text.trim()).slice(0, 16)
}

function isIdLike(text: string): boolean {
  return text.length <= keyIdMax && /^[\x21-\x7e]+$/.test(text)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** `SHA256:…` of a public key line, or of the public half of a private key; null for other texts. */
function sshFingerprint(text: string): string | null {
  if (text.includes('-----BEGIN OPENSSH PRIVATE KEY-----')) return fingerprintOfOpenssh(text)
  const line = /^(ssh-[a-z0-9]+|ecdsa-sha2-nistp\d+) ([A-Za-z0-9+/]{16,}={0,2})(?: |$)/.exec(text)
  if (line) return printOf(Buffer.from(line[2]!, 'base64'))
  return text.startsWith('-----BEGIN ') ? fingerprintOfPem(text) : null
}

/**
 * The file begins with the public key in clear, in front of the private half (PROTOCOL.key of
 * OpenSSH): magic, cipher, key derivation, its options, the number of keys, the public key.
 */
function fingerprintOfOpenssh(text: string): string | null {
  const base64 = /-----BEGIN OPENSSH PRIVATE KEY-----([\s\S]*?)-----END/.exec(text)?.[1] ?? ''
  const file = Buffer.from(base64.replace(/\s+/g, ''), 'base64')
  const magic = 'openssh-key-v1\0'
  if (file.subarray(0, magic.length).toString('latin1') !== magic) return null
  let at = magic.length
  const next = (): Buffer | null => {
    if (at + 4 > file.length) return null
    const end = at + 4 + file.readUInt32BE(at)
    const part = end <= file.length ? file.subarray(at + 4, end) : null
    at = end
    return part
  }
  for (let skipped = 0; skipped < 3; skipped++) if (next() === null) return null
  at += 4
  const blob = next()
  return blob && printOf(blob)
}

/** Keys that somebody converted: of ed25519 the SSH form follows from the raw public key. */
function fingerprintOfPem(text: string): string | null {
  try {
    const jwk = createPublicKey(text).export({ format: 'jwk' })
    if (jwk.crv !== 'Ed25519' || jwk.x === undefined) return null
    const parts = [Buffer.from('ssh-ed25519'), Buffer.from(jwk.x, 'base64url')]
    return printOf(Buffer.concat(parts.flatMap((part) => [uint32(part.length), part])))
  } catch {
    return null
  }
}

function uint32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}

function printOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}
