import type { Problem, Step } from '../document/document.ts'
import { checkShape } from '../document/document.ts'
import type { DirectoryListing, DirectorySource } from '../domain/directory.ts'
import { nearest } from '../domain/errors.ts'
import type { Seconds } from '../domain/time.ts'
import { parseDuration } from '../domain/time.ts'
import type { DirectoryHost } from './calls.ts'
import type { CsvConfig } from './csv.ts'
import { readCsvDirectory } from './csv.ts'
import type { GraphConfig } from './graph.ts'
import { readGraph } from './graph.ts'
import type { OktaConfig } from './okta.ts'
import { readOkta } from './okta.ts'

/** A directory as configured: `directories` of custody.yaml. */
export interface DirectoryEntry {
  readonly name: string
  readonly type: string
  readonly config: Readonly<Record<string, unknown>>
}

const file = { type: 'string', minLength: 1 }
const url = {
  type: 'string',
  pattern: '^(https://|http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:\\d+)?(/|$))',
  description: 'must be an https address (http only on this machine).',
}
/** Of all types. */
const common = (cycle: string) => ({
  cycle: { type: 'string', format: 'positive-duration', default: cycle },
  scope: { enum: ['everyone', 'assigned'], default: 'everyone' },
})

interface Reader {
  readonly required: readonly string[]
  readonly properties: Readonly<Record<string, unknown>>
  readonly read: (name: string, config: never, host: DirectoryHost) => Promise<DirectoryListing>
}

/**
 * Okta speaks when something changes, so a day without a word is not odd yet; Entra ID has a cycle
 * of 40 minutes whether or not anything changed.
 */
const readers: Readonly<Record<string, Reader>> = {
  okta: {
    required: ['baseUrl', 'tokenFile'],
    properties: {
      baseUrl: url,
      tokenFile: file,
      auth: { enum: ['ssws', 'bearer'], default: 'ssws' },
      ...common('P1D'),
    },
    read: (name, config: OktaConfig, host) => readOkta(name, config, host),
  },
  entra: {
    required: ['tenantId', 'clientId', 'clientSecretFile'],
    properties: {
      baseUrl: { ...url, default: 'https://graph.microsoft.com' },
      loginUrl: { ...url, default: 'https://login.microsoftonline.com' },
      tenantId: file,
      clientId: file,
      clientSecretFile: file,
      leaveDates: { type: 'boolean', default: false },
      ...common('PT40M'),
    },
    read: (name, config: GraphConfig, host) => readGraph(name, config, host),
  },
  csv: {
    required: ['file'],
    properties: { file, ...common('P1D') },
    read: (name, config: CsvConfig, host) => readCsvDirectory(name, config, host),
  },
}

/** @returns every problem, each beginning with `directory "name"`; nothing is opened */
export function checkDirectories(
  entries: readonly DirectoryEntry[],
  lineOf: (at: readonly Step[]) => number | null = () => null,
): readonly Problem[] {
  return entries.flatMap((entry, i) => {
    const place = `directory "${entry.name}"`
    const reader = Object.hasOwn(readers, entry.type) ? readers[entry.type]! : null
    if (reader === null) {
      const types = Object.keys(readers)
      const close = nearest(entry.type, types)
      const hint = close ? `; did you mean "${close}"?` : '.'
      const message = `unknown type "${entry.type}"${hint} Known: ${types.join(', ')}.`
      return [{ path: place, line: lineOf(['directories', i, 'type']), message }]
    }
    return shapeOf(reader, structuredClone(entry.config)).map(({ path, steps, message }) => ({
      path: `${place}: config${path && `.${path}`}`,
      line: lineOf(['directories', i, 'config', ...steps]),
      message,
    }))
  })
}

function schemaOf({ required, properties }: Reader) {
  return { type: 'object', additionalProperties: false, required, properties }
}

/** The configuration of each type, as JSON Schema. */
export const directorySchemas: Readonly<Record<string, ReturnType<typeof schemaOf>>> =
  Object.fromEntries(Object.entries(readers).map(([type, reader]) => [type, schemaOf(reader)]))

function shapeOf(reader: Reader, config: Readonly<Record<string, unknown>>) {
  return checkShape(config, schemaOf(reader), null)
}

/** The sources by name; `entries` have passed `checkDirectories`. */
export function openDirectories(
  entries: readonly DirectoryEntry[],
  host: DirectoryHost,
): ReadonlyMap<string, DirectorySource> {
  return new Map(
    entries.map(({ name, type, config: given }) => {
      const reader = readers[type]!
      const config = structuredClone(given) as Record<string, unknown>
      shapeOf(reader, config)
      const source: DirectorySource = {
        name,
        type,
        cycle: parseDuration(String(config['cycle'])) as Seconds,
        scope: config['scope'] as DirectorySource['scope'],
        read: () => reader.read(name, config as never, host),
      }
      return [name, source]
    }),
  )
}
