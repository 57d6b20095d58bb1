import { checkShape, describeProblems, type Problem, type Step } from '../document/document.ts'
import { errors, nearest } from '../domain/errors.ts'
import { isJsonObject } from '../domain/json.ts'
import type {
  HostContext,
  PeerConfig,
  Provider,
  ProviderModule,
  SecretSink,
  SinkModule,
} from './contract.ts'

/** A provider or sink as configured (contract §2). */
export interface PluginEntry {
  readonly name: string
  readonly type: string
  readonly config: Readonly<Record<string, unknown>>
}

export interface OpenPlugins {
  readonly providers: ReadonlyMap<string, Provider>
  readonly sinks: ReadonlyMap<string, SecretSink>
  /** Closes all; one that fails to close does not keep the others open. */
  close(): Promise<void>
}

type Role = 'provider' | 'sink'
type Module = ProviderModule | SinkModule

/** A module that is read only where it is configured: the packages below one cost up to 0.2 s. */
export interface LazyModule<M extends Module> {
  readonly type: M['type']
  readonly load: () => Promise<M>
}

/** The modules that come with Custody; all others are packages. */
export interface BuiltInModules {
  readonly providers: readonly (ProviderModule | LazyModule<ProviderModule>)[]
  readonly sinks: readonly (SinkModule | LazyModule<SinkModule>)[]
}

interface PluginEntries {
  readonly providers: readonly PluginEntry[]
  readonly sinks: readonly PluginEntry[]
}

interface Prepared {
  readonly role: Role
  readonly entry: PluginEntry
  readonly module: Module
  readonly config: Record<string, unknown>
}

/**
 * Checks types and configurations without opening anything. A type from a package is not looked at:
 * loading it would run it.
 * @param lineOf the line of a place such as `providers`, 0, `config`; null when there is no file
 * @returns every problem, each beginning with `provider "name"` or `sink "name"`
 */
export async function checkPlugins(
  entries: PluginEntries,
  modules: BuiltInModules,
  lineOf: (at: readonly Step[]) => number | null = () => null,
): Promise<readonly Problem[]> {
  const builtIn = (list: readonly PluginEntry[]) => list.map((e) => (isPackage(e.type) ? null : e))
  const { providers, sinks } = entries
  const known = { providers: builtIn(providers), sinks: builtIn(sinks) }
  return (await prepare(known, modules, lineOf, () => Promise.reject(new Error()))).problems
}

/**
 * Opens every configured provider and sink. All configurations are checked before the first one is
 * opened, so that a mistake in the last leaves no connection of the others behind.
 * A `type` with a slash or a leading `@` is a package: its default export, or the export named
 * `provider` or `sink`, is the module.
 * @throws configInvalid naming every problem at once
 */
export async function openProviders(options: {
  readonly providers: readonly PluginEntry[]
  readonly sinks: readonly PluginEntry[]
  readonly modules: BuiltInModules
  readonly hostFor: (name: string) => HostContext
  /** How a package is found; the application's own resolution unless a test says otherwise. */
  readonly load?: (specifier: string) => Promise<unknown>
}): Promise<OpenPlugins> {
  const load = options.load ?? ((specifier: string) => import(specifier) as Promise<unknown>)
  const { prepared, problems: wrong } = await prepare(options, options.modules, () => null, load)
  if (wrong.length > 0) throw errors.configInvalid({ problems: describeProblems(null, wrong) })

  const problems: string[] = []
  const providers = new Map<string, Provider>()
  const sinks = new Map<string, SecretSink>()
  const close = async () => {
    const closing = [...providers.values(), ...sinks.values()].map((p) => p.close())
    const failed = (await Promise.allSettled(closing)).filter((r) => r.status === 'rejected')
    if (failed.length > 0) {
      throw new AggregateError(
        failed.map((r) => r.reason as unknown),
        'some providers did not close',
      )
    }
  }
  const peer = (name: string): PeerConfig | null => {
    const found = prepared.find((p) => p.role === 'provider' && p.entry.name === name)
    return found ? { type: found.module.type, config: found.config } : null
  }
  for (const { entry, module, config } of prepared) {
    try {
      const host: HostContext = { ...options.hostFor(entry.name), peer }
      if (module.role === 'provider') providers.set(entry.name, module.create(host, config))
      else sinks.set(entry.name, module.create(host, config))
    } catch (cause) {
      problems.push(
        `${module.role} "${entry.name}": ${cause instanceof Error ? cause.message : 'cannot be opened'}`,
      )
    }
  }
  if (problems.length > 0) {
    await close().catch(() => {}) // the reason we give up is the one to report
    throw errors.configInvalid({ problems: problems.join('\n') })
  }
  return { providers, sinks, close }
}

/** Finds the module of each entry (null: not to be looked at) and checks its configuration. */
async function prepare(
  entries: {
    readonly providers: readonly (PluginEntry | null)[]
    readonly sinks: readonly (PluginEntry | null)[]
  },
  modules: BuiltInModules,
  lineOf: (at: readonly Step[]) => number | null,
  load: (specifier: string) => Promise<unknown>,
): Promise<{ readonly prepared: readonly Prepared[]; readonly problems: readonly Problem[] }> {
  const problems: Problem[] = []
  const prepared: Prepared[] = []
  for (const role of ['provider', 'sink'] as const) {
    const list = role === 'provider' ? 'providers' : 'sinks'
    for (const [i, entry] of entries[list].entries()) {
      if (entry === null) continue
      const place = `${role} "${entry.name}"`
      const module = await findModule(role, entry, modules[list], load)
      if (typeof module === 'string') {
        problems.push({ path: place, line: lineOf([list, i, 'type']), message: module })
        continue
      }
      // Defaults are filled in here, so the caller's own object stays as it was read.
      const config = structuredClone(entry.config) as Record<string, unknown>
      for (const { path, steps, message } of checkShape(config, module.configSchema, null)) {
        const line = lineOf([list, i, 'config', ...steps])
        problems.push({ path: `${place}: config${path && `.${path}`}`, line, message })
      }
      prepared.push({ role, entry, module, config })
    }
  }
  return { prepared, problems }
}

/** @returns the module, or the sentence that says why there is none */
async function findModule(
  role: Role,
  entry: PluginEntry,
  known: readonly (Module | LazyModule<Module>)[],
  load: (specifier: string) => Promise<unknown>,
): Promise<Module | string> {
  const builtIn = known.find((m) => m.type === entry.type)
  if (builtIn) return 'load' in builtIn ? builtIn.load() : builtIn
  if (!isPackage(entry.type)) {
    const types = known.map((m) => m.type)
    const hint = nearest(entry.type, types)
    return `unknown type "${entry.type}"${hint ? `; did you mean "${hint}"?` : '.'} Known: ${types.join(', ') || 'none'}; a type from outside is named by its package, e.g. "@acme/custody-${role}-x".`
  }
  let loaded: unknown
  try {
    loaded = await load(entry.type)
  } catch (cause) {
    return `package "${entry.type}" cannot be loaded (${(cause as Error).message.split('\n')[0]}); install it next to Custody, as JavaScript.`
  }
  const exported = loaded as Readonly<Record<string, unknown>>
  const candidate = [exported['default'], exported[role]].find((c) => isModule(c, role))
  return (
    candidate ??
    `package "${entry.type}" exports no ${role}: it needs a default export, or one named "${role}", with type, role "${role}", configSchema and create().`
  )
}

/** A file path or URL is not a package: configuration must not run code from just anywhere. */
function isPackage(type: string): boolean {
  const isName = /^(@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*(\/[\w.~-]+)*$/.test(type)
  return isName && type.includes('/') && !type.includes('..')
}

function isModule(candidate: unknown, role: Role): candidate is Module {
  if (typeof candidate !== 'object' || candidate === null) return false
  const module = candidate as Partial<Module>
  return (
    typeof module.type === 'string' &&
    module.role === role &&
    typeof module.create === 'function' &&
    isJsonObject(module.configSchema)
  )
}
