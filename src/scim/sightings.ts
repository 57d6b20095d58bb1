import type { Dialect } from '../domain/client.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { assertNever, isJsonObject } from '../domain/json.ts'
import type { SentForm } from '../domain/ledger.ts'
import { parseInstant } from '../domain/time.ts'
import { does } from './dialects.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from './schema.ts'
import {
  findAttribute,
  findSchema,
  findSub,
  isClosed,
  isExtension,
  qualify,
  resolvePath,
  withoutFilter,
} from './schema.ts'

/** One attribute in one request: where it stood and in which form. Its value is never part of this. */
export interface Sighting {
  /** As the schema spells it, `[]` behind a list; as it was sent when no schema knows it. */
  readonly path: string
  readonly known: boolean
  readonly form: SentForm
}

/** Elements looked at in one list, and attributes in one request: a report needs no more. */
const elementsSeen = 20
const sightingsMax = 1_000

/** The attributes of the body of a POST or PUT. */
export function sightingsOf(body: unknown, schema: ResourceSchema): readonly Sighting[] {
  const seen: Sighting[] = []
  if (!isJsonObject(body)) return seen
  for (const [key, value] of Object.entries(body)) {
    if (seen.length >= sightingsMax) break
    const extension = findSchema(schema, key)
    if (extension && isExtension(schema, extension)) {
      if (!isJsonObject(value)) seen.push({ path: extension.id, known: true, form: formOf(value) })
      else
        for (const [name, part] of Object.entries(value))
          lookAt(seen, name, part, extension, schema)
    } else {
      const isCommon = findAttribute(schema.common.attributes, key) !== null
      lookAt(seen, key, value, isCommon ? schema.common : schema.core, schema)
    }
  }
  return seen.slice(0, sightingsMax)
}

/** One operation of a PATCH: `add`, `remove` or `replace`, and what it names. */
export interface PatchSighting extends Sighting {
  readonly op: string
  readonly hasPath: boolean
}

/** The attributes of a PATCH, by path or as members of its values; of what is no PATCH, none. */
export function patchSightingsOf(body: unknown, schema: ResourceSchema): readonly PatchSighting[] {
  const seen: PatchSighting[] = []
  const operations = memberOf(body, 'operations')
  for (const item of Array.isArray(operations) ? (operations as readonly Json[]) : []) {
    if (seen.length >= sightingsMax) break
    const sent = memberOf(item, 'op')
    const word = typeof sent === 'string' ? sent.toLowerCase() : ''
    const op = word === 'add' || word === 'remove' || word === 'replace' ? word : 'other'
    const path = memberOf(item, 'path')
    const value = memberOf(item, 'value')
    const hasPath = typeof path === 'string' && path !== ''
    const found: Sighting[] = []
    if (hasPath) lookAtPath(found, path, value, schema)
    else if (isJsonObject(value)) {
      for (const [key, part] of Object.entries(value)) lookAtPath(found, key, part, schema)
    }
    for (const sighting of found) seen.push({ ...sighting, op, hasPath })
  }
  return seen.slice(0, sightingsMax)
}

function memberOf(value: unknown, name: string): Json | undefined {
  if (!isJsonObject(value)) return undefined
  return Object.entries(value).find(([key]) => key.toLowerCase() === name)?.[1]
}

function lookAt(
  seen: Sighting[],
  name: string,
  value: Json,
  part: Schema,
  schema: ResourceSchema,
): void {
  const attribute = findAttribute(part.attributes, name)
  if (attribute) lookInto(seen, attribute, value, qualify(schema, part, attribute.name))
  else seen.push({ path: qualify(schema, part, name), known: false, form: formOf(value) })
}

/** A filter in a path may hold a value: only that there was one is kept, as `[]`. */
function lookAtPath(
  seen: Sighting[],
  sent: string,
  value: Json | undefined,
  schema: ResourceSchema,
): void {
  const plain = withoutFilter(sent, '')
  const found = resolvePath(schema, plain, false)
  if (!found.found) {
    seen.push({ path: withoutFilter(sent, '[]'), known: false, form: removedOr(value) })
    return
  }
  const { attribute, sub, schema: part } = found
  if (attribute === null) {
    if (!isJsonObject(value)) seen.push({ path: part.id, known: true, form: removedOr(value) })
    else for (const [name, inner] of Object.entries(value)) lookAt(seen, name, inner, part, schema)
    return
  }
  const path = qualify(schema, part, attribute.name)
  if (sub) {
    const at = `${path}${attribute.multiValued ? '[]' : ''}.${sub.name}`
    if (value === undefined) seen.push({ path: at, known: true, form: 'removed' })
    else lookInto(seen, sub, value, at)
  } else if (value === undefined) seen.push({ path, known: true, form: 'removed' })
  else if (sent.includes('[') && attribute.multiValued)
    lookInside(seen, attribute, value, `${path}[]`)
  else lookInto(seen, attribute, value, path)
}

function lookInto(seen: Sighting[], attribute: SchemaAttribute, value: Json, path: string): void {
  const form = formOf(value, attribute)
  seen.push({ path, known: true, form })
  // Of what is read-only nothing inside matters: it is left out, or refused, as a whole.
  if (attribute.mutability === 'readOnly') return
  if (Array.isArray(value)) {
    const at = attribute.multiValued ? `${path}[]` : path
    for (const item of (value as readonly Json[]).slice(0, elementsSeen)) {
      lookInside(seen, attribute, item, at)
    }
  } else if (isJsonObject(value) && attribute.type === 'complex') {
    lookInside(seen, attribute, value, attribute.multiValued ? `${path}[]` : path)
  }
}

/** The parts of one value; a simple one in a list is seen as the list's element. */
function lookInside(seen: Sighting[], attribute: SchemaAttribute, value: Json, path: string): void {
  if (seen.length >= sightingsMax) return
  if (!isJsonObject(value) || attribute.type !== 'complex') {
    seen.push({ path, known: true, form: formOf(value, elementOf(attribute)) })
    return
  }
  for (const [name, part] of Object.entries(value)) {
    const sub = findSub(attribute, name)
    if (sub) lookInto(seen, sub, part, `${path}.${sub.name}`)
    else seen.push({ path: `${path}.${name}`, known: false, form: formOf(part) })
  }
}

function elementOf(attribute: SchemaAttribute): SchemaAttribute {
  return { ...attribute, multiValued: false }
}

function removedOr(value: Json | undefined): SentForm {
  return value === undefined ? 'removed' : formOf(value)
}

function formOf(value: Json, attribute?: SchemaAttribute): SentForm {
  if (value === null) return 'null'
  switch (typeof value) {
    case 'boolean':
      return 'boolean'
    case 'number':
      return Number.isInteger(value) ? 'integer' : 'decimal'
    case 'string':
      return formOfText(value, attribute)
    default:
      if (!Array.isArray(value)) return 'object'
      return value.length === 0 ? 'empty list' : value.length === 1 ? 'list of one' : 'list'
  }
}

function formOfText(text: string, attribute: SchemaAttribute | undefined): SentForm {
  if (text === '') return 'empty text'
  if (attribute?.type === 'binary') {
    return /^[A-Za-z0-9+/_-]*={0,2}$/.test(text) ? 'base64' : 'text'
  }
  if (/^(?:true|false)$/i.test(text)) return 'boolean as text'
  if (parseInstant(text) !== null) return 'dateTime'
  const canonical = attribute?.canonicalValues
  return canonical && !canonical.includes(text) ? 'text of its own' : 'text'
}

/** Where a path of a report leads: the attribute it names, in the schema it is of. */
interface Place {
  readonly part: Schema
  readonly attribute: SchemaAttribute
  /** The path is of one element of a list. */
  readonly isElement: boolean
}

function placeOf(path: string, schema: ResourceSchema, slips = false): Place | null {
  const found = resolvePath(schema, path.replaceAll('[]', ''), slips)
  if (!found.found || !found.attribute) return null
  const isElement = path.endsWith('[]')
  return { part: found.schema, attribute: found.sub ?? found.attribute, isElement }
}

/** What the schema says should stand at a path of a report, in words; null for what nobody knows. */
export function expectedAt(path: string, schema: ResourceSchema): string | null {
  const place = placeOf(path, schema)
  if (!place) return findSchema(schema, path) ? 'object' : null
  const { attribute, isElement } = place
  const one = attribute.type === 'complex' ? 'object' : attribute.type
  const type = attribute.multiValued && !isElement ? `list of ${one}` : one
  return attribute.mutability === 'readOnly' ? `${type}, read-only` : type
}

/** What becomes of an attribute in a form: taken as it is, read as meant, left out, or 400. */
export type Treatment = 'accepted' | 'repaired' | 'ignored' | 'refused'

/**
 * What a dialect does with an attribute in a form, whatever else is in the request: it says in words
 * what `readValue` and `applyPatch` decide, and a test holds the two together.
 * @param operation as kept with the sighting, e.g. `PATCH replace`, `PUT`
 */
export function treatmentOf(
  sighting: { readonly path: string; readonly form: SentForm; readonly operation: string },
  schema: ResourceSchema,
  dialect: Dialect,
): Treatment {
  const { path, form, operation } = sighting
  const place = placeOf(path, schema)
  const isPath = operation.startsWith('PATCH') && !operation.endsWith('without path')
  if (!place) {
    if (findSchema(schema, path)) return isEmpty(form) || form === 'object' ? 'accepted' : 'refused'
    const slips = operation.startsWith('PATCH') && does(dialect, 'readsDottedUrn')
    const meant = slips ? placeOf(path, schema, true) : null
    if (meant) {
      const one = treatmentOfValue(form, meant, isClosed(meant.part), dialect)
      return one === 'refused' ? one : 'repaired'
    }
    if (closedAt(path, schema)) return 'refused'
    const isName = schema.type === 'Group' && path.toLowerCase() === 'members[].displayname'
    if (isName && does(dialect, 'readsMemberNames')) return 'repaired'
    const isTop = isPath && !path.includes('[].')
    return does(dialect, isTop ? 'ignoresUnknownPaths' : 'ignoresUnknownAttributes')
      ? 'ignored'
      : 'refused'
  }
  const { attribute, part } = place
  if (attribute.name === 'schemas' && path === 'schemas') return 'accepted'
  if (attribute.mutability === 'readOnly') {
    if (isPath) return 'refused'
    const isMember = operation.startsWith('PATCH') && !path.includes('.')
    return isMember && !does(dialect, 'ignoresReadOnlyMembers') ? 'refused' : 'ignored'
  }
  return treatmentOfValue(form, place, isClosed(part), dialect)
}

const isEmpty = (form: SentForm): boolean =>
  form === 'null' || form === 'empty list' || form === 'removed'

function closedAt(path: string, schema: ResourceSchema): boolean {
  if (isClosed(schema.core)) return true
  return schema.extensions.some((part) => isClosed(part) && path.startsWith(part.id))
}

function treatmentOfValue(
  form: SentForm,
  { attribute, isElement, part }: Place,
  closed: boolean,
  dialect: Dialect,
): Treatment {
  const unassigns = isEmpty(form) || (form === 'empty text' && does(dialect, 'emptyTextUnassigns'))
  if (unassigns && attribute.required && part.attributes.includes(attribute)) return 'refused'
  if (isEmpty(form)) return 'accepted'
  const isList = form === 'list' || form === 'list of one'
  if (attribute.multiValued && !isElement) {
    if (isList) return 'accepted'
    if (!does(dialect, 'readsOneAsList')) return 'refused'
    return treatmentOfOne(form, attribute, closed, dialect) === 'refused' ? 'refused' : 'repaired'
  }
  if (isList) {
    return form === 'list of one' && does(dialect, 'readsOneAsList') ? 'repaired' : 'refused'
  }
  return treatmentOfOne(form, attribute, closed, dialect)
}

function treatmentOfOne(
  form: SentForm,
  attribute: SchemaAttribute,
  closed: boolean,
  dialect: Dialect,
): Treatment {
  const mended = (may: boolean): Treatment => (may ? 'repaired' : 'refused')
  const allowed = (may: boolean): Treatment => (may ? 'accepted' : 'refused')
  const isText = textForms.includes(form)
  switch (attribute.type) {
    case 'complex': {
      const isBare = isText && findSub(attribute, 'value') !== null
      return form === 'object' ? 'accepted' : mended(isBare && does(dialect, 'readsBareReference'))
    }
    case 'boolean': {
      if (form === 'boolean') return 'accepted'
      if (form === 'empty text') return mended(does(dialect, 'emptyTextUnassigns'))
      const reads = attribute.name === 'active' || does(dialect, 'readsBooleanWords')
      return mended(form === 'boolean as text' && reads)
    }
    case 'integer':
      return allowed(form === 'integer')
    case 'decimal':
      return allowed(form === 'integer' || form === 'decimal')
    case 'dateTime':
      if (form === 'empty text') return mended(does(dialect, 'emptyTextUnassigns'))
      return allowed(form === 'dateTime')
    case 'binary':
      return allowed(form === 'base64' || form === 'empty text')
    case 'string':
    case 'reference': {
      if (form === 'integer' || form === 'decimal') {
        return mended(does(dialect, 'readsNumberAsText'))
      }
      const unassigns = attribute.required || closed || does(dialect, 'emptyTextUnassigns')
      if (form === 'empty text' && unassigns) return 'repaired'
      const isOwn = attribute.canonicalValues !== undefined && form !== 'text'
      return allowed(isText && !(isOwn && does(dialect, 'bindsCanonicalValues')))
    }
    default:
      return assertNever(attribute.type)
  }
}

const textForms: readonly SentForm[] = [
  'text',
  'text of its own',
  'dateTime',
  'boolean as text',
  'empty text',
]

/** Attributes an operator should wonder about when a client never sends them. */
const awaited: Readonly<Record<ResourceSchema['type'], Readonly<Record<string, string>>>> = {
  User: {
    userName: 'people are found by it',
    externalId: 'without it a renamed person cannot be told from a new one',
    active: 'without it only a DELETE says that a person has left',
    'emails[].value': 'an owner cannot be reached',
    displayName: 'owners are shown by their userName alone',
    'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager':
      'an account without a backup owner is offered to nobody',
  },
  Group: {
    displayName: 'groups are found by it',
    externalId: 'without it a renamed group cannot be told from a new one',
    members: 'a group without members can own nothing',
  },
  Credential: {},
  Entitlement: {},
}

/** What a client has not sent of what matters here, with the reason why it does. */
export function neverSent(
  type: ResourceSchema['type'],
  paths: ReadonlySet<string>,
): readonly { readonly path: string; readonly why: string }[] {
  const isSent = (path: string): boolean =>
    [...paths].some(
      (sent) => sent === path || sent.startsWith(`${path}.`) || sent.startsWith(`${path}[`),
    )
  return Object.entries(awaited[type])
    .filter(([path]) => !isSent(path))
    .map(([path, why]) => ({ path, why }))
}

/** The object in a Bulk operation, as `sightingsOf` and `patchSightingsOf` take it. */
export function bulkParts(body: unknown): readonly {
  readonly method: string
  readonly path: string
  readonly data: JsonObject
}[] {
  const operations = memberOf(body, 'operations')
  if (!Array.isArray(operations)) return []
  return (operations as readonly Json[]).flatMap((item) => {
    const [method, path, data] = ['method', 'path', 'data'].map((name) => memberOf(item, name))
    return typeof method === 'string' && typeof path === 'string' && isJsonObject(data)
      ? [{ method: method.toUpperCase(), path, data }]
      : []
  })
}
