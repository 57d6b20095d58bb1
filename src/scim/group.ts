import type { Dialect } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { Member } from '../domain/group.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import type { GroupWrite, MembersWrite, MemberWish } from '../domain/want.ts'
import { does } from './dialects.ts'
import type { FilterNode } from './filter.ts'
import { bindElement, matchNode, parsePath } from './filter.ts'
import { applyPatch, parsePatch } from './patch.ts'
import type { PatchOperation } from './patch-parser.ts'
import type { ReadOptions } from './resource.ts'
import { checkName, checkSize, externalIdOf, readDocument } from './resource.ts'
import { findAttribute, groupSchema, groupUrn, resolvePath } from './schema.ts'
import { checkElements, readValue } from './value.ts'

/** Filters that name no value read all members; what a request costs is to stay bounded. */
const scansMax = 5

const membersAttribute = findAttribute(groupSchema.core.attributes, 'members')!

/**
 * Reads the body of a Group. Without `members` it has none (RFC 7644 §3.5.1).
 * @throws invalidSyntax, invalidValue, requiredMissing, unknownAttribute, tooMany
 */
export function readGroup(
  body: unknown,
  options: ReadOptions,
): { readonly group: GroupWrite; readonly members: readonly MemberWish[] } {
  const { displayName, externalId, members, ...attributes } = readDocument(
    body,
    groupSchema,
    options,
  )
  checkName(displayName as string, 'displayName')
  checkSize(attributes)
  return {
    group: {
      displayName: displayName as string,
      externalId: externalIdOf(externalId),
      attributes,
    },
    members: wishes(members),
  }
}

function wishes(members: Json | undefined): readonly MemberWish[] {
  const found = new Map<string, MemberWish>()
  for (const element of Array.isArray(members) ? (members as readonly JsonObject[]) : []) {
    const { value, type, display } = element
    if (typeof value !== 'string') throw errors.requiredMissing({ path: 'members.value' })
    found.set(value, {
      id: value,
      type: typeOf(type),
      display: typeof display === 'string' ? display : null,
    })
  }
  return [...found.values()]
}

function typeOf(type: Json | undefined): Member['type'] | undefined {
  const word = typeof type === 'string' ? type.toLowerCase() : ''
  return word === 'user' ? 'User' : word === 'group' ? 'Group' : undefined
}

/** Reads those members of a group that an edit has to look at; never more than it asks for. */
export interface MemberSource {
  readonly among: (ids: readonly string[]) => Promise<readonly Member[]>
  readonly all: () => AsyncIterable<Member>
}

export interface GroupPatch {
  /** Null when nothing but members is touched, so that nothing else needs to be read or written. */
  readonly group: GroupWrite | null
  readonly members: MembersWrite
}

/**
 * Translates a PATCH of a group into changes of membership rows and, where it says anything else,
 * the group's other attributes. Members are never applied to the document: adding one to a group of
 * 50 000 would read and write them all.
 * @param current the group as rendered, without members
 * @throws invalidPath, invalidFilter, invalidValue, noTarget, mutability, tooMany (RFC 7644 §3.5.2)
 */
export async function readGroupPatch(
  body: unknown,
  current: JsonObject,
  source: MemberSource,
  { dialect }: ReadOptions,
): Promise<GroupPatch> {
  const edits = new MemberEdits(source, dialect)
  const others: PatchOperation[] = []
  // Operations on members and on anything else do not see each other, so their order is kept apart.
  for (const operation of parsePatch(body, dialect)) {
    const { members, rest } = split(operation, dialect)
    for (const edit of members) await edits.apply(edit)
    if (rest) others.push(rest)
  }
  return {
    group: others.length === 0 ? null : patched(current, others, dialect),
    members: edits.result(),
  }
}

function patched(
  current: JsonObject,
  operations: readonly PatchOperation[],
  dialect: Dialect,
): GroupWrite | null {
  const result = applyPatch(current, operations, groupSchema, { dialect })
  return result.changed.length === 0 ? null : readGroup(result.resource, { dialect }).group
}

interface MemberEdit {
  readonly op: PatchOperation['op']
  readonly filter: FilterNode | null
  readonly value: Json | undefined
}

function split(
  operation: PatchOperation,
  dialect: Dialect,
): { readonly members: readonly MemberEdit[]; readonly rest: PatchOperation | null } {
  const { op, path, value } = operation
  if (path !== null) {
    const edit = memberEdit(op, path, value, dialect)
    return edit ? { members: [edit], rest: null } : { members: [], rest: operation }
  }
  const members: MemberEdit[] = []
  const rest: Record<string, Json> = {}
  for (const [key, member] of Object.entries(value as JsonObject)) {
    const edit = memberEdit(op, key, member, dialect)
    if (edit) members.push(edit)
    else rest[key] = member
  }
  // What is left may be nothing at all, which is for the others to judge when there was nothing.
  const empty = Object.keys(rest).length === 0 && members.length > 0
  return { members, rest: empty ? null : { op, path, value: rest } }
}

function memberEdit(
  op: PatchOperation['op'],
  path: string,
  value: Json | undefined,
  dialect: Dialect,
): MemberEdit | null {
  const plain = path.toLowerCase()
  const prefix = groupUrn.toLowerCase()
  const name = plain.startsWith(prefix) ? plain.slice(prefix.length + 1) : plain
  if (!name.trimStart().startsWith('members')) return null
  const expression = parsePath(path, dialect)
  const target = resolvePath(groupSchema, expression.path, does(dialect, 'readsDottedUrn'))
  if (!target.found || target.attribute?.name !== 'members') return null
  if (target.sub !== null || expression.sub !== null) {
    throw errors.mutability({
      path,
      reason: 'a member cannot be changed; remove it and add another one.',
    })
  }
  if (expression.filter && !does(dialect, 'patchesWholeElements')) {
    throw errors.invalidPath({ path, reason: 'a path with a filter must end in a sub-attribute.' })
  }
  return { op, filter: expression.filter, value }
}

/** What a list of edits comes to, kept as a difference to members that are not read. */
class MemberEdits {
  readonly #source: MemberSource
  readonly #dialect: Dialect
  #replaced = false
  readonly #added = new Map<string, MemberWish>()
  readonly #removed = new Set<string>()
  #named = 0
  #scans = 0

  constructor(source: MemberSource, dialect: Dialect) {
    this.#source = source
    this.#dialect = dialect
  }

  result(): MembersWrite {
    return {
      replace: this.#replaced,
      add: [...this.#added.values()],
      remove: [...this.#removed],
    }
  }

  async apply({ op, filter, value }: MemberEdit): Promise<void> {
    if (filter) return this.#applySelected(op, filter, value)
    if (op === 'remove') return this.#removeListed(value)
    const members = this.#read(value)
    if (op === 'replace') this.#clear()
    for (const member of members) this.#add(member)
  }

  #read(value: Json | undefined): readonly MemberWish[] {
    const rules = { dialect: this.#dialect, closed: false, partial: true }
    const found = wishes(readValue(membersAttribute, value ?? null, 'members', rules))
    this.#named += found.length
    checkElements(this.#named, 'members')
    return found
  }

  #add(member: MemberWish): void {
    this.#removed.delete(member.id)
    this.#added.set(member.id, member)
  }

  #clear(): void {
    this.#replaced = true
    this.#added.clear()
    this.#removed.clear()
  }

  /** `remove` with a list is no RFC form, but what Entra, authentik, JumpCloud and OneLogin send. */
  async #removeListed(value: Json | undefined): Promise<void> {
    if (value === undefined || value === null) return this.#clear()
    const ids = this.#read(value).map((member) => member.id)
    const present = await this.#present(ids)
    if (present.length === 0) this.#refuseMiss('members')
    this.#remove(ids)
  }

  #remove(ids: readonly string[]): void {
    for (const id of ids) {
      this.#added.delete(id)
      if (!this.#replaced) this.#removed.add(id)
    }
  }

  async #applySelected(
    op: PatchOperation['op'],
    filter: FilterNode,
    value: Json | undefined,
  ): Promise<void> {
    const node = bindElement(filter, membersAttribute, 'members', { dialect: this.#dialect })
    const ids = valuesOf(filter)
    const found = (await this.#candidates(ids)).filter((member) => matchNode(node, element(member)))
    if (op === 'remove') {
      if (found.length === 0) this.#refuseMiss('members')
      this.#remove(found.map((member) => member.id))
      return
    }
    const sent = this.#read(value ?? (ids ?? []).map((id) => ({ value: id })))
    if (op === 'add' && found.length === 0) {
      for (const member of sent) this.#add(member)
    } else if (found.length === 0) {
      throw errors.noTarget({ path: 'members' })
    } else if (sent.some((member) => !found.some((other) => other.id === member.id))) {
      throw errors.mutability({
        path: 'members.value',
        reason: 'a member cannot be changed; remove it and add another one.',
      })
    }
  }

  /** The members a filter can match: those it names by value, or all of them. */
  async #candidates(ids: readonly string[] | null): Promise<readonly MemberWish[]> {
    if (ids !== null) return this.#present(ids)
    const found: MemberWish[] = [...this.#added.values()]
    if (this.#replaced) return found
    if (++this.#scans > scansMax) {
      throw errors.tooMany({
        reason: `The request looks through all members more than ${scansMax} times; name them by value.`,
      })
    }
    for await (const member of this.#source.all()) {
      if (!this.#removed.has(member.id) && !this.#added.has(member.id)) found.push(member)
    }
    return found
  }

  async #present(ids: readonly string[]): Promise<readonly MemberWish[]> {
    const added = ids.flatMap((id) => this.#added.get(id) ?? [])
    if (this.#replaced) return added
    const others = ids.filter((id) => !this.#added.has(id) && !this.#removed.has(id))
    return [...added, ...(await this.#source.among(others))]
  }

  /** A removal that is repeated finds nothing: no error for clients that are known to repeat. */
  #refuseMiss(path: string): void {
    if (!does(this.#dialect, 'removesNothing')) throw errors.noTarget({ path })
  }
}

function element({ id, type, display }: MemberWish): JsonObject {
  return {
    value: id,
    ...(type === undefined ? {} : { type }),
    ...(display === null ? {} : { display }),
  }
}

/** The values outside of which a filter matches nothing; null when it may match anywhere. */
function valuesOf(filter: FilterNode): readonly string[] | null {
  switch (filter.op) {
    case 'compare':
      return filter.path.toLowerCase() === 'value' && filter.operator === 'eq'
        ? [String(filter.value)]
        : null
    case 'and':
      return filter.nodes.map(valuesOf).find((values) => values !== null) ?? null
    case 'or': {
      const parts = filter.nodes.map(valuesOf)
      return parts.includes(null) ? null : [...new Set(parts.flatMap((part) => part ?? []))]
    }
    default:
      return null
  }
}
