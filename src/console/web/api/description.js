/**
 * A schema as the document has it.
 * @typedef {{ [name: string]: any }} Schema
 */

/**
 * One operation, with what is common to its path.
 * @typedef {object} Operation
 * @property {string} id
 * @property {string} method
 * @property {string} path
 * @property {string} tag
 * @property {string} summary
 * @property {string} description
 * @property {readonly string[]} roles
 * @property {readonly Parameter[]} parameters
 * @property {{ required: boolean, types: readonly string[], schema: Schema } | null} body
 * @property {readonly { status: string, says: string, headers: readonly string[], type: string | null, schema: Schema | null }[]} answers
 */

/** @typedef {{ name: string, in: string, description: string, required: boolean, schema: Schema }} Parameter */

/**
 * The description of the API, made handy.
 * @typedef {object} Description
 * @property {string} title
 * @property {string} version
 * @property {string} about
 * @property {readonly { name: string, description: string }[]} tags
 * @property {readonly Operation[]} operations
 * @property {(schema: Schema) => { name: string | null, schema: Schema }} resolve
 */

/** @returns {Promise<Description>} */
export async function readDescription() {
  const response = await fetch('/openapi.json')
  if (!response.ok) throw new Error(`/openapi.json was answered with ${response.status}.`)
  return descriptionOf(await response.json())
}

/** @typedef {{ [name: string]: any }} Node */

/** @param {Node} document @returns {Description} */
export function descriptionOf(document) {
  /** @type {readonly [string, Node][]} */
  const paths = Object.entries(document.paths)
  const follow = (/** @type {any} */ node) =>
    typeof node?.$ref === 'string'
      ? node.$ref
          .slice(2)
          .split('/')
          .reduce((/** @type {any} */ at, /** @type {string} */ name) => at?.[name], document)
      : node
  const operations = paths.flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => {
      /** @type {readonly [string, Node][]} */
      const content = Object.entries(operation.requestBody?.content ?? {})
      return {
        id: operation.operationId,
        method: method.toUpperCase(),
        path,
        tag: operation.tags[0],
        summary: operation.summary,
        description: operation.description ?? '',
        roles: operation['x-custody-roles'],
        parameters: (operation.parameters ?? []).map(follow).map((/** @type {any} */ p) => ({
          name: p.name,
          in: p.in,
          description: p.description ?? '',
          required: p.required === true,
          schema: p.schema,
        })),
        body:
          content.length === 0
            ? null
            : {
                required: operation.requestBody.required,
                types: content.map(([type]) => type),
                schema: content[0]?.[1].schema,
              },
        answers: Object.entries(operation.responses).map(([status, answer]) => {
          const { description, headers, content: sent } = follow(answer)
          /** @type {readonly [string, Node][]} */
          const media = Object.entries(sent ?? {})
          return {
            status,
            says: description,
            headers: Object.keys(headers ?? {}),
            type: media[0]?.[0] ?? null,
            schema: media[0]?.[1].schema ?? null,
          }
        }),
      }
    }),
  )
  return {
    title: document.info.title,
    version: document.info.version,
    about: document.info.description,
    tags: document.tags,
    operations,
    resolve: (schema) => ({
      name: typeof schema.$ref === 'string' ? (schema.$ref.split('/').at(-1) ?? null) : null,
      schema: follow(schema) ?? {},
    }),
  }
}

/** Operations that have each of the words somewhere. @param {readonly Operation[]} all @param {string} wanted */
export function found(all, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean)
  return all.filter(({ method, path, summary, tag }) => {
    const text = `${method} ${path} ${summary} ${tag}`.toLowerCase()
    return words.every((word) => text.includes(word))
  })
}

/**
 * Something of the schema's shape to begin with: what is required, one of each.
 * @param {Schema} given
 * @param {Description['resolve']} resolve
 * @param {number} [depth]
 * @returns {any}
 */
export function exampleOf(given, resolve, depth = 0) {
  const { schema } = resolve(given)
  if (schema.const !== undefined) return schema.const
  if (schema.enum) return schema.enum[0]
  if (schema.anyOf) return exampleOf(schema.anyOf[0], resolve, depth)
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  switch (type) {
    case 'object': {
      const names = depth > 4 ? [] : (schema.required ?? [])
      return Object.fromEntries(
        names.map((/** @type {string} */ name) => [
          name,
          exampleOf(schema.properties?.[name] ?? {}, resolve, depth + 1),
        ]),
      )
    }
    case 'array':
      return (schema.minItems ?? 0) > 0 ? [exampleOf(schema.items, resolve, depth + 1)] : []
    case 'boolean':
      return false
    case 'integer':
    case 'number':
      return schema.minimum ?? 0
    case 'string':
      return schema.format === 'date-time' ? new Date().toISOString() : ''
    default:
      return null
  }
}

/** What a schema says of a value, in few words. @param {Schema} schema */
export function kindOf(schema) {
  const types = [schema.type ?? (schema.enum || schema.const !== undefined ? [] : 'any')].flat()
  const words = types.map((type) => (type === 'array' ? 'list' : type))
  if (schema.format) words.push(schema.format)
  if (schema.minimum !== undefined) words.push(`≥ ${schema.minimum}`)
  if (schema.maxItems !== undefined) words.push(`at most ${schema.maxItems}`)
  return words.join(' · ')
}

/**
 * A request as it is sent, and as a line for a shell; the token is never part of the line.
 * @param {Operation} operation
 * @param {Readonly<Record<string, string>>} values by `<in>.<name>`
 * @param {string} body
 */
export function requestOf(operation, values, body) {
  const given = (/** @type {Parameter} */ p) => values[`${p.in}.${p.name}`] ?? ''
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name) =>
    encodeURIComponent(values[`path.${name}`] ?? ''),
  )
  const query = new URLSearchParams(
    operation.parameters
      .filter((p) => p.in === 'query' && given(p) !== '')
      .map((p) => [p.name, given(p)]),
  )
  /** @type {Record<string, string>} */
  const headers = Object.fromEntries(
    operation.parameters
      .filter((p) => p.in === 'header' && given(p) !== '')
      .map((p) => [p.name, given(p)]),
  )
  const sent = operation.body !== null && body.trim() !== '' ? body : null
  if (sent !== null) headers['Content-Type'] = operation.body?.types[0] ?? 'application/json'
  const url = `${path}${query.size > 0 ? `?${query}` : ''}`
  const isPublic = operation.roles.includes('public')
  const curl = [
    `curl -sS${operation.method === 'GET' ? '' : ` -X ${operation.method}`}`,
    ...(isPublic ? [] : ['-H "Authorization: Bearer $CUSTODY_TOKEN"']),
    ...Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`),
    ...(sent === null ? [] : [`--data ${quoted(sent)}`]),
    quoted(`${window.location.origin}${url}`),
  ].join(' ')
  return { url, headers, body: sent, curl }
}

/** @param {string} text */
function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
