import { readFileSync } from 'node:fs'
import { parseDuration } from '../../src/domain/time.ts'
import type { Seconds } from '../../src/domain/time.ts'
import type { HostContext, Transport } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/** The part of the configuration that every AWS module shares. */
export interface AwsConnection {
  readonly region: string
  /** One endpoint for all services: the sandbox, a proxy. Absent: AWS's own by region. */
  readonly endpoint?: string
  /** Absent: the SDK's default chain (environment, profile, container or instance role). */
  readonly credentials?: {
    readonly accessKeyId: string
    readonly secretAccessKey?: string
    readonly secretAccessKeyFile?: string
  }
}

/** JSON Schema of `AwsConnection`'s members. */
export const connectionProperties = {
  region: { type: 'string', pattern: '^[a-z]{2,4}(-[a-z]+)+-\\d$' },
  endpoint: { type: 'string', pattern: '^https?://' },
  credentials: {
    type: 'object',
    additionalProperties: false,
    required: ['accessKeyId'],
    properties: {
      accessKeyId: { type: 'string', minLength: 16 },
      secretAccessKey: { type: 'string', minLength: 1 },
      secretAccessKeyFile: { type: 'string', minLength: 1 },
    },
    // The id and exactly one of the two.
    minProperties: 2,
    maxProperties: 2,
  },
} as const

export interface ClientSettings {
  readonly region: string
  readonly endpoint?: string
  readonly maxAttempts: number
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
  readonly requestHandler: Sockets | RequestHandler
}

/** The SDK's own handler, by its options. */
interface Sockets {
  readonly connectionTimeout: number
  readonly requestTimeout: number
  readonly throwOnRequestTimeout: true
}

type RequestHandler = ReturnType<typeof handlerOf>

const connectMilliseconds = 5_000
/** Below the lease of a claim (60 s): a call that hangs must end while we still own the step. */
const requestMilliseconds = 20_000

/**
 * Settings for SDK clients. One attempt only: CreateAccessKey has no idempotency token, so a
 * resend mints a second key, and the SDK's sleeps for Retry-After would outlast the step's lease.
 * Retrying belongs to the journal.
 */
export function clientSettings(host: HostContext, connection: AwsConnection): ClientSettings {
  const { region, endpoint, credentials } = connection
  return {
    region,
    maxAttempts: 1,
    requestHandler: host.transport
      ? handlerOf(host.transport)
      : {
          connectionTimeout: connectMilliseconds,
          requestTimeout: requestMilliseconds,
          throwOnRequestTimeout: true,
        },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials: keyPair(host, credentials) }),
  }
}

/** As the SDK hands a request to its handler. */
interface SdkRequest {
  readonly method: string
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly query: Readonly<Record<string, string | readonly string[] | null>>
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** Lets the SDK's clients speak through a transport. */
function handlerOf(transport: Transport) {
  return {
    metadata: { handlerProtocol: 'http/1.1' },
    async handle(
      { method, protocol, hostname, port, path, query, headers, body = '' }: SdkRequest,
      { abortSignal }: { readonly abortSignal?: AbortSignal } = {},
    ) {
      const url = new URL(`${protocol}//${hostname}${port ? `:${port}` : ''}${path}`)
      for (const [name, value] of Object.entries(query)) {
        for (const one of [value].flat()) url.searchParams.append(name, one ?? '')
      }
      const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
      const answer = await transport(
        {
          method,
          url,
          headers: Object.fromEntries(lower) as Readonly<Record<string, string>>,
          body: typeof body === 'string' ? body : new TextDecoder().decode(body),
        },
        abortSignal ?? null,
      )
      const { status: statusCode } = answer
      const response = { statusCode, headers: answer.headers, body: Buffer.from(answer.body) }
      return { response }
    },
    updateHttpClientConfig: () => undefined,
    httpHandlerConfigs: () => ({}),
  }
}

function keyPair(
  host: HostContext,
  configured: NonNullable<AwsConnection['credentials']>,
): { readonly accessKeyId: string; readonly secretAccessKey: string } {
  const { accessKeyId, secretAccessKey, secretAccessKeyFile } = configured
  if (secretAccessKey !== undefined) return { accessKeyId, secretAccessKey }
  const path = host.resolvePath(secretAccessKeyFile ?? '')
  try {
    return { accessKeyId, secretAccessKey: readFileSync(path, 'utf8').trim() }
  } catch {
    throw new ProviderError(
      'invalid',
      `Provider "${host.name}" cannot read secretAccessKeyFile ${path}; check path and rights.`,
      { outcome: 'notApplied' },
    )
  }
}

/** Reads a duration the schema has already admitted. */
export function durationOf(text: string): Seconds {
  const duration = parseDuration(text)
  if (duration === null) throw new Error(`the schema admitted the duration "${text}"`)
  return duration
}
