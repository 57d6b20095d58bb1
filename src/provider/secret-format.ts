import { Secret } from '../domain/secret.ts'
import type { SecretSink } from './contract.ts'

/**
 * How an access key is written where consumers read it. Anything else (a token, a PEM) is one value
 * and is always delivered as its bare bytes.
 * - `custody`: `{"accessKeyId","secretAccessKey"}`, as the contract has it
 * - `credential-process`: what the AWS SDKs expect of a `credential_process` (SDKs and Tools
 *   Reference Guide, "Process credential provider"): `{"Version":1,"AccessKeyId","SecretAccessKey"}`
 * - `environment`: `{"AWS_ACCESS_KEY_ID","AWS_SECRET_ACCESS_KEY"}`, so that whoever spreads the
 *   properties of a secret into variables (External Secrets Operator, ECS) needs no renaming
 * - `credentials-file`: the text of `~/.aws/credentials` with one profile, `default`
 */
export const secretFormats = [
  'custody',
  'credential-process',
  'environment',
  'credentials-file',
] as const
export type SecretFormat = (typeof secretFormats)[number]

/** JSON Schema of a sink's `format`. */
export const formatProperty = { type: 'string', enum: secretFormats } as const

interface KeyPair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** The text that a consumer reads; a pair comes back out of it by `pairIn`. */
const writers: Readonly<Record<SecretFormat, (pair: KeyPair) => string>> = {
  custody: (pair) => JSON.stringify(pair),
  'credential-process': ({ accessKeyId, secretAccessKey }) =>
    JSON.stringify({ Version: 1, AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey }),
  environment: ({ accessKeyId, secretAccessKey }) =>
    JSON.stringify({ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }),
  'credentials-file': ({ accessKeyId, secretAccessKey }) =>
    `[default]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
}

const members = [
  ['accessKeyId', 'secretAccessKey'],
  ['AccessKeyId', 'SecretAccessKey'],
  ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
] as const
const profile = /^\[default\]\naws_access_key_id = (\S+)\naws_secret_access_key = (\S+)\n$/

/** The pair in any of the formats, whichever a sink is configured with now; null for anything else. */
function pairIn(text: string): KeyPair | null {
  const lines = profile.exec(text)
  if (lines) return { accessKeyId: lines[1]!, secretAccessKey: lines[2]! }
  if (!text.startsWith('{')) return null
  let value: Readonly<Record<string, unknown>>
  try {
    value = JSON.parse(text) as typeof value
  } catch {
    return null
  }
  for (const [id, secret] of members) {
    const [accessKeyId, secretAccessKey] = [value[id], value[secret]]
    if (typeof accessKeyId === 'string' && typeof secretAccessKey === 'string') {
      return { accessKeyId, secretAccessKey }
    }
  }
  return null
}

function written(secret: Secret, format: SecretFormat): Secret {
  const pair = secret.use((bytes) => pairIn(bytes.toString('utf8')))
  // A copy, since whoever asked disposes of the original and of the answer.
  return pair === null
    ? Secret.of(secret.use((bytes) => Buffer.from(bytes)))
    : Secret.ofText(writers[format](pair))
}

/**
 * The same sink, with access keys delivered in a format and read back as Custody writes them, so that
 * probes and fingerprints do not know the difference. What was delivered before the format was changed
 * is read as well as what is delivered now.
 */
export function inFormat(sink: SecretSink, format: SecretFormat): SecretSink {
  return {
    name: sink.name,
    type: sink.type,
    canRead: sink.canRead,
    check: (target, call) => sink.check(target, call),
    async deliver(target, secret, call) {
      using text = written(secret, format)
      return await sink.deliver(target, text, call)
    },
    promote: (target, version, from, call) => sink.promote(target, version, from, call),
    find: (target, key, call) => sink.find(target, key, call),
    async read(target, version, call) {
      using text = await sink.read(target, version, call)
      return text && written(text, 'custody')
    },
    ...(sink.current ? { current: (target, call) => sink.current!(target, call) } : {}),
    discard: (target, version, call) => sink.discard(target, version, call),
    remove: (target, call) => sink.remove(target, call),
    ...(sink.examine ? { examine: (call) => sink.examine!(call) } : {}),
    close: () => sink.close(),
  }
}
