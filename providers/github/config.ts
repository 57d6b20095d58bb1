import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseDuration, seconds, type Seconds } from '../../src/domain/time.ts'
import { ProviderError, type ConfigSchema, type HostContext } from '../../src/provider/contract.ts'
import { budgetOf, type BudgetLimits } from './budget.ts'
import { GithubClient } from './client.ts'
import { peopleSchema, type PeopleConfig } from './people-config.ts'

/** `configSchema` as a type; the registry has checked it. */
export interface Config {
  readonly baseUrl?: string
  readonly appId: number | string
  readonly installationId: number
  readonly privateKeyFile: string
  readonly settle?: string
  readonly timeout?: string
  readonly kinds?: readonly string[]
  readonly appToken?: { readonly permissions?: readonly string[] }
  readonly budget?: Partial<BudgetLimits>
  readonly patGrants?: { readonly maxAge?: string }
  readonly people?: PeopleConfig
}

const duration = { type: 'string', format: 'duration' }
const atLeastOne = { type: 'integer', minimum: 1 }

/** What names an App's installation; whatever speaks to GitHub by it has these in its schema. */
export const connectionSchema: ConfigSchema = {
  // Tokens travel in a header: in clear only on the loopback, where the sandbox is.
  baseUrl: {
    type: 'string',
    pattern: '^(https://|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:|/|$))',
  },
  appId: { anyOf: [{ type: 'integer' }, { type: 'string' }] },
  installationId: { type: 'integer', minimum: 1 },
  privateKeyFile: { type: 'string', minLength: 1 },
  timeout: { type: 'string', format: 'positive-duration' },
  budget: {
    type: 'object',
    additionalProperties: false,
    properties: {
      creationsPerMinute: atLeastOne,
      creationsPerHour: atLeastOne,
      pointsPerMinute: atLeastOne,
      concurrent: atLeastOne,
    },
  },
}

/** @param kinds that may be named in `kinds` */
export function configSchemaOf(kinds: readonly string[]): ConfigSchema {
  return {
    type: 'object',
    additionalProperties: false,
    required: ['appId', 'installationId', 'privateKeyFile'],
    properties: {
      ...connectionSchema,
      settle: duration,
      patGrants: {
        type: 'object',
        additionalProperties: false,
        properties: { maxAge: duration },
      },
      people: peopleSchema,
      kinds: { type: 'array', items: { enum: kinds }, minItems: 1, uniqueItems: true },
      appToken: {
        type: 'object',
        additionalProperties: false,
        properties: {
          permissions: {
            type: 'array',
            minItems: 1,
            items: { type: 'string', pattern: '^[a-z][a-z_]*=(read|write|admin)$' },
          },
        },
      },
    },
  }
}

/** Connects as the configuration says. @throws ProviderError `invalid` for a key that cannot be used */
export function openClient(host: HostContext, config: Config): GithubClient {
  const baseUrl = (config.baseUrl ?? 'https://api.github.com').replace(/\/+$/, '')
  const appId = String(config.appId)
  return new GithubClient({
    baseUrl,
    appId,
    installationId: config.installationId,
    privateKey: readKey(host, config.privateKeyFile),
    timeout: durationOf('timeout', config.timeout, seconds(10)),
    clock: host.clock,
    budget: budgetOf(host.clock, `${baseUrl} ${appId}`, config.budget ?? {}),
    ...(host.sawDate ? { sawDate: host.sawDate } : {}),
    ...(host.transport ? { transport: host.transport } : {}),
  })
}

function readKey(host: HostContext, path: string): KeyObject {
  const file = host.resolvePath(path)
  try {
    return createPrivateKey(readFileSync(file))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'not a private key'
    // The cause is left out: a parse error may quote the key.
    throw new ProviderError(
      'invalid',
      `Provider "${host.name}": privateKeyFile ${file} cannot be used (${code}).`,
      { outcome: 'notApplied' },
    )
  }
}

export function durationOf(name: string, text: string | undefined, fallback: Seconds): Seconds {
  if (text === undefined) return fallback
  const parsed = parseDuration(text)
  if (parsed === null) {
    throw new ProviderError('invalid', `${name}: "${text}" is not a duration such as PT5S.`, {
      outcome: 'notApplied',
    })
  }
  return parsed
}
