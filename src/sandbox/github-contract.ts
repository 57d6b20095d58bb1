import { Ajv, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import document from './contract/github.json' with { type: 'json' }

/** One operation of GitHub's description, found for a concrete request. */
export interface MatchedOperation {
  /** `POST /repos/{owner}/{repo}/keys`: what faults are armed for and what messages name. */
  readonly name: string
  readonly params: Readonly<Record<string, string>>
}

/**
 * GitHub's own OpenAPI description (`contract/github.json`) as a judge of single messages.
 * Checks answer null or one sentence that names the operation and the first offending place.
 */
export interface GithubContract {
  /** Null: GitHub has such a route perhaps, but it is not among those we speak. */
  match(method: string, path: string): MatchedOperation | null
  checkRequest(operation: string, query: URLSearchParams, body: unknown): string | null
  checkResponse(operation: string, status: number, body: unknown): string | null
}

type Node = Readonly<Record<string, unknown>>

interface Operation {
  readonly name: string
  readonly pattern: RegExp
  readonly query: ReadonlySet<string>
  readonly body: { readonly schema: Node; readonly required: boolean } | null
  /** By status; null where the answer has no JSON body. */
  readonly responses: ReadonlyMap<number, Node | null>
}

/** Statuses GitHub documents for few operations and answers on all of them. */
const everywhere: Readonly<Record<number, string>> = {
  400: 'basic-error',
  401: 'basic-error',
  403: 'basic-error',
  404: 'basic-error',
  422: 'validation-error',
  429: 'basic-error',
  500: 'basic-error',
  502: 'basic-error',
  503: 'basic-error',
}

/**
 * Places where the description contradicts GitHub's own examples; each is narrowed, never switched
 * off. 10 of 87 official examples in our area fail their own schema.
 */
const quirks: readonly {
  readonly operation: string
  readonly status: number
  readonly mend: (schema: Node) => Node
}[] = [
  {
    // `account` is written `allOf [simple-user, enterprise]`, which nothing can be at once.
    operation: 'GET /app/installations',
    status: 200,
    mend: () => ({ type: 'array', items: ref('installation') }),
  },
]

const ref = (name: string): Node => ({ $ref: `#/components/schemas/${name}` })

let shared: GithubContract | null = null

/** The contract is immutable and compiles each schema once, so one copy serves the process. */
export function githubContract(): GithubContract {
  shared ??= createContract()
  return shared
}

function createContract(): GithubContract {
  const root = document as unknown as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Node>>>>
    readonly components: Readonly<Record<string, Readonly<Record<string, Node>>>>
  }
  const ajv = new Ajv({ strict: false, allErrors: false })
  addFormats.default(ajv)
  ajv.addSchema({
    $id: 'github',
    components: { schemas: toJsonSchema(root.components['schemas']) },
  })

  const resolve = (node: Node): Node => {
    const m = /^#\/components\/([^/]+)\/(.+)$/.exec((node['$ref'] as string | undefined) ?? '')
    return m ? root.components[m[1]!]![m[2]!]! : node
  }
  const operations = new Map<string, Operation>()
  for (const [path, methods] of Object.entries(root.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = `${method.toUpperCase()} ${path}`
      operations.set(name, readOperation(name, path, operation, resolve))
    }
  }

  // Compiling all schemas takes 0.6 s; a test run touches a dozen of them.
  const compiled = new Map<string, ValidateFunction>()
  const check = (id: string, schema: Node, body: unknown): string | null => {
    let validate = compiled.get(id)
    if (!validate) {
      validate = ajv.compile(toJsonSchema(schema) as Node)
      compiled.set(id, validate)
    }
    if (validate(body)) return null
    const error = validate.errors![0]!
    return `${id}: body${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`
  }

  return {
    match(method, path) {
      for (const operation of operations.values()) {
        if (!operation.name.startsWith(`${method} `)) continue
        const m = operation.pattern.exec(path)
        if (m) return { name: operation.name, params: decode(m.groups ?? {}) }
      }
      return null
    },
    checkRequest(name, query, body) {
      const operation = operations.get(name)!
      for (const key of query.keys()) {
        if (!operation.query.has(key)) return `${name}: query parameter "${key}" is not described`
      }
      if (!operation.body) return null
      if (body === undefined) return operation.body.required ? `${name}: a body is required` : null
      return check(`${name} request`, operation.body.schema, body)
    },
    checkResponse(name, status, body) {
      const operation = operations.get(name)!
      if (!operation.responses.has(status) && !(status in everywhere)) {
        return `${name}: status ${status} is not described`
      }
      const common = everywhere[status]
      const schema = operation.responses.get(status) ?? (common ? ref(common) : null)
      if (!schema) return body === undefined ? null : `${name}: status ${status} has no body`
      const quirk = quirks.find((q) => q.operation === name && q.status === status)
      return check(`${name} ${status}`, quirk ? quirk.mend(schema) : schema, body)
    },
  }
}

function readOperation(
  name: string,
  path: string,
  operation: Node,
  resolve: (node: Node) => Node,
): Operation {
  const schemaOf = (message: Node): Node | null => {
    const content = message['content'] as Record<string, { schema?: Node }> | undefined
    return content?.['application/json']?.schema ?? null
  }
  const parameters = (operation['parameters'] as readonly Node[]).map(resolve)
  const request = operation['requestBody'] as Node | undefined
  const body = request ? schemaOf(request) : null
  const responses = Object.entries(operation['responses'] as Record<string, Node>)
  return {
    name,
    pattern: new RegExp(`^${path.replace(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
    query: new Set(parameters.filter((p) => p['in'] === 'query').map((p) => String(p['name']))),
    body: body && { schema: body, required: request?.['required'] === true },
    responses: new Map(responses.map(([status, r]) => [Number(status), schemaOf(resolve(r))])),
  }
}

function decode(groups: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(groups).map(([key, value]) => [key, decodeURIComponent(value)]),
  )
}

/**
 * OpenAPI 3.0 to JSON Schema: `nullable` is no keyword there, and Ajv refuses it without `type`.
 * References move to the one registered document.
 */
function toJsonSchema(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(toJsonSchema)
  if (typeof node !== 'object' || node === null) return node
  const { nullable, $ref, ...rest } = node as Record<string, unknown>
  if (typeof $ref === 'string') return { $ref: `github${$ref}` }
  const schema = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, toJsonSchema(value)]),
  )
  return nullable === true ? { anyOf: [schema, { type: 'null' }] } : schema
}
