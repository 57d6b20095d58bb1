import type { JsonObject } from '../../domain/json.ts'

/** A schema of OpenAPI 3.1, which is JSON Schema 2020-12, as data. */
export type ApiSchema = JsonObject

/** A text of any length. */
export const text: ApiSchema = { type: 'string' }
export const id: ApiSchema = { type: 'string', format: 'uuid' }
/** RFC 3339, UTC. */
export const instant: ApiSchema = { type: 'string', format: 'date-time' }
/** ISO 8601, without years and months: their length differs. */
export const duration: ApiSchema = { type: 'string', pattern: '^P' }
export const flag: ApiSchema = { type: 'boolean' }
/** Counts, generations, versions. */
export const whole: ApiSchema = { type: 'integer' }
export const count: ApiSchema = { type: 'integer', minimum: 0 }
export const amount: ApiSchema = { type: 'number' }
export const seconds: ApiSchema = { type: 'number', description: 'Seconds.' }
/** Facts for people and their tools, of which each kind has its own. Never a secret. */
export const facts: ApiSchema = { type: 'object', additionalProperties: true }

/** One of some words. */
export function words(known: readonly string[]): ApiSchema {
  return { type: 'string', enum: known }
}

export function list(items: ApiSchema): ApiSchema {
  return { type: 'array', items }
}

/** A schema that has a name of its own, below `components`. */
export function named(name: string): ApiSchema {
  return { $ref: `#/components/schemas/${name}` }
}

export function orNull(schema: ApiSchema): ApiSchema {
  const { type, enum: known, ...rest } = schema
  if (typeof type !== 'string') return { anyOf: [schema, { type: 'null' }] }
  // A list of words without null among them would refuse it again.
  const words = Array.isArray(known) ? { enum: [...known, null] } : {}
  return { type: [type, 'null'], ...words, ...rest }
}

/**
 * An object with exactly these members; the name of one that may be missing ends in `?`. Nothing
 * else may be in it: what an answer says more than its description is a fault of one of the two.
 */
export function record(members: Readonly<Record<string, ApiSchema>>): ApiSchema {
  const names = Object.keys(members)
  const required = names.filter((name) => !name.endsWith('?'))
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(members).map(([name, schema]) => [name.replace(/\?$/, ''), schema]),
    ),
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  }
}

/** An object whose members have names that nobody knows before. */
export function map(values: ApiSchema): ApiSchema {
  return { type: 'object', additionalProperties: values }
}

/** A page of a list: the cursor goes into the next request; null after the last page. */
export function page(items: ApiSchema): ApiSchema {
  return record({ items: list(items), cursor: orNull(text) })
}

/** The same with a sentence about it. */
export function said(schema: ApiSchema, description: string): ApiSchema {
  return { ...schema, description }
}
