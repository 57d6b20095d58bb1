import {
  createHash,
  createHmac,
  createSecretKey,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'

/** The parts of an HTTP request that AWS Signature Version 4 covers. Header names in lower case. */
export interface SignedRequest {
  readonly method: string
  /** Path and query as received. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface Authorization {
  readonly accessKeyId: string
  readonly date: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
}

const authorizationPattern =
  /^AWS4-HMAC-SHA256 Credential=([^/,\s]+)\/(\d{8})\/([^/,\s]+)\/([^/,\s]+)\/aws4_request,\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/

/** @returns null when the header is absent or not of Signature Version 4 */
export function parseAuthorization(header: string | undefined): Authorization | null {
  const m = authorizationPattern.exec(header ?? '')
  if (!m) return null
  return {
    accessKeyId: m[1]!,
    date: m[2]!,
    region: m[3]!,
    service: m[4]!,
    signedHeaders: m[5]!.split(';'),
    signature: m[6]!,
  }
}

/**
 * Signs the request again with the secret the sandbox knows and compares in constant time.
 * Synchronous on purpose, so that a simulation can drive it.
 * Source: AWS, "Create a signed AWS API request" (Signature Version 4).
 */
export function signatureMatches(
  request: SignedRequest,
  auth: Authorization,
  secretAccessKey: string,
): boolean {
  const bodyHash = sha256(request.body)
  const time = request.headers['x-amz-date'] ?? ''
  if (!time.startsWith(auth.date) || !auth.signedHeaders.includes('host')) return false

  const scope = `${auth.date}/${auth.region}/${auth.service}/aws4_request`
  const canonical = canonicalRequest(request, auth.signedHeaders, bodyHash)
  const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256(canonical)}`
  const key = signingKey(secretAccessKey, [auth.date, auth.region, auth.service, 'aws4_request'])
  return timingSafeEqual(hmac(key, toSign), Buffer.from(auth.signature, 'hex'))
}

const signingKeysMax = 500
const signingKeys = new Map<string, KeyObject>()

/** The same for a day: four of five HMACs of each request, and most of what the sandbox computes. */
function signingKey(secretAccessKey: string, scope: readonly string[]): KeyObject {
  const name = [secretAccessKey, ...scope].join('\n')
  let key = signingKeys.get(name)
  if (key === undefined) {
    const secret = createSecretKey(Buffer.from(`AWS4${secretAccessKey}`))
    key = scope.reduce((above, part) => createSecretKey(hmac(above, part)), secret)
    if (signingKeys.size >= signingKeysMax) signingKeys.clear()
    signingKeys.set(name, key)
  }
  return key
}

function canonicalRequest(
  request: SignedRequest,
  signedHeaders: readonly string[],
  bodyHash: string,
): string {
  const at = request.url.indexOf('?')
  const path = at < 0 ? request.url : request.url.slice(0, at)
  const query = new URLSearchParams(at < 0 ? '' : request.url.slice(at + 1))
  const canonicalQuery = [...query]
    .map(([k, v]) => `${encode(k)}=${encode(v)}`)
    .sort()
    .join('&')
  const headers = signedHeaders
    .map((name) => `${name}:${(request.headers[name] ?? '').trim().replaceAll(/\s+/g, ' ')}\n`)
    .join('')
  const canonicalPath = path.split('/').map(encode).join('/')
  return [
    request.method,
    canonicalPath === '' ? '/' : canonicalPath,
    canonicalQuery,
    headers,
    signedHeaders.join(';'),
    bodyHash,
  ].join('\n')
}

function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function sha256(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex')
}

function hmac(key: KeyObject, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}
