import * as iam from '@aws-sdk/client-iam'
import * as secretsManager from '@aws-sdk/client-secrets-manager'
import * as sts from '@aws-sdk/client-sts'
import { assertNever } from '../../domain/json.ts'

/**
 * Reads the shapes that the SDK clients export as `Name$` tuples, so that requests, answers and
 * errors of the sandbox are checked against the very description the real clients use.
 * The tuple format is no public contract: the versions are pinned and `shapes.test` fails loudly
 * when it changes. Shapes carry no patterns, lengths or enums; the domain checks those it needs.
 */
export type Service = 'iam' | 'sts' | 'secretsmanager'
export const services: readonly Service[] = ['iam', 'sts', 'secretsmanager']

type Tuple = readonly unknown[]

export type Shape =
  | { readonly type: 'structure'; readonly name: string; readonly members: readonly Member[] }
  | { readonly type: 'list'; readonly name: string; readonly element: Shape }
  | { readonly type: 'map'; readonly name: string; readonly value: Shape }
  | { readonly type: Scalar }

export type Scalar = 'string' | 'boolean' | 'number' | 'timestamp' | 'blob' | 'unit'

interface Member {
  readonly name: string
  readonly required: boolean
  /** Lazy, since shapes may contain themselves. */
  readonly shape: () => Shape
}

export interface Operation {
  readonly service: Service
  readonly name: string
  readonly input: Shape
  readonly output: Shape
}

export interface ErrorShape {
  readonly code: string
  readonly status: number
}

const structureKind = 3
const listKind = 1
const mapKind = 2
const traitedSimpleKind = 0
const operationKind = 9
const errorKind = -3
const listFlag = 0x40
const mapFlag = 0x80

const scalars: ReadonlyMap<number, Scalar> = new Map([
  [0, 'string'],
  [1, 'number'],
  [2, 'boolean'],
  [4, 'timestamp'],
  [5, 'timestamp'],
  [6, 'timestamp'],
  [7, 'timestamp'],
  [21, 'blob'],
])

const exported: Readonly<Record<Service, Readonly<Record<string, unknown>>>> = {
  iam,
  sts,
  secretsmanager: secretsManager,
}

/** The message of every complaint about the sandbox itself; a test or an operator greps for it. */
export class FakeDrift extends Error {
  override readonly name = 'FakeDrift'
  constructor(what: string) {
    super(`FAKE DRIFT: ${what}`)
  }
}

/** Turns a schema reference of the SDK into a shape. Throws `FakeDrift` on a format it does not know. */
export function shapeOf(reference: unknown): Shape {
  const target = typeof reference === 'function' ? (reference as () => unknown)() : reference
  if (target === 'unit') return { type: 'unit' }
  if (typeof target === 'number') return simpleShape(target)
  if (!Array.isArray(target)) throw new FakeDrift(`a schema reference is ${typeof target}`)
  const tuple = target as Tuple
  // A member with traits of its own is written [reference, traits].
  if (tuple.length === 2) return shapeOf(tuple[0])
  switch (tuple[0]) {
    case structureKind:
    case errorKind:
      return structureShape(tuple)
    case listKind:
      return { type: 'list', name: nameOf(tuple), element: shapeOf(tuple[4]) }
    case mapKind:
      return { type: 'map', name: nameOf(tuple), value: shapeOf(tuple[5]) }
    case traitedSimpleKind:
      return shapeOf(tuple[4])
    default:
      throw new FakeDrift(`schema kind ${String(tuple[0])} is not known`)
  }
}

function simpleShape(code: number): Shape {
  if (code & mapFlag) return { type: 'map', name: 'map', value: simpleShape(code & ~mapFlag) }
  if (code & listFlag) return { type: 'list', name: 'list', element: simpleShape(code & ~listFlag) }
  const type = scalars.get(code)
  if (!type) throw new FakeDrift(`simple schema ${code} is not known`)
  return { type }
}

function structureShape(tuple: Tuple): Shape {
  const [, , , , names, references, required] = tuple
  if (!Array.isArray(names) || !Array.isArray(references) || names.length !== references.length) {
    throw new FakeDrift(`structure ${nameOf(tuple)} has no member lists of equal length`)
  }
  const requiredCount = typeof required === 'number' ? required : 0
  return {
    type: 'structure',
    name: nameOf(tuple),
    members: names.map((name: string, index) => ({
      name,
      required: index < requiredCount,
      shape: () => shapeOf(references[index]),
    })),
  }
}

function nameOf(tuple: Tuple): string {
  if (typeof tuple[2] !== 'string') throw new FakeDrift('a schema tuple has no name at index 2')
  return tuple[2]
}

const operations = new Map<string, Operation>()

/** @returns null when the service has no such operation */
export function operationOf(service: Service, name: string): Operation | null {
  const key = `${service}:${name}`
  const known = operations.get(key)
  if (known) return known
  const tuple = exported[service][`${name}$`]
  if (!Array.isArray(tuple) || tuple[0] !== operationKind) return null
  const operation = { service, name, input: shapeOf(tuple[4]), output: shapeOf(tuple[5]) }
  operations.set(key, operation)
  return operation
}

/**
 * Errors that every AWS service may answer and no service models.
 * Query services and JSON services spell the same refusal differently.
 */
const commonErrors: Readonly<Record<string, number>> = {
  AccessDenied: 403,
  AccessDeniedException: 400,
  ExpiredToken: 403,
  ExpiredTokenException: 400,
  IncompleteSignature: 400,
  InternalFailure: 500,
  InvalidAction: 400,
  InvalidClientTokenId: 403,
  InvalidSignatureException: 400,
  MissingAuthenticationToken: 403,
  MissingAuthenticationTokenException: 400,
  RequestExpired: 400,
  SerializationException: 400,
  SignatureDoesNotMatch: 403,
  Throttling: 400,
  ThrottlingException: 400,
  UnknownOperationException: 400,
  UnrecognizedClientException: 400,
  ValidationError: 400,
  ValidationException: 400,
}

/** The wire code and HTTP status of an error, by its code or the name of its shape. */
export function errorOf(service: Service, name: string): ErrorShape {
  // A session that ended is ExpiredToken of every service, and no ExpiredTokenException of STS.
  const common = commonErrors[name]
  const tuple =
    exported[service][`${name}$`] ??
    (common === undefined ? exported[service][`${name}Exception$`] : undefined)
  if (Array.isArray(tuple) && tuple[0] === errorKind) {
    const traits = tuple[3] as {
      readonly awsQueryError?: readonly [string, number]
      readonly error?: 'client' | 'server'
      readonly httpError?: number
    }
    const fallback = traits.error === 'server' ? 500 : 400
    return {
      code: traits.awsQueryError?.[0] ?? nameOf(tuple),
      status: traits.awsQueryError?.[1] ?? traits.httpError ?? fallback,
    }
  }
  if (common === undefined) throw new FakeDrift(`${service} knows no error "${name}"`)
  return { code: name, status: common }
}

/** What is wrong with a value under a shape, as `path: reason`; null when it fits. */
export function misfit(shape: Shape, value: unknown, path: string): string | null {
  switch (shape.type) {
    case 'structure':
      return structureMisfit(shape.members, value, path)
    case 'list': {
      if (!Array.isArray(value)) return `${path}: not a list`
      return firstOf(value.map((item, i) => () => misfit(shape.element, item, `${path}[${i}]`)))
    }
    case 'map': {
      if (!isRecord(value)) return `${path}: not a map`
      const entries = Object.entries(value)
      return firstOf(
        entries.map(
          ([k, item]) =>
            () =>
              misfit(shape.value, item, `${path}.${k}`),
        ),
      )
    }
    case 'unit':
      return value === undefined || (isRecord(value) && Object.keys(value).length === 0)
        ? null
        : `${path}: this operation has no body`
    case 'string':
      return typeof value === 'string' ? null : `${path}: not a string`
    case 'boolean':
      return typeof value === 'boolean' ? null : `${path}: not a boolean`
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) ? null : `${path}: not a number`
    case 'timestamp':
      return value instanceof Date && !Number.isNaN(value.getTime()) ? null : `${path}: not a date`
    case 'blob':
      return value instanceof Uint8Array ? null : `${path}: not bytes`
    default:
      return assertNever(shape)
  }
}

function structureMisfit(members: readonly Member[], value: unknown, path: string): string | null {
  if (!isRecord(value)) return `${path}: not a structure`
  const unknown = Object.keys(value).find((key) => members.every((m) => m.name !== key))
  if (unknown !== undefined) return `${path}.${unknown}: not a member`
  return firstOf(
    members.map((member) => () => {
      const found = value[member.name]
      if (found === undefined) return member.required ? `${path}.${member.name}: required` : null
      return misfit(member.shape(), found, `${path}.${member.name}`)
    }),
  )
}

function firstOf(checks: readonly (() => string | null)[]): string | null {
  for (const check of checks) {
    const found = check()
    if (found !== null) return found
  }
  return null
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Date) &&
    !(value instanceof Uint8Array)
  )
}
