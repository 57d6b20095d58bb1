// Prints src/cli/api-types.ts, the types of every route, from the description of the API, so that the
// client cannot know anything else. `--check` only compares, exit code 1.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { errorCatalogue } from '../src/domain/errors.ts'
import {
  answersOf,
  apiSchemas,
  describedRoutes,
  queryParameter,
} from '../src/http/openapi/document.ts'
import type { DescribedRoute } from '../src/http/openapi/document.ts'
import type { ApiSchema } from '../src/http/openapi/schema.ts'

export const file = path.resolve(import.meta.dirname, '../src/cli/api-types.ts')
export const command = 'node_modules/.bin/node scripts/generate-client.ts'

/** A schema as a type of TypeScript, on one line. */
function typeOf(schema: ApiSchema): string {
  const { $ref, anyOf, const: only, enum: known, type } = schema
  if (typeof $ref === 'string') return `Schemas[${quoted($ref.split('/').at(-1)!)}]`
  if (Array.isArray(anyOf)) return anyOf.map((s) => typeOf(s as ApiSchema)).join(' | ')
  if (only !== undefined) return quoted(only)
  if (Array.isArray(known)) return known.map(quoted).join(' | ')
  if (Array.isArray(type)) {
    return type.map((t) => typeOf({ ...schema, type: t as string })).join(' | ')
  }
  switch (type) {
    case 'string':
      return 'string'
    case 'integer':
    case 'number':
      return 'number'
    case 'boolean':
      return 'boolean'
    case 'null':
      return 'null'
    case 'array':
      return `readonly (${typeOf(schema['items'] as ApiSchema)})[]`
    case 'object':
      return objectType(schema)
    default:
      return 'unknown'
  }
}

function objectType({ properties, required, additionalProperties }: ApiSchema): string {
  const needed = new Set((required ?? []) as readonly string[])
  const members = Object.entries((properties ?? {}) as Readonly<Record<string, ApiSchema>>).map(
    ([name, schema]) => {
      const mark = needed.has(name) ? '' : '?'
      return `readonly ${key(name)}${mark}: ${typeOf(schema)}`
    },
  )
  if (additionalProperties === true || typeof additionalProperties === 'object') {
    const values =
      additionalProperties === true ? 'unknown' : typeOf(additionalProperties as ApiSchema)
    members.push(`readonly [name: string]: ${values}`)
  }
  return members.length === 0 ? 'Readonly<Record<string, never>>' : `{ ${members.join('; ')} }`
}

function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name)
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "\\'")}'` : String(value)
}

/** Without errors: those are thrown. */
function schemaLines(): readonly string[] {
  return Object.entries(apiSchemas())
    .filter(([name]) => !/^(?:Problem|ScimError\d)/.test(name))
    .map(([name, schema]) => `  ${name}: ${typeOf(schema)}`)
}

function routeLine(described: DescribedRoute): string {
  const { method, path, route, query } = described
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => `${name}: string`)
  const asked = query.map((name) => {
    const type = typeOf(queryParameter(described, name))
    return `${key(name)}?: ${type}`
  })
  const bodies = [...answersOf(described)]
    .filter(([status, { body, type }]) => status < 300 && body !== null && isJson(type))
    .map(([, { body }]) => typeOf(body!))
  const isEmpty = [...answersOf(described)].some(([s, { body }]) => s < 300 && body === null)
  const answer = [...new Set([...bodies, ...(isEmpty || bodies.length === 0 ? ['null'] : [])])]
  const { body, isBodyOptional } = route
  const sent =
    body === undefined ? 'never' : isBodyOptional ? `Partial<${typeOf(body)}>` : typeOf(body)
  const parts = [
    `path: ${names.length === 0 ? 'never' : `{ ${names.join('; ')} }`}`,
    `query: ${asked.length === 0 ? 'never' : `{ ${asked.join('; ')} }`}`,
    `body: ${sent}`,
    `answer: ${answer.join(' | ')}`,
  ]
  return `  ${quoted(`${method} ${path}`)}: { ${parts.join('; ')} }`
}

function isJson(type: string | undefined): boolean {
  return type === undefined || type.endsWith('json')
}

/** Pages for browsers are no routes of a client, nor are the forms of OAuth. */
function isForClients({ route, url }: DescribedRoute): boolean {
  return (
    url !== '/' && !url.startsWith('/console') && route.tag !== 'oauth' && !url.endsWith('/stream')
  )
}

export function clientTypes(): string {
  const codes = Object.keys(errorCatalogue).map((code) => `  | ${quoted(code)}`)
  return `// Printed by scripts/generate-client.ts from the description of the API; edit that, in src/http/openapi.

/** What refusals of \`/api/v1\` bear as their \`code\`. */
export type ErrorCode =
${codes.join('\n')}

/** What is sent and answered, by the names of \`/openapi.json\`. */
export interface Schemas {
${schemaLines().join('\n')}
}

/** Every route: what it takes, and what it answers when it is not refused. */
export interface Routes {
${describedRoutes.filter(isForClients).map(routeLine).join('\n')}
}
`
}

if (process.argv[1] === import.meta.filename) {
  const text = clientTypes()
  if (!process.argv.includes('--check')) writeFileSync(file, text)
  else if (readFileSync(file, 'utf8') !== text) {
    process.stderr.write(`src/cli/api-types.ts is not up to date; run ${command}\n`)
    process.exitCode = 1
  }
}
