import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { Secret } from '../../src/domain/secret.ts'

/** An ed25519 key pair in the formats OpenSSH and GitHub read. */
export interface SshKeyPair {
  /** An unencrypted `openssh-key-v1` file, PEM armour and final newline included. */
  readonly privateKey: Secret
  /** `ssh-ed25519 <base64> <comment>`, one line without newline. */
  readonly publicKey: string
  /** `SHA256:<base64>`, as GitHub and `ssh-keygen -l` show it. */
  readonly fingerprint: string
}

const keyType = 'ssh-ed25519'
const seedLength = 32
// RFC 8410: the DER frame around an ed25519 seed; node:crypto imports no raw seeds.
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * Makes a key pair and writes it as OpenSSH does: PROTOCOL.key in the OpenSSH sources. node:crypto
 * exports ed25519 as PKCS #8 only, which `ssh` does not accept as an identity file.
 * @param random gives the seed and the check number; injected so that a simulation replays
 * @param comment printable, without line breaks
 */
export function generateSshKeyPair(
  comment: string,
  random: (length: number) => Uint8Array,
): SshKeyPair {
  const seed = Buffer.from(random(seedLength))
  const der = Buffer.concat([pkcs8Head, seed])
  const spki = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })).export(
    {
      type: 'spki',
      format: 'der',
    },
  )
  const publicBytes = spki.subarray(-seedLength)
  const blob = Buffer.concat([sshString(keyType), sshString(publicBytes)])

  const check = Buffer.from(random(4))
  const fields = Buffer.concat([
    check,
    check,
    blob,
    sshString(Buffer.concat([seed, publicBytes])),
    sshString(comment),
  ])
  // Padding 1, 2, 3 … to the cipher's block size, which is 8 for `none`.
  const padding = Buffer.from(Array.from({ length: -fields.length & 7 }, (_, i) => i + 1))
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    sshString('none'),
    sshString('none'),
    sshString(''),
    uint32(1),
    sshString(blob),
    sshString(Buffer.concat([fields, padding])),
  ])
  const privateKey = Secret.of(armour(file))
  for (const secretBytes of [seed, der, fields, file]) secretBytes.fill(0)
  return {
    privateKey,
    publicKey: `${keyType} ${blob.toString('base64')} ${comment}`,
    fingerprint: fingerprintOf(blob),
  }
}

/** `SHA256:…` of a public key line; null when the text is no public key. */
export function fingerprintOfLine(line: string): string | null {
  const [type, base64] = line.trim().split(/\s+/)
  const blob = Buffer.from(base64 ?? '', 'base64')
  if (!type || blob.length < 4 + type.length || blob.readUInt32BE(0) !== type.length) return null
  return blob.subarray(4, 4 + type.length).toString() === type ? fingerprintOf(blob) : null
}

function fingerprintOf(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}

function uint32(n: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(n)
  return bytes
}

function sshString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([uint32(bytes.length), bytes])
}

const base64Alphabet = Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
)
const lineLength = 70

/** PEM without a detour through strings, which stay in the heap until they are collected. */
function armour(file: Buffer): Buffer {
  const body = Buffer.alloc(Math.ceil(file.length / 3) * 4, '=')
  for (let i = 0, o = 0; i < file.length; i += 3, o += 4) {
    const n = (file[i]! << 16) | ((file[i + 1] ?? 0) << 8) | (file[i + 2] ?? 0)
    body[o] = base64Alphabet[n >> 18]!
    body[o + 1] = base64Alphabet[(n >> 12) & 63]!
    if (i + 1 < file.length) body[o + 2] = base64Alphabet[(n >> 6) & 63]!
    if (i + 2 < file.length) body[o + 3] = base64Alphabet[n & 63]!
  }
  const lines: Buffer[] = [Buffer.from('-----BEGIN OPENSSH PRIVATE KEY-----\n')]
  for (let i = 0; i < body.length; i += lineLength) {
    lines.push(body.subarray(i, i + lineLength), Buffer.from('\n'))
  }
  lines.push(Buffer.from('-----END OPENSSH PRIVATE KEY-----\n'))
  const text = Buffer.concat(lines)
  body.fill(0)
  return text
}
