// Prints docs/reference/providers.md from the flags of every provider and sink in this version, so
// that the page cannot claim anything else. `--check` only compares, exit code 1.
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Secret } from '../src/domain/secret.ts'
import { systemClock } from '../src/host/clock.ts'
import { builtIn } from '../src/main.ts'
import type {
  HostContext,
  KindCapabilities,
  Provider,
  SecretSink,
  TaskBook,
} from '../src/provider/contract.ts'

export const page = path.resolve(import.meta.dirname, '../docs/reference/providers.md')
export const command = 'node_modules/.bin/node scripts/generate-providers.ts'

/** The least that opens each type; nothing is connected to. `key.pem` and `secret` are files. */
const leastConfig: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'aws-iam': { region: 'eu-central-1' },
  'aws-secrets': { region: 'eu-central-1' },
  file: { directory: 'secrets' },
  github: { appId: 1, installationId: 1, privateKeyFile: 'key.pem' },
  'github-actions': { provider: 'github' },
  manual: {},
  postgres: { host: 'localhost', user: 'custody', passwordFile: 'secret' },
  token: {},
}

/** Methods that not every provider has, with what the table calls them. */
const options = [
  ['inventory', 'inventory'],
  ['discover', 'discovery'],
  ['adopt', 'adoption'],
  ['check', 'check'],
  ['suspend', 'kill switch'],
  ['removePerson', 'ends personal access'],
] as const

interface Opened {
  readonly providers: readonly Provider[]
  readonly sinks: readonly SecretSink[]
}

/** Opens every module that `main.ts` knows, with the least configuration. */
export async function openAll(): Promise<Opened> {
  const folder = mkdtempSync(path.join(tmpdir(), 'custody-docs-'))
  try {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
    writeFileSync(path.join(folder, 'key.pem'), privateKey.export({ type: 'pkcs1', format: 'pem' }))
    writeFileSync(path.join(folder, 'secret'), 'unused', { mode: 0o600 })
    const open = <T>(module: {
      readonly type: string
      create(host: HostContext, config: Readonly<Record<string, unknown>>): T
    }): T => {
      const config = leastConfig[module.type]
      if (!config)
        throw new Error(`scripts/generate-providers.ts has no leastConfig for ${module.type}`)
      return module.create(hostIn(folder, module.type), config)
    }
    const modules = {
      providers: await Promise.all(
        builtIn.providers.map(async (known) => ('load' in known ? known.load() : known)),
      ),
      sinks: await Promise.all(
        builtIn.sinks.map(async (known) => ('load' in known ? known.load() : known)),
      ),
    }
    return { providers: modules.providers.map(open), sinks: modules.sinks.map(open) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function hostIn(folder: string, name: string): HostContext {
  return {
    name,
    clock: systemClock,
    random: (length) => new Uint8Array(length),
    resolvePath: (file) => path.resolve(folder, file),
    tokens: null as never,
    tasks: {} as TaskBook,
    pepper: Secret.ofText('unused'),
    peer: (type) => ({ type, config: leastConfig[type] ?? {} }),
  }
}

const cell = (text: string): string => text.replaceAll('|', '\\|')
const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')
const yes = (claim: boolean): string => (claim ? 'yes' : '–')

function time(seconds: number): string {
  if (seconds === 0) return '0'
  if (seconds % 3_600 === 0) return `${seconds / 3_600} h`
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`
}

function lastUse({ canLastUsed, lastUsedLag }: KindCapabilities): string {
  if (!canLastUsed) return '–'
  return lastUsedLag === 0 ? 'at once' : `within ${time(lastUsedLag)}`
}

/** Declared is not enough: a class may declare a method that it has only for some configurations. */
const has = (plugin: object, method: string): boolean => Reflect.get(plugin, method) !== undefined

const rescoped = {
  false: '–',
  inPlace: 'in place',
  newKey: 'by a new key',
  nextLease: 'with the next lease',
}
const minted = { server: 'by the provider', client: 'by Custody', none: 'no secret' }

function kindRow(type: string, kind: string, k: KindCapabilities): readonly string[] {
  return [
    `\`${type}\``,
    `\`${kind}\``,
    minted[k.mint],
    yes(k.canCreate),
    yes(k.canList),
    yes(k.canDisable),
    yes(k.canRevoke) + (k.keepsSecret ? ', with the secret' : ''),
    yes(k.canProbe),
    lastUse(k),
    rescoped[String(k.canRescope) as keyof typeof rescoped],
    k.maxLive === null ? 'any' : String(k.maxLive),
    k.lease ? `${time(k.lease.lifetime)}, renewed ${time(k.lease.renewBefore)} before` : '–',
    `${time(k.settleMin)} to ${time(k.settleMax)}`,
    `${k.probe.count} × ${time(k.probe.every)}`,
    k.quota ? `${k.quota.calls} in ${time(k.quota.per)}` : '–',
  ]
}

/** The whole page. */
export function render({ providers, sinks }: Opened): string {
  const kinds = providers.flatMap((provider) =>
    Object.entries(provider.capabilities).map(([kind, able]) => ({ provider, kind, able })),
  )
  const cannot: readonly (readonly [string, readonly string[]])[] = [
    ...kinds.map(
      ({ provider, kind, able }) => [`\`${provider.type}\`, \`${kind}\``, able.cannot] as const,
    ),
    ...sinks.map((sink) => [`\`${sink.type}\``, sink.cannot ?? []] as const),
  ]
  return `# Providers and sinks
<!-- Printed by scripts/generate-providers.ts from the flags in the code; edit those. -->
What each kind of credential can do, at the settings that a provider has when its configuration says nothing else. The engine plans by these flags and by nothing else: what is not claimed is never tried. How to add one: \`docs/how-to/write-a-provider.md\`.

## Kinds of credentials
${table(
  [
    'provider',
    'kind',
    'secret made',
    'issue',
    'list',
    'disable',
    'revoke',
    'probe',
    'last use',
    'rescope',
    'live keys',
    'lease',
    'settles in',
    'proof',
    'quota',
  ],
  kinds.map(({ provider, kind, able }) => kindRow(provider.type, kind, able)),
)}

*list* no: death is never proven by absence, and what is lost sight of dies with its lease. *revoke* no: Custody asks a person. *with the secret*: Custody keeps the secret sealed until the key's end. *probe*: the secret itself is tried, after so many equal answers (*proof*) a key counts as working or dead. *settles in*: how soon and how late a write shows in listings.

## Whole providers
${table(
  ['provider', ...options.map(([, title]) => title)],
  providers.map((p) => [`\`${p.type}\``, ...options.map(([name]) => yes(has(p, name)))]),
)}

## Sinks
${table(
  ['sink', 'staging', 'read back', 'tells what consumers read', 'check'],
  sinks.map((s) => [
    `\`${s.type}\``,
    s.staging === 'carried' ? 'sealed, in the journal' : 'in the store',
    yes(s.canRead),
    yes(has(s, 'current')),
    yes(has(s, 'examine')),
  ]),
)}

*read back* no: what consumers get is not tried before it becomes theirs; that the provider lists the key has to do, before and after its life.

## What they cannot do
${cannot
  .filter(([, sentences]) => sentences.length > 0)
  .map(([name, sentences]) => `### ${name}\n${sentences.map((s) => `- ${s}`).join('\n')}`)
  .join('\n\n')}
`
}

/** The page as it should be. */
export async function currentPage(): Promise<string> {
  const opened = await openAll()
  const text = render(opened)
  await Promise.all([...opened.providers, ...opened.sinks].map((plugin) => plugin.close()))
  return text
}

if (import.meta.main) {
  const text = await currentPage()
  if (!process.argv.includes('--check')) writeFileSync(page, text)
  else if (readFileSync(page, 'utf8') !== text) {
    process.stderr.write(`docs/reference/providers.md is not current: run ${command}\n`)
    process.exitCode = 1
  }
}
