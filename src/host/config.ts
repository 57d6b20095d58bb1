import { readFile } from 'node:fs/promises'
import path from 'node:path'
import {
  checkShape,
  describeProblems,
  dotted,
  type Problem,
  readYaml,
  type Step,
} from '../document/document.ts'
import { errors } from '../domain/errors.ts'
import { Secret } from '../domain/secret.ts'
import { parseDuration, type Seconds } from '../domain/time.ts'
import { allowedProblem } from './addresses.ts'
import { decodeMasterKey, homeDirectory, packageRoot } from './home.ts'
import { type LogLevel, logLevels } from './log.ts'

/** A provider or sink as configured; `config` is checked by the registry against its own schema. */
export interface PluginConfig {
  readonly name: string
  readonly type: string
  readonly config: Readonly<Record<string, unknown>>
}

export type StoreConfig =
  | { readonly kind: 'sqlite'; /** Absolute, or `:memory:`. */ readonly file: string }
  /** The URL holds a password. */
  | { readonly kind: 'postgres'; readonly url: Secret }

export interface Config {
  /** Absolute path of `.custody`. */
  readonly home: string
  /** The file that was read; null when there is none. */
  readonly file: string | null
  readonly listen: { readonly host: string; readonly port: number }
  /** Without trailing slash; null = the address bound. */
  readonly publicUrl: string | null
  readonly store: StoreConfig
  /** Absolute directory with `lifecycle.yaml` and `authorisation/`. */
  readonly policies: string
  readonly logLevel: LogLevel
  /** From the environment only; null = `.custody/master.key`. */
  readonly masterKey: Secret | null
  readonly providers: readonly PluginConfig[]
  readonly sinks: readonly PluginConfig[]
  /** Hosts, addresses and ranges that reload hooks may call although they are inside the network. */
  readonly hooks: { readonly allow: readonly string[] }
  /** Where people can be looked up as they really are; none unless configured. */
  readonly directories: readonly PluginConfig[]
  /**
   * How long to go on serving after SIGTERM, for balancers to hear that it ends; null = 2 s when
   * somebody asked `/readyz` within the last minute, else not at all.
   */
  readonly shutdown: { readonly drain: Seconds | null }
  /** Relative paths start at the config file, else at `home`. */
  readonly resolvePath: (file: string) => string
}

const drainMax = 300

/** The part of a configuration that others than this room can judge. */
export type CheckedConfig = Pick<Config, 'store' | 'providers' | 'sinks' | 'directories'>

/**
 * Finds problems that need more knowledge than the file's own shape: which types there are, what
 * their configurations look like. `lineOf` takes places such as `providers`, 0, `type`.
 */
export type ConfigCheck = (
  config: CheckedConfig,
  lineOf: (at: readonly Step[]) => number | null,
) => Promise<readonly Problem[]>

export interface ConfigSources {
  /** `--config`; wins over `CUSTODY_CONFIG` and `./custody.yaml`. */
  readonly file?: string | null
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
}

/**
 * Reads the configuration: defaults, then `custody.yaml`, then the environment.
 * @param check finds further problems, so that all are named at once
 * @throws configInvalid naming every problem at once; values are never repeated, keys are
 */
export async function loadConfig(
  sources: ConfigSources,
  check: ConfigCheck = () => Promise.resolve([]),
): Promise<Config> {
  const home = homeDirectory(sources)
  const problems: Problem[] = []
  const found = await readConfigFile(sources, problems)
  const environment = await readEnvironment(sources, problems)
  const raw = found?.raw ?? {}
  const lineOf = found?.lineOf ?? (() => null)
  const base = found ? path.dirname(found.file) : home
  const resolvePath = (file: string) => path.resolve(base, file)

  const report = (at: readonly Step[], message: string) =>
    problems.push({ path: dotted(at), line: lineOf(at), message })
  const inEnvironment = (name: string, message: string) =>
    problems.push({ path: name, line: null, message })

  let listen = { host: raw.listen?.host ?? '127.0.0.1', port: raw.listen?.port ?? 8080 }
  if (environment.LISTEN !== undefined) {
    const parsed = parseListen(environment.LISTEN)
    if (parsed) listen = parsed
    else inEnvironment('CUSTODY_LISTEN', 'must be host:port, e.g. 127.0.0.1:8080.')
  }

  let publicUrl: string | null = null
  const urlText = environment.PUBLIC_URL ?? raw.publicUrl
  if (urlText !== undefined) {
    publicUrl = parsePublicUrl(urlText)
    const message =
      'must be an absolute http or https URL without query, e.g. https://custody.example.'
    if (publicUrl === null && environment.PUBLIC_URL !== undefined) {
      inEnvironment('CUSTODY_PUBLIC_URL', message)
    } else if (publicUrl === null) report(['publicUrl'], message)
  }

  let store: StoreConfig = { kind: 'sqlite', file: path.join(home, 'custody.db') }
  const storeText = environment.STORE_URL ?? raw.store?.url
  if (storeText !== undefined) {
    const parsed = parseStoreUrl(storeText, resolvePath)
    const message = 'must be sqlite:FILE or postgres://user:password@host/database.'
    if (parsed) store = parsed
    else if (environment.STORE_URL !== undefined) inEnvironment('CUSTODY_STORE_URL', message)
    else report(['store', 'url'], message)
  }

  const logLevel = environment.LOG_LEVEL ?? raw.logLevel ?? 'info'
  if (!logLevels.includes(logLevel as LogLevel)) {
    inEnvironment('CUSTODY_LOG_LEVEL', `must be one of: ${logLevels.join(', ')}.`)
  }

  let masterKey: Secret | null = null
  if (environment.MASTER_KEY !== undefined) {
    try {
      masterKey = decodeMasterKey(Secret.ofText(environment.MASTER_KEY), 'CUSTODY_MASTER_KEY')
    } catch (error) {
      problems.push({ path: '', line: null, message: (error as Error).message })
    }
  }

  const plugins = (
    key: PluginList,
    ...fallback: readonly PluginConfig[]
  ): readonly PluginConfig[] => {
    const list = raw[key]
    if (!list) return fallback
    list.forEach(({ entry, index }, i) => {
      if (list.findIndex((other) => other.entry.name === entry.name) === i) return
      report([key, index, 'name'], `"${entry.name}" is used twice; each name must be unique.`)
    })
    return list.map(({ entry: { name, type, config } }) => ({ name, type, config: config ?? {} }))
  }
  const providers = plugins('providers', { name: 'tokens', type: 'token', config: {} })
  const sinks = plugins('sinks', {
    name: 'files',
    type: 'file',
    config: { directory: path.join(home, 'secrets') },
  })
  const directories = plugins('directories')

  const allow = raw.hooks?.allow ?? []
  allow.forEach((entry, i) => {
    const problem = allowedProblem(entry)
    if (problem !== null) report(['hooks', 'allow', i], problem)
  })

  const drainText = raw.shutdown?.drain
  const drain = drainText === undefined ? null : parseDuration(drainText)
  if (drainText !== undefined && (drain === null || drain > drainMax)) {
    report(['shutdown', 'drain'], 'must be a duration of at most five minutes, e.g. PT5S.')
  }

  // Entries of the wrong shape were left out: places are counted as in the file.
  const lineInFile = ([list, i, ...rest]: readonly Step[]): number | null => {
    if (list === 'store' && environment.STORE_URL !== undefined) return null
    if (!isPluginList(list)) return lineOf([list!, i!, ...rest])
    const index = raw[list]?.[Number(i)]?.index
    return index === undefined ? null : lineOf([list, index, ...rest])
  }
  problems.push(...(await check({ store, providers, sinks, directories }, lineInFile)))

  if (problems.length > 0) {
    throw errors.configInvalid({ problems: describeProblems(found?.file ?? null, problems) })
  }
  return {
    home,
    file: found?.file ?? null,
    listen,
    publicUrl,
    store,
    policies: raw.policies ? resolvePath(raw.policies) : path.join(packageRoot, 'policies'),
    logLevel: logLevel as LogLevel,
    masterKey,
    providers,
    sinks,
    hooks: { allow },
    directories,
    shutdown: { drain },
    resolvePath,
  }
}

interface RawPlugin {
  readonly name: string
  readonly type: string
  readonly config?: Readonly<Record<string, unknown>> | null
}

interface RawConfig {
  readonly listen?: { readonly host?: string; readonly port?: number }
  readonly publicUrl?: string
  readonly store?: { readonly url?: string }
  readonly policies?: string
  readonly logLevel?: string
  readonly providers?: readonly Numbered[]
  readonly sinks?: readonly Numbered[]
  readonly hooks?: { readonly allow?: readonly string[] }
  readonly directories?: readonly Numbered[]
  readonly shutdown?: { readonly drain?: string }
}

const pluginLists = ['providers', 'sinks', 'directories'] as const
type PluginList = (typeof pluginLists)[number]

function isPluginList(key: unknown): key is PluginList {
  return pluginLists.some((list) => list === key)
}

/** An entry and its place in the file. */
interface Numbered {
  readonly entry: RawPlugin
  readonly index: number
}

interface FoundFile {
  readonly file: string
  readonly raw: RawConfig
  readonly lineOf: (at: readonly Step[]) => number
}

async function readConfigFile(
  { file, env, cwd }: ConfigSources,
  problems: Problem[],
): Promise<FoundFile | null> {
  const asked = file ?? (env['CUSTODY_CONFIG'] || null)
  const name = path.resolve(cwd, asked ?? 'custody.yaml')
  let text: string
  try {
    text = await readFile(name, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (asked !== null || code !== 'ENOENT') {
      const reason = code === 'ENOENT' ? 'there is no such file.' : `cannot be read (${code}).`
      problems.push({ path: name, line: null, message: reason })
    }
    return null
  }
  const yaml = readYaml(text)
  // An empty file, or one of comments only, says: defaults.
  const value = yaml.value ?? {}
  const found = yaml.problems.length ? yaml.problems : checkShape(value, fileSchema, yaml.lineOf)
  problems.push(...found)
  return { file: name, raw: withoutProblems(value, found), lineOf: yaml.lineOf }
}

/** What is left to check further when a part of the file has the wrong shape. */
function withoutProblems(value: unknown, problems: readonly Problem[]): RawConfig {
  if (problems.some((p) => p.path === '')) return {}
  const bad = new Set(
    problems.map((p) => /^(?:providers|sinks|directories)\[\d+\]|^[^.[]*/.exec(p.path)![0]),
  )
  const entries = Object.entries(value as object).filter(([key]) => !bad.has(key))
  const numbered = (key: string, list: unknown) =>
    isPluginList(key)
      ? (list as readonly RawPlugin[])
          .map((entry, index) => ({ entry, index }))
          .filter(({ index }) => !bad.has(`${key}[${index}]`))
      : list
  return Object.fromEntries(entries.map(([key, part]) => [key, numbered(key, part)]))
}

/** Behind `CUSTODY_`; each has a twin behind which stands `_FILE`. */
export const environmentNames = [
  'STORE_URL',
  'LISTEN',
  'PUBLIC_URL',
  'LOG_LEVEL',
  'MASTER_KEY',
] as const
type EnvironmentName = (typeof environmentNames)[number]

/** Each variable, or the file its `_FILE` twin names (one trailing newline is dropped). */
async function readEnvironment(
  { env, cwd }: ConfigSources,
  problems: Problem[],
): Promise<Partial<Record<EnvironmentName, string>>> {
  const values: Partial<Record<EnvironmentName, string>> = {}
  for (const short of environmentNames) {
    const name = `CUSTODY_${short}`
    const direct = env[name]
    const file = env[`${name}_FILE`]
    if (direct && file) {
      problems.push({ path: name, line: null, message: `set it or ${name}_FILE, not both.` })
    } else if (file) {
      try {
        const text = await readFile(path.resolve(cwd, file), 'utf8')
        values[short] = text.replace(/\r?\n$/, '')
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        problems.push({
          path: `${name}_FILE`,
          line: null,
          message: `the file it names cannot be read (${code}).`,
        })
      }
    } else if (direct) values[short] = direct
  }
  return values
}

/** @returns null for what is not `host:port` */
export function parseListen(text: string): { readonly host: string; readonly port: number } | null {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text)
  const port = Number(m?.[3])
  return m && port <= 65_535 ? { host: (m[1] ?? m[2])!, port } : null
}

function parsePublicUrl(text: string): string | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  const isPlain = !url.search && !url.hash && !url.username && !url.password
  if (!isPlain || !['http:', 'https:'].includes(url.protocol)) return null
  return url.href.replace(/\/+$/, '')
}

function parseStoreUrl(text: string, resolvePath: (file: string) => string): StoreConfig | null {
  if (text.startsWith('sqlite:')) {
    const file = text.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '')
    if (file === '' || file.includes('\0')) return null
    return { kind: 'sqlite', file: file === ':memory:' ? file : resolvePath(file) }
  }
  const isPostgres = /^postgres(ql)?:\/\//.test(text) && URL.canParse(text)
  return isPostgres ? { kind: 'postgres', url: Secret.ofText(text) } : null
}

const pluginList = {
  type: 'array',
  minItems: 1,
  items: {
    type: 'object',
    additionalProperties: false,
    required: ['name', 'type'],
    properties: {
      name: {
        type: 'string',
        pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
        description: 'must be lower case letters, digits and "-", at most 63.',
      },
      type: { type: 'string', minLength: 1 },
      config: { type: ['object', 'null'] },
    },
  },
}

/** What may stand in `custody.yaml`, as JSON Schema. */
export const fileSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    listen: {
      type: 'object',
      additionalProperties: false,
      properties: {
        host: { type: 'string', minLength: 1 },
        port: { type: 'integer', minimum: 0, maximum: 65_535 },
      },
    },
    publicUrl: { type: 'string' },
    store: {
      type: 'object',
      additionalProperties: false,
      required: ['url'],
      properties: { url: { type: 'string' } },
    },
    policies: { type: 'string', minLength: 1 },
    logLevel: { enum: logLevels },
    providers: pluginList,
    sinks: pluginList,
    hooks: {
      type: 'object',
      additionalProperties: false,
      properties: { allow: { type: 'array', maxItems: 100, items: { type: 'string' } } },
    },
    directories: pluginList,
    shutdown: {
      type: 'object',
      additionalProperties: false,
      properties: { drain: { type: 'string' } },
    },
  },
}
