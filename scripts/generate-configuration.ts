// Prints docs/reference/configuration.md: every key of custody.yaml, of each provider, sink and
// directory, and every variable of the environment. What there is comes from the schemas and the
// sources, what it means from configuration-words.ts; one without the other is an error, so that neither a
// new setting nor a removed one is forgotten. `--check` only compares, exit code 1.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { directorySchemas } from '../src/directory/open.ts'
import { environmentNames, fileSchema } from '../src/host/config.ts'
import { builtIn } from '../src/main.ts'
import type { Sayings, Section } from './configuration-words.ts'
import { fileKeys, providers, sinks, directories, variables, code } from './configuration-words.ts'

export const file = path.resolve(import.meta.dirname, '../docs/reference/configuration.md')
export const command = 'node_modules/.bin/node scripts/generate-configuration.ts'

/** As much of JSON Schema as the configurations use. */
interface Schema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: boolean | Schema
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly minimum?: number
  readonly maximum?: number
  readonly pattern?: string
  readonly format?: string
  readonly default?: string | boolean
}

/** Stands in a line of JavaScript that `custody sandbox` prints for others. */
const notRead = new Set(['GITHUB_API_URL'])

interface Leaf {
  readonly at: string
  readonly schema: Schema
  /** Empty; `yes`; or where it is required. */
  readonly required: string
}

/** Every setting of a schema; a map with settings of its own stands for them. */
function leavesOf(schema: Schema, above = '', within: string | null = null): readonly Leaf[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]): readonly Leaf[] => {
    const at = `${above}${name}`
    const isRequired = schema.required?.includes(name) ?? false
    const inside = isRequired ? within : at
    if (property.properties) return leavesOf(property, `${at}.`, inside)
    const required = !isRequired ? '' : within === null ? 'yes' : `in ${code(within)}`
    const leaf = { at, schema: property, required }
    return property.items?.properties ? [leaf, ...leavesOf(property.items, `${at}[].`, at)] : [leaf]
  })
}

function typeOf(schema: Schema): string {
  if (schema.enum) return schema.enum.map(code).join(', ')
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(' or ')
  const type = typeof schema.type === 'string' ? schema.type : schema.type?.[0]
  switch (type) {
    case 'string':
      return schema.format?.endsWith('duration') || schema.pattern?.startsWith('^P')
        ? 'duration'
        : 'text'
    case 'integer':
      return `whole number${rangeOf(schema)}`
    case 'boolean':
      return '`true`, `false`'
    case 'array':
      return schema.items?.properties ? 'list' : `list of ${typeOf(schema.items ?? {})}`
    case 'object':
      return typeof schema.additionalProperties === 'object'
        ? `map of ${typeOf(schema.additionalProperties)}`
        : 'map'
    default:
      throw new Error(`scripts/generate-configuration.ts has no word for the type ${type}`)
  }
}

function rangeOf({ minimum, maximum }: Schema): string {
  if (minimum === undefined) return ''
  return maximum === undefined ? ` from ${minimum}` : ` from ${minimum} to ${maximum}`
}

const row = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

/** @throws Error naming what one side has and the other lacks */
function compare(place: string, there: readonly string[], said: readonly string[]): void {
  const missing = there.filter((name) => !said.includes(name))
  const stale = said.filter((name) => !there.includes(name))
  if (missing.length > 0) throw new Error(`${place}: no sentence for ${missing.join(', ')}`)
  if (stale.length > 0) throw new Error(`${place}: sentences for nothing: ${stale.join(', ')}`)
}

/** The table of one schema. @throws Error naming a setting whose sentence or default is missing or stale */
export function settings(place: string, schema: Schema, sayings: Sayings): string {
  const leaves = leavesOf(schema)
  const byPath = new Map(Object.entries(sayings))
  compare(
    place,
    leaves.map(({ at }) => at),
    [...byPath.keys()],
  )
  if (leaves.length === 0) return ''
  return table(
    ['key', 'type', 'required', 'default', 'meaning'],
    leaves.map(({ at, schema: property, required }) => {
      const [meaning, said] = byPath.get(at)!
      const ofSchema = property.default === undefined ? null : code(String(property.default))
      const isOpen = required === '' && ofSchema === null
      if (isOpen && said === undefined) throw new Error(`${place}: no default for ${at}`)
      if ((required === 'yes' || ofSchema !== null) && said !== undefined)
        throw new Error(`${place}: a default too many for ${at}`)
      return [code(at), typeOf(property), required, ofSchema ?? said ?? '', meaning]
    }),
  )
}

function sections(
  place: string,
  schemas: ReadonlyMap<string, Schema>,
  said: Readonly<Record<string, Section>>,
  linkOf: (type: string) => string,
): string {
  const byType = new Map(Object.entries(said))
  compare(place, [...schemas.keys()], [...byType.keys()])
  return [...schemas]
    .map(([type, schema]) => {
      const { says, keys } = byType.get(type)!
      const lines = [`### ${type}`, `${says} ${linkOf(type)}`, '']
      return [...lines, settings(`${place} ${type}`, schema, keys)].join('\n').trimEnd()
    })
    .join('\n\n')
}

async function schemasOf(
  modules: (typeof builtIn)['providers' | 'sinks'],
): Promise<ReadonlyMap<string, Schema>> {
  const loaded = await Promise.all(
    modules.map(async (known) => ('load' in known ? known.load() : known)),
  )
  return new Map(loaded.map(({ type, configSchema }) => [type, configSchema as Schema]))
}

/** Whatever src and bin read from the environment, without `_FILE`. */
function variablesRead(): readonly string[] {
  const root = path.resolve(import.meta.dirname, '..')
  const names = ['src', 'bin'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.[jt]s$/.test(name))
      .flatMap((name) => {
        const text = readFileSync(path.join(root, folder, name), 'utf8')
        const ours = text.match(/\b(?:CUSTODY|OTEL)_[A-Z_]*[A-Z]\b/g) ?? []
        const others = [...text.matchAll(/\benv(?:\.|\[')([A-Z][A-Z_]+)\b/g)].map(
          ([, name = '']) => name,
        )
        return [...ours, ...others]
      }),
  )
  return [...new Set(names.map((name) => name.replace(/_FILE$/, '')))].filter(
    (name) => !notRead.has(name),
  )
}

function environment(): string {
  compare('the environment', variablesRead(), Object.keys(variables))
  const twins = environmentNames.map((name) => `CUSTODY_${name}`)
  return table(
    ['variable', 'or a file', 'meaning'],
    Object.entries(variables).map(([name, meaning]) => [
      code(name),
      twins.includes(name) ? code(`${name}_FILE`) : '',
      meaning,
    ]),
  )
}

const readme = (type: string): string =>
  `More: [providers/${type}](../../providers/${type}/README.md).`

export const page = `# Configuration
<!-- Printed by scripts/generate-configuration.ts from the schemas in the code and its own sentences; edit those. -->
Every setting there is. Nothing has to be set: without a file Custody keeps an SQLite database in \`.custody\`, issues tokens of its own and delivers them to files there. [custody.example.yaml](../../custody.example.yaml) is a file to copy.

## Where it comes from
- **The file** is the one that \`--config\` names, else \`CUSTODY_CONFIG\`, else \`custody.yaml\` in the working directory, where it may be missing. One that was named has to be there. It is YAML. Nothing in it is expanded: \`\${NAME}\` is plain text.
- **Who wins.** The environment wins over the file, and the file over the defaults, setting by setting. A list in the file replaces the default one as a whole. An empty variable counts as none.
- **\`_FILE\`.** Some [variables](#environment) have a twin that names a file with the value, for mounted secrets. A line break at its end is dropped. Both at once are a mistake.
- **Relative paths** in the file, and in \`CUSTODY_STORE_URL\`, begin at the file's directory, without a file at \`.custody\`. Those in \`--config\`, \`CUSTODY_CONFIG\`, \`CUSTODY_HOME\` and the twins begin at the working directory.
- **Mistakes** are named all at once, those in the file with their lines, and an unknown key with the nearest one that exists. Nothing is started, and the exit code is 2.
- **When.** It is read at start. SIGHUP reads the policies anew, not this.

Durations are ISO 8601 in weeks, days, hours, minutes and seconds, such as \`P30D\` or \`PT1H\`. There are no years and months, for they have no fixed length.

## Try it
\`\`\`sh
custody init
custody policy check --config custody.yaml
custody doctor --config custody.yaml
custody provider check
\`\`\`
\`init\` writes a file by asking, in scripts by options, and overwrites none. \`policy check\` reads file, environment and rules as a start would, and opens nothing. \`doctor\` also looks at the database, the disk and every provider, sink and directory, and changes nothing without \`--fix\` ([doctor](doctor.md)). \`provider check\` asks the running service to try its providers, and names the right that is missing. What can only be seen by opening, such as a key file that is missing or a type from a package, is found by \`doctor\` and by the start.

## custody.yaml
*required* \`in x\`: where \`x\` is given.

${settings('custody.yaml', fileSchema, fileKeys)}

## Providers
${sections('provider', await schemasOf(builtIn.providers), providers, readme)}

## Sinks
${sections('sink', await schemasOf(builtIn.sinks), sinks, readme)}

## Directories
${sections('directory', new Map(Object.entries(directorySchemas as Readonly<Record<string, Schema>>)), directories, () => 'More: [directories](directories.md).')}

## Environment
${environment()}

The exporter of traces reads \`OTEL_EXPORTER_OTLP_HEADERS\`, \`_TIMEOUT\`, \`_COMPRESSION\` and \`_CERTIFICATE\` by itself, the AWS SDK its \`AWS_…\`, and the PostgreSQL client its \`PG…\`.
`

if (import.meta.main) {
  if (!process.argv.includes('--check')) writeFileSync(file, page)
  else if (readFileSync(file, { encoding: 'utf8', flag: 'a+' }) !== page) {
    process.stderr.write(`docs/reference/configuration.md is not current: run ${command}\n`)
    process.exitCode = 1
  }
}
