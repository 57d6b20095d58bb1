import { assertNever } from '../../domain/json.ts'
import type { Scalar, Shape } from './shapes.ts'
import { isRecord } from './shapes.ts'

/** A request that the wire format cannot carry; becomes a client error of the service. */
export class WireError extends Error {
  override readonly name = 'WireError'
}

interface FormNode {
  value: string | null
  readonly children: Map<string, FormNode>
}

/**
 * Reads the body of an awsQuery request (`Tags.member.1.Key=…`) under the input shape.
 * `Action` and `Version` belong to the envelope and are left out.
 */
export function readForm(body: string, shape: Shape): Record<string, unknown> {
  const root: FormNode = { value: null, children: new Map() }
  for (const [key, value] of new URLSearchParams(body)) {
    if (key === 'Action' || key === 'Version') continue
    let node = root
    for (const part of key.split('.')) {
      const child: FormNode = node.children.get(part) ?? { value: null, children: new Map() }
      node.children.set(part, child)
      node = child
    }
    node.value = value
  }
  if (shape.type === 'unit') return {}
  return readFormNode(root, shape, 'request') as Record<string, unknown>
}

function readFormNode(node: FormNode, shape: Shape, path: string): unknown {
  switch (shape.type) {
    case 'structure': {
      const result: Record<string, unknown> = {}
      for (const [name, child] of node.children) {
        const member = shape.members.find((m) => m.name === name)
        if (!member) throw new WireError(`${path}.${name} is not a parameter of this action`)
        result[name] = readFormNode(child, member.shape(), `${path}.${name}`)
      }
      return result
    }
    case 'list': {
      // An empty list travels as the bare name with an empty value.
      const members = node.children.get('member')
      if (!members) return []
      return [...members.children]
        .sort(([a], [b]) => Number(a) - Number(b))
        .map(([index, child]) => readFormNode(child, shape.element, `${path}.${index}`))
    }
    case 'map': {
      const result: Record<string, unknown> = {}
      for (const [index, entry] of node.children.get('entry')?.children ?? []) {
        const key = entry.children.get('key')?.value
        const value = entry.children.get('value')
        if (key == null || !value) throw new WireError(`${path}.${index} is not a map entry`)
        result[key] = readFormNode(value, shape.value, `${path}.${key}`)
      }
      return result
    }
    default:
      return readText(node.value ?? '', shape.type, path)
  }
}

function readText(text: string, type: Scalar, path: string): unknown {
  switch (type) {
    case 'string':
      return text
    case 'number': {
      const number = Number(text)
      if (text === '' || Number.isNaN(number)) throw new WireError(`${path} is not a number`)
      return number
    }
    case 'boolean':
      if (text !== 'true' && text !== 'false') throw new WireError(`${path} is not a boolean`)
      return text === 'true'
    case 'timestamp':
      return new Date(text)
    case 'blob':
      return Buffer.from(text, 'base64')
    case 'unit':
      return undefined
    default:
      return assertNever(type)
  }
}

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (c) => escapes[c]!)
}

/** Writes the members of an answer as XML elements, in the order of the shape. */
export function writeXml(shape: Shape, value: unknown): string {
  switch (shape.type) {
    case 'structure': {
      const record = value as Record<string, unknown>
      return shape.members
        .filter((member) => record[member.name] !== undefined)
        .map((m) => `<${m.name}>${writeXml(m.shape(), record[m.name])}</${m.name}>`)
        .join('')
    }
    case 'list':
      return (value as readonly unknown[])
        .map((item) => `<member>${writeXml(shape.element, item)}</member>`)
        .join('')
    case 'map':
      return Object.entries(value as Record<string, unknown>)
        .map(([k, v]) => {
          return `<entry><key>${escapeXml(k)}</key><value>${writeXml(shape.value, v)}</value></entry>`
        })
        .join('')
    case 'timestamp':
      return (value as Date).toISOString().replace('.000Z', 'Z')
    case 'blob':
      return Buffer.from(value as Uint8Array).toString('base64')
    case 'string':
    case 'number':
    case 'boolean':
      return escapeXml(String(value))
    case 'unit':
      return ''
    default:
      return assertNever(shape)
  }
}

/** Reads an awsJson 1.1 body under the input shape. Unknown members are refused, nulls left out. */
export function readJson(body: string, shape: Shape): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(body === '' ? '{}' : body)
  } catch {
    throw new WireError('the body is not JSON')
  }
  return fromJson(parsed, shape, 'request') as Record<string, unknown>
}

function fromJson(value: unknown, shape: Shape, path: string): unknown {
  switch (shape.type) {
    case 'structure': {
      if (!isRecord(value)) throw new WireError(`${path} is not an object`)
      const result: Record<string, unknown> = {}
      for (const [name, item] of Object.entries(value)) {
        const member = shape.members.find((m) => m.name === name)
        if (!member) throw new WireError(`${path}.${name} is not a parameter of this operation`)
        if (item !== null) result[name] = fromJson(item, member.shape(), `${path}.${name}`)
      }
      return result
    }
    case 'list':
      if (!Array.isArray(value)) throw new WireError(`${path} is not a list`)
      return value.map((item, i) => fromJson(item, shape.element, `${path}[${i}]`))
    case 'map': {
      if (!isRecord(value)) throw new WireError(`${path} is not an object`)
      return Object.fromEntries(
        Object.entries(value).map(([k, v]) => [k, fromJson(v, shape.value, `${path}.${k}`)]),
      )
    }
    case 'timestamp':
      if (typeof value !== 'number') throw new WireError(`${path} is not a timestamp`)
      return new Date(value * 1_000)
    case 'blob':
      if (typeof value !== 'string') throw new WireError(`${path} is not base64 text`)
      return Buffer.from(value, 'base64')
    default:
      return value
  }
}

/** The JSON value of an answer: timestamps as epoch seconds, bytes as base64. */
export function toJson(shape: Shape, value: unknown): unknown {
  switch (shape.type) {
    case 'structure': {
      const record = value as Record<string, unknown>
      return Object.fromEntries(
        shape.members
          .filter((member) => record[member.name] !== undefined)
          .map((member) => [member.name, toJson(member.shape(), record[member.name])]),
      )
    }
    case 'list':
      return (value as readonly unknown[]).map((item) => toJson(shape.element, item))
    case 'map':
      return Object.fromEntries(
        Object.entries(value as Record<string, unknown>).map(([k, v]) => [
          k,
          toJson(shape.value, v),
        ]),
      )
    case 'timestamp':
      return (value as Date).getTime() / 1_000
    case 'blob':
      return Buffer.from(value as Uint8Array).toString('base64')
    case 'unit':
      return {}
    case 'string':
    case 'number':
    case 'boolean':
      return value
    default:
      return assertNever(shape)
  }
}
