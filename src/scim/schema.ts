import { nearest } from '../domain/errors.ts'
import common from './schemas/common.json' with { type: 'json' }
import credential from './schemas/credential.json' with { type: 'json' }
import entitlement from './schemas/entitlement.json' with { type: 'json' }
import enterpriseUser from './schemas/enterprise-user.json' with { type: 'json' }
import personUser from './schemas/person-user.json' with { type: 'json' }
import group from './schemas/group.json' with { type: 'json' }
import nhiUser from './schemas/nhi-user.json' with { type: 'json' }
import user from './schemas/user.json' with { type: 'json' }

export type AttributeType =
  | 'string'
  | 'boolean'
  | 'decimal'
  | 'integer'
  | 'dateTime'
  | 'binary'
  | 'reference'
  | 'complex'

/** One attribute with all its characteristics (RFC 7643 §2.2, §7). */
export interface SchemaAttribute {
  readonly name: string
  readonly type: AttributeType
  readonly multiValued: boolean
  readonly description: string
  readonly required: boolean
  readonly canonicalValues?: readonly string[]
  readonly caseExact: boolean
  readonly mutability: 'readOnly' | 'readWrite' | 'immutable' | 'writeOnly'
  readonly returned: 'always' | 'never' | 'default' | 'request'
  readonly uniqueness: 'none' | 'server' | 'global'
  readonly referenceTypes?: readonly string[]
  readonly subAttributes?: readonly SchemaAttribute[]
}

export interface Schema {
  readonly id: string
  readonly name: string
  readonly description: string
  readonly attributes: readonly SchemaAttribute[]
}

/** What a resource of one type may carry: the common attributes, its core schema and extensions. */
export interface ResourceSchema {
  readonly type: 'User' | 'Group' | 'Credential' | 'Entitlement'
  readonly endpoint: string
  readonly description: string
  readonly common: Schema
  readonly core: Schema
  /** In the order in which they are rendered. */
  readonly extensions: readonly Schema[]
}

export const userUrn = user.id
export const enterpriseUrn = enterpriseUser.id
export const personUrn = personUser.id
export const nhiUrn = nhiUser.id
export const credentialUrn = credential.id
export const groupUrn = group.id
export const entitlementUrn = entitlement.id

// RFC 7643 gives User a `password`. Custody holds no passwords of people, so the attribute is not
// in the schema at all: what is published as writable gets posted, and then expected back.
export const userSchema: ResourceSchema = {
  type: 'User',
  endpoint: '/Users',
  description: 'People, and the service accounts they own.',
  common: common as Schema,
  core: user as Schema,
  extensions: [enterpriseUser as Schema, nhiUser as Schema, personUser as Schema],
}

export const credentialSchema: ResourceSchema = {
  type: 'Credential',
  endpoint: '/Credentials',
  description: 'Credentials of service accounts; never their secrets.',
  common: common as Schema,
  core: credential as Schema,
  extensions: [],
}

export const groupSchema: ResourceSchema = {
  type: 'Group',
  endpoint: '/Groups',
  description: 'Groups of people; they can own service accounts.',
  common: common as Schema,
  core: group as Schema,
  extensions: [],
}

/** Read-only: templates are files, checked and reviewed like any policy. */
export const entitlementSchema: ResourceSchema = {
  type: 'Entitlement',
  endpoint: '/Entitlements',
  description: 'What credentials may be asked for by name.',
  common: common as Schema,
  core: entitlement as Schema,
  extensions: [],
}

export const resourceSchemas: readonly ResourceSchema[] = [
  userSchema,
  groupSchema,
  credentialSchema,
  entitlementSchema,
]

/**
 * Whether an unknown attribute is refused in every dialect. In our own schemas it can only be a
 * slip, and a misspelled `expiresAt` that is silently dropped makes an account live too long.
 */
export function isClosed(schema: Schema): boolean {
  return schema.id === nhiUrn || schema.id === credentialUrn
}

const indexes = new WeakMap<readonly SchemaAttribute[], ReadonlyMap<string, SchemaAttribute>>()

/** Finds an attribute by name, ignoring case (RFC 7643 §2.1). */
export function findAttribute(
  attributes: readonly SchemaAttribute[] | undefined,
  name: string,
): SchemaAttribute | null {
  if (!attributes) return null
  let index = indexes.get(attributes)
  if (!index) {
    index = new Map(attributes.map((attribute) => [attribute.name.toLowerCase(), attribute]))
    indexes.set(attributes, index)
  }
  return index.get(name.toLowerCase()) ?? null
}

export function findSub(attribute: SchemaAttribute, name: string): SchemaAttribute | null {
  return findAttribute(attribute.subAttributes, name)
}

/** Finds the core schema or an extension by its URN, ignoring case. */
export function findSchema(schema: ResourceSchema, urn: string): Schema | null {
  const wanted = urn.toLowerCase()
  return [schema.core, ...schema.extensions].find((s) => s.id.toLowerCase() === wanted) ?? null
}

export function isExtension(schema: ResourceSchema, part: Schema): boolean {
  return part.id !== schema.core.id && part.id !== schema.common.id
}

/** `owner` → `urn:…:nhi:1.0:User:owner`; attributes of the core keep their bare name. */
export function qualify(schema: ResourceSchema, part: Schema, name: string): string {
  return isExtension(schema, part) ? `${part.id}:${name}` : name
}

/** Where a path points. Without `attribute` it names a schema as a whole. */
export interface ResolvedPath {
  readonly found: true
  readonly schema: Schema
  readonly attribute: SchemaAttribute | null
  readonly sub: SchemaAttribute | null
  /** Canonical spelling, extensions by URN. */
  readonly path: string
}

export interface UnknownPath {
  readonly found: false
  /** The schema the path was looked up in; null when its URN is not one of this resource's. */
  readonly schema: Schema | null
  /** Asked only for an error: a body full of unknown names would pay an edit distance for each. */
  readonly nearest: () => string | null
}

/**
 * A path with something else in place of its filter, which may hold a value. By two searches: what a
 * regular expression makes of 60 000 opening brackets takes seconds.
 */
export function withoutFilter(path: string, instead: string): string {
  const start = path.indexOf('[')
  if (start < 0) return path
  const end = path.lastIndexOf(']')
  return path.slice(0, start) + instead + (end < start ? '' : path.slice(end + 1))
}

/**
 * Resolves `[URN:]name[.sub]` against a resource's schemas. A URN itself contains colons and dots,
 * so the longest known URN that starts the path wins (RFC 7644 §3.10).
 * @param slips also reads a dot for the colon after a URN, as Entra's inbound client sends it
 */
export function resolvePath(
  resource: ResourceSchema,
  path: string,
  slips: boolean,
): ResolvedPath | UnknownPath {
  const { schema, rest } = splitUrn(resource, path, slips)
  if (rest === null) return { found: true, schema, attribute: null, sub: null, path: schema.id }
  const dot = rest.indexOf('.')
  const name = dot < 0 ? rest : rest.slice(0, dot)
  const subName = dot < 0 ? null : rest.slice(dot + 1)
  const unqualified = rest.length === path.length
  const owner =
    unqualified && findAttribute(resource.common.attributes, name) ? resource.common : schema
  const attribute = findAttribute(owner.attributes, name)
  if (!attribute) {
    if (path.includes(':') && unqualified)
      return { found: false, schema: null, nearest: () => null }
    return { found: false, schema, nearest: () => nearestName(resource, schema, name) }
  }
  const canonical = qualify(resource, owner, attribute.name)
  if (subName === null) {
    return { found: true, schema: owner, attribute, sub: null, path: canonical }
  }
  const sub = findSub(attribute, subName)
  if (!sub) {
    return { found: false, schema: owner, nearest: () => nearestSub(attribute, canonical, subName) }
  }
  return { found: true, schema: owner, attribute, sub, path: `${canonical}.${sub.name}` }
}

function splitUrn(
  resource: ResourceSchema,
  path: string,
  slips: boolean,
): { readonly schema: Schema; readonly rest: string | null } {
  const lower = path.toLowerCase()
  let best: Schema | null = null
  for (const schema of [resource.core, ...resource.extensions]) {
    const urn = schema.id.toLowerCase()
    const next = path[urn.length]
    const ends = next === undefined || next === ':' || (slips && next === '.')
    if (lower.startsWith(urn) && ends && urn.length > (best?.id.length ?? 0)) best = schema
  }
  if (!best) return { schema: resource.core, rest: path }
  if (path.length === best.id.length) return { schema: best, rest: null }
  return { schema: best, rest: path.slice(best.id.length + 1) }
}

/** The closest attribute name; one that lives in an extension is shown with its URN. */
export function nearestName(resource: ResourceSchema, schema: Schema, name: string): string | null {
  for (const part of isExtension(resource, schema) ? [] : resource.extensions) {
    const exact = findAttribute(part.attributes, name)
    if (exact) return qualify(resource, part, exact.name)
  }
  const close = nearest(
    name,
    schema.attributes.map((attribute) => attribute.name),
  )
  return close && qualify(resource, schema, close)
}

/** The closest sub-attribute of the attribute at `path`, with its path. */
export function nearestSub(attribute: SchemaAttribute, path: string, name: string): string | null {
  const close = nearest(
    name,
    (attribute.subAttributes ?? []).map((sub) => sub.name),
  )
  return close && `${path}.${close}`
}
