import type { AccountKind } from '../domain/account.ts'
import type { Dialect } from '../domain/client.ts'
import type { CredentialKind } from '../domain/credential.ts'
import { consumerProblem } from '../domain/consumer.ts'
import { errors } from '../domain/errors.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import { isJsonObject, sameJson } from '../domain/json.ts'
import { normalise } from '../domain/text.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { parseDuration } from '../domain/time.ts'
import type { AccountWrite, CredentialEntry, CredentialWrite, PersonWrite } from '../domain/want.ts'
import { does } from './dialects.ts'
import { deliveryOf, parseDelivery } from './deliver-to.ts'
import type { ResourceSchema, Schema, SchemaAttribute } from './schema.ts'
import {
  credentialSchema,
  findAttribute,
  findSchema,
  isClosed,
  isExtension,
  nearestName,
  nhiUrn,
  qualify,
  userSchema,
} from './schema.ts'
import type { ReadRules } from './value.ts'
import { inOrder, isUnassigned, readValue, unknownAttribute } from './value.ts'

export interface ReadOptions {
  readonly dialect: Dialect
  /** What a name of the request vocabulary stands for. @throws invalidValue */
  readonly entitlement?: (name: string) => Expansion
}

interface Expansion {
  readonly provider: string
  readonly kind: CredentialKind
  readonly scopes: readonly string[]
}

/**
 * Reads the body of a User: a service account when it carries the nhi extension, by data or by
 * URN, otherwise a person.
 * @throws invalidSyntax, invalidValue, requiredMissing, unknownAttribute, badPath
 */
export function readUser(body: unknown, options: ReadOptions): PersonWrite | AccountWrite {
  const sent = asObject(body)
  const document = readDocument(sent, userSchema, options)
  checkSize(document)
  const { userName, externalId, active, ...rest } = document
  checkName(userName as string, 'userName')
  const own = {
    userName: userName as string,
    externalId: externalIdOf(externalId),
    active: active as boolean | undefined,
  }
  if (!isAccount(sent)) return { type: 'person', ...own, attributes: rest }
  const nhi = rest[nhiUrn] as unknown as NhiDocument
  checkLabels(nhi.labels)
  checkConsumers(nhi.consumers)
  const given = (name: string): Json | undefined => memberOf(memberOf(sent, nhiUrn), name)
  const { [nhiUrn]: _, ...others } = rest
  return {
    type: 'account',
    ...own,
    kind: nhi.kind,
    owner: ownerOf(nhi.owner),
    backupOwners: given('backupOwners') === undefined ? undefined : ownersOf(nhi.backupOwners),
    purpose: nhi.purpose,
    environment: given('environment') === undefined ? undefined : (nhi.environment ?? null),
    labels: given('labels') === undefined ? undefined : (nhi.labels ?? []),
    expiresAt: nhi.expiresAt,
    protected: nhi.protected,
    credentials:
      (given('credentials') ?? null) === null
        ? undefined
        : (nhi.credentials ?? []).map((entry) => entryOf(entry, options)),
    attributes: nhi.consumers
      ? { ...others, [nhiUrn]: { consumers: nhi.consumers as unknown as Json } }
      : others,
  }
}

/** Characters of what is indexed: PostgreSQL keeps no index entry above 2 700 bytes. */
export const nameLengthMax = 512

/**
 * A name is printed in logs, tables and mails: a line break or an escape code in it lies to a reader.
 * @throws invalidValue
 */
export function checkName(name: string, path: string): void {
  if (name.length <= nameLengthMax && !/\p{Cc}/u.test(name)) return
  const reason = `must have at most ${nameLengthMax} characters, none of them a control character.`
  throw errors.invalidValue({ path, reason })
}

/** Bytes of one resource; a page may hold 200, and is read and sent as a whole. */
export const documentBytesMax = 65_536

/** @throws tooMany */
export function checkSize(document: JsonObject): void {
  const bytes = Buffer.byteLength(JSON.stringify(document))
  if (bytes <= documentBytesMax) return
  throw errors.tooMany({
    reason: `The resource would take ${bytes} bytes; at most ${documentBytesMax} fit.`,
  })
}

/** @throws invalidValue */
export function externalIdOf(read: Json | undefined): string | null {
  if (typeof read !== 'string') return null
  if (read.length <= nameLengthMax) return read
  const reason = `must have at most ${nameLengthMax} characters.`
  throw errors.invalidValue({ path: 'externalId', reason })
}

/**
 * Reads the body of a Credential.
 * @throws invalidSyntax, invalidValue, requiredMissing, unknownAttribute, badPath
 */
export function readCredential(body: unknown, options: ReadOptions): CredentialWrite {
  const document = readDocument(body, credentialSchema, options)
  checkSize(document)
  const read = document as unknown as CredentialDocument
  return {
    serviceAccount: read.serviceAccount.value,
    ...askedFor(read, '', options),
    displayName: read.displayName ?? null,
    scopesFrom: (read.scopesFrom ?? []).map(({ group, scopes }) => ({
      group,
      scopes: scopes ?? null,
    })),
    entitlement: read.entitlement ?? null,
    readers: read.readers ?? [],
    deliverTo: read.deliverTo && deliveryOf(read.deliverTo.sink, read.deliverTo.path),
    expiresAt: read.expiresAt,
    rotateEvery: durationOf('rotateEvery', read.rotateEvery),
    overlap: durationOf('overlap', read.overlap),
  }
}

/** The extension's object as `readDocument` leaves it: every type and required member checked. */
interface NhiDocument {
  readonly kind: AccountKind
  readonly owner: OwnerDocument
  readonly backupOwners?: readonly OwnerDocument[]
  readonly purpose: string
  readonly environment?: string
  readonly labels?: readonly string[]
  readonly consumers?: readonly ConsumerDocument[]
  readonly expiresAt?: Instant
  readonly protected?: boolean
  readonly credentials?: readonly EntryDocument[]
}

interface ConsumerDocument {
  readonly name: string
  readonly kind?: string
  /** ISO 8601 duration of weeks to seconds. */
  readonly cacheTtl?: string
  readonly reloadHook?: string
}

interface OwnerDocument {
  readonly value: string
  readonly type?: 'User' | 'Group'
}

interface EntryDocument {
  readonly value?: string
  readonly display?: string
  readonly provider?: string
  readonly kind?: CredentialKind
  readonly scopes?: readonly string[]
  readonly entitlement?: string
  readonly deliverTo?: string
  readonly expiresAt?: Instant
}

interface CredentialDocument {
  readonly displayName?: string
  readonly serviceAccount: { readonly value: string }
  readonly provider?: string
  readonly kind?: CredentialKind
  readonly scopes?: readonly string[]
  readonly scopesFrom?: readonly { readonly group: string; readonly scopes?: readonly string[] }[]
  readonly entitlement?: string
  readonly readers?: readonly string[]
  readonly deliverTo?: { readonly sink?: string; readonly path?: string }
  readonly expiresAt?: Instant
  readonly rotateEvery?: string
  readonly overlap?: string
}

function ownerOf(owner: OwnerDocument): OwnerRef {
  return { type: owner.type ?? 'User', id: owner.value }
}

function ownersOf(owners: readonly OwnerDocument[] | undefined): readonly OwnerRef[] {
  return (owners ?? []).map(ownerOf)
}

/**
 * Provider, kind and scopes as said, or as the named template says; what was said beside a name is
 * kept, to be held against it.
 */
function askedFor(
  said: Pick<EntryDocument, 'provider' | 'kind' | 'scopes' | 'entitlement'>,
  prefix: string,
  { entitlement }: ReadOptions,
): Expansion {
  const template =
    said.entitlement === undefined ||
    (said.provider !== undefined && said.kind !== undefined && said.scopes !== undefined)
      ? undefined
      : entitlement?.(said.entitlement)
  const provider = said.provider ?? template?.provider
  const kind = said.kind ?? template?.kind
  if (provider === undefined) throw errors.requiredMissing({ path: `${prefix}provider` })
  if (kind === undefined) throw errors.requiredMissing({ path: `${prefix}kind` })
  return { provider, kind, scopes: said.scopes ?? template?.scopes ?? [] }
}

function entryOf(entry: EntryDocument, options: ReadOptions): CredentialEntry {
  const { deliverTo, scopes, ...rest } = entry
  return {
    ...rest,
    ...askedFor(entry, `${nhiUrn}:credentials.`, options),
    ...(scopes === undefined && entry.value !== undefined ? { keepsScopes: true as const } : {}),
    deliverTo: deliverTo === undefined ? undefined : parseDelivery(deliverTo),
  }
}

function checkLabels(labels: readonly string[] | undefined): void {
  for (const label of labels ?? []) {
    if (label.indexOf('=') < 1) {
      throw errors.invalidValue({
        path: `${nhiUrn}:labels`,
        reason: `"${label}" is not of the form key=value.`,
      })
    }
  }
}

function checkConsumers(consumers: readonly ConsumerDocument[] | undefined): void {
  const list = consumers ?? []
  const problem = consumerProblem(
    list.map(({ name, kind, reloadHook }) => ({ name, kind, reloadHook })),
  )
  if (problem !== null) {
    const path = `${nhiUrn}:consumers.${problem.attribute}`
    throw errors.invalidValue({ path, reason: problem.reason })
  }
  for (const { cacheTtl } of list) durationOf(`${nhiUrn}:consumers.cacheTtl`, cacheTtl)
}

function durationOf(path: string, text: string | undefined): Seconds | undefined {
  if (text === undefined) return undefined
  const duration = parseDuration(text)
  if (duration !== null) return duration
  throw errors.invalidValue({
    path,
    reason: `"${text}" is not a duration such as "P30D" or "PT12H"; years and months have no fixed length.`,
  })
}

/**
 * Brings a request body into the form in which resources are kept: canonical names and order,
 * `schemas` as the data demands, nothing read-only, nothing unassigned.
 * @throws invalidSyntax, invalidValue, requiredMissing, unknownAttribute, badPath
 */
export function readDocument(
  body: unknown,
  schema: ResourceSchema,
  options: ReadOptions,
): JsonObject {
  const sent = asObject(body)
  const listed = listedSchemas(sent, schema, options.dialect)
  const parts = new Map<Schema, Map<string, Json>>([
    [schema.common, new Map()],
    [schema.core, new Map()],
  ])
  for (const [key, value] of Object.entries(sent)) {
    const extension = findSchema(schema, key)
    if (extension && isExtension(schema, extension)) {
      if (isUnassigned(value)) continue
      if (!does(options.dialect, 'repairsSchemas') && !listed.has(extension)) {
        throw errors.invalidSyntax({
          reason: `schemas does not list ${extension.id}, whose attributes the body carries.`,
        })
      }
      parts.set(extension, readExtension(value, extension, schema, options))
    } else {
      const owner = findAttribute(schema.common.attributes, key) ? schema.common : schema.core
      readMember(key, value, owner, parts.get(owner)!, schema, options)
    }
  }
  // An extension that is named without data still counts: its required attributes are then missing.
  for (const extension of listed) if (!parts.has(extension)) parts.set(extension, new Map())
  const extensions = schema.extensions.filter((extension) => {
    const read = parts.get(extension)
    return read !== undefined && (read.size > 0 || isClosed(extension))
  })
  for (const part of [schema.core, ...extensions]) requireAll(part, parts.get(part)!, schema)
  return {
    schemas: [schema.core.id, ...extensions.map((extension) => extension.id)],
    ...inOrder(schema.common.attributes, parts.get(schema.common)!),
    ...inOrder(schema.core.attributes, parts.get(schema.core)!),
    ...Object.fromEntries(
      extensions.map((extension) => [
        extension.id,
        inOrder(extension.attributes, parts.get(extension)!),
      ]),
    ),
  }
}

function asObject(body: unknown): JsonObject {
  if (isJsonObject(body)) return body
  throw errors.invalidSyntax({ reason: 'The body must be one JSON object.' })
}

/** The extensions that `schemas` names. Lenient repairs a list that is wrong or missing. */
function listedSchemas(
  body: JsonObject,
  schema: ResourceSchema,
  dialect: Dialect,
): ReadonlySet<Schema> {
  const sent = memberOf(body, 'schemas')
  const urns = Array.isArray(sent) ? sent : [sent]
  const found = urns.map((urn) => (typeof urn === 'string' ? findSchema(schema, urn) : null))
  if (!does(dialect, 'repairsSchemas') && !(Array.isArray(sent) && found.includes(schema.core))) {
    throw errors.invalidSyntax({ reason: `schemas must be a list with "${schema.core.id}".` })
  }
  const unknown = found.indexOf(null)
  if (does(dialect, 'refusesForeignUrn') && unknown >= 0) {
    throw errors.invalidSyntax({
      reason: `schemas lists ${JSON.stringify(urns[unknown])}, which this service does not know.`,
    })
  }
  return new Set(found.filter((part) => part !== null && isExtension(schema, part)) as Schema[])
}

function readExtension(
  value: Json,
  extension: Schema,
  schema: ResourceSchema,
  options: ReadOptions,
): Map<string, Json> {
  if (!isJsonObject(value)) {
    throw errors.invalidValue({ path: extension.id, reason: 'must be an object.' })
  }
  const read = new Map<string, Json>()
  for (const [key, part] of Object.entries(value)) {
    readMember(key, part, extension, read, schema, options)
  }
  return read
}

function readMember(
  key: string,
  value: Json,
  part: Schema,
  read: Map<string, Json>,
  schema: ResourceSchema,
  { dialect }: ReadOptions,
): void {
  const rules: ReadRules = { dialect, closed: isClosed(part), partial: false }
  const attribute = findAttribute(part.attributes, key)
  if (!attribute) {
    // Hints only for what is refused anyway: a hint costs an edit distance per known name.
    if (!rules.closed && does(dialect, 'ignoresUnknownAttributes')) return
    throw unknownAttribute(qualify(schema, part, key), nearestName(schema, part, key), dialect)
  }
  if (attribute.mutability === 'readOnly' || attribute.name === 'schemas') return
  const result = readValue(attribute, value, qualify(schema, part, attribute.name), rules)
  if (result === undefined) read.delete(attribute.name)
  else read.set(attribute.name, result)
}

function requireAll(part: Schema, read: ReadonlyMap<string, Json>, schema: ResourceSchema): void {
  const missing = part.attributes.find(
    (attribute) => attribute.required && !read.has(attribute.name),
  )
  if (missing) throw errors.requiredMissing({ path: qualify(schema, part, missing.name) })
}

/** A member by name, ignoring case; never one that an object inherits. */
function memberOf(value: Json | undefined, name: string): Json | undefined {
  if (!isJsonObject(value)) return undefined
  const wanted = name.toLowerCase()
  for (const [key, member] of Object.entries(value)) {
    if (key.toLowerCase() === wanted) return member
  }
  return undefined
}

/** Whether a body or a resource is a service account: it has nhi data or lists the nhi URN. */
export function isAccount(document: JsonObject): boolean {
  if (!isUnassigned(memberOf(document, nhiUrn))) return true
  const listed = memberOf(document, 'schemas')
  const wanted = nhiUrn.toLowerCase()
  return (Array.isArray(listed) ? listed : [listed]).some(
    (urn) => typeof urn === 'string' && urn.toLowerCase() === wanted,
  )
}

/**
 * Refuses a write that turns a service account into a person or a person into an account. A body
 * that lists the URN but has no data of the account, or the reverse, has lost half of it.
 * @throws mutability
 */
export function assertSameClass(before: JsonObject, after: JsonObject): void {
  const was = isAccount(before)
  if (was === isAccount(after)) return
  throw errors.mutability({
    path: nhiUrn,
    reason: was
      ? 'a service account cannot become a person; delete it to retire it.'
      : 'a person cannot become a service account; create the account as a resource of its own.',
  })
}

/**
 * Refuses a write that changes what is immutable. What `after` leaves out is kept, so it passes.
 * Elements of a list are the same when their `value` is.
 * @param before the resource as rendered
 * @param after the resource as it would be, in canonical form (`readDocument` or `applyPatch`)
 * @throws mutability
 */
export function checkImmutable(
  before: JsonObject,
  after: JsonObject,
  schema: ResourceSchema,
): void {
  for (const part of [schema.core, ...schema.extensions]) {
    const [was, is] = isExtension(schema, part)
      ? [before[part.id], after[part.id]]
      : [before, after]
    if (!isJsonObject(was) || !isJsonObject(is)) continue
    for (const attribute of part.attributes) {
      checkAttribute(
        attribute,
        was[attribute.name],
        is[attribute.name],
        qualify(schema, part, attribute.name),
      )
    }
  }
}

function checkAttribute(
  attribute: SchemaAttribute,
  was: Json | undefined,
  is: Json | undefined,
  path: string,
): void {
  if (isUnassigned(was) || isUnassigned(is) || attribute.mutability === 'readOnly') return
  if (attribute.subAttributes) {
    for (const [one, other] of pairsOf(was, is)) {
      for (const sub of attribute.subAttributes) {
        checkAttribute(sub, one[sub.name], other[sub.name], `${path}.${sub.name}`)
      }
    }
  } else if (attribute.mutability === 'immutable' && !sameJson(was, is)) {
    throw errors.mutability({
      path,
      reason: `cannot be changed from ${JSON.stringify(was)}; create a new resource instead.`,
    })
  }
}

function pairsOf(
  was: Json | undefined,
  is: Json | undefined,
): readonly (readonly [JsonObject, JsonObject])[] {
  if (isJsonObject(was) && isJsonObject(is)) return [[was, is]]
  if (!Array.isArray(was) || !Array.isArray(is)) return []
  const known = new Map(
    (was as readonly Json[])
      .filter(isJsonObject)
      .map((element) => [normalise(JSON.stringify(element['value'] ?? null)), element]),
  )
  return (is as readonly Json[]).filter(isJsonObject).flatMap((element) => {
    const same =
      element['value'] === undefined
        ? undefined
        : known.get(normalise(JSON.stringify(element['value'])))
    return same ? [[same, element] as const] : []
  })
}
