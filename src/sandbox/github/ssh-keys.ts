import { createHash } from 'node:crypto'

const keyTypes =
  /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com)$/

/** `<type> <base64>` if the text is an OpenSSH public key whose blob names the same type. */
export function normalPublicKey(text: string): string | null {
  const [type, blob] = text.trim().split(/\s+/)
  if (!type || !blob || !keyTypes.test(type)) return null
  const bytes = Buffer.from(blob, 'base64')
  if (bytes.length < 4 + type.length || bytes.readUInt32BE(0) !== type.length) return null
  return bytes.subarray(4, 4 + type.length).toString() === type ? `${type} ${blob}` : null
}

/** `SHA256:…` as GitHub's web interface and `ssh-keygen -l` show a key. */
export function keyFingerprint(publicKey: string): string {
  const blob = Buffer.from(publicKey.split(' ')[1] ?? '', 'base64')
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`
}
