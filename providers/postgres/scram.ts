import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'

// PostgreSQL's own default (scram_iterations, PostgreSQL 16 and later).
const iterations = 4_096

/**
 * What PostgreSQL stores instead of a password (RFC 5803, as `scram_build_secret` writes it). Sent in
 * place of the password, so that the server, its statement log and its extensions never see one.
 * The password has 256 random bits, so nobody guesses it from this.
 * @param password printable ASCII: SASLprep (RFC 4013) leaves it as it is
 */
export function scramVerifier(password: Buffer, salt: Uint8Array): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256')
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest()
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64')
  const serverKey = hmac('Server Key').toString('base64')
  salted.fill(0)
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString('base64')}$${storedKey}:${serverKey}`
}

/** Whether a text is such a verifier: anything else in its place would be taken for a password. */
export function isVerifier(text: string): boolean {
  return /^SCRAM-SHA-256\$\d+:[A-Za-z0-9+/]+=*\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/.test(text)
}
