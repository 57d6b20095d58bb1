// Cuts GitHub's OpenAPI description down to the operations the sandbox and the provider speak.
//
//   npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
//   node scripts/trim-github-contract.js package/generated/api.github.com.json
//
// The package is 404 MB unpacked, so it is no dependency: only this cut is committed. Examples and
// vendor extensions go (they validate nothing); every schema keyword stays as GitHub wrote it.
import { readFileSync, writeFileSync } from 'node:fs'

const operations = [
  'GET /app',
  'GET /apps/{app_slug}',
  'GET /app/installations',
  'GET /app/installations/{installation_id}',
  'POST /app/installations/{installation_id}/access_tokens',
  'PUT /app/installations/{installation_id}/suspended',
  'DELETE /app/installations/{installation_id}/suspended',
  'GET /orgs/{org}/installation',
  'GET /repos/{owner}/{repo}/installation',
  'GET /installation/repositories',
  'DELETE /installation/token',
  'GET /repos/{owner}/{repo}',
  'GET /repos/{owner}/{repo}/keys',
  'POST /repos/{owner}/{repo}/keys',
  'GET /repos/{owner}/{repo}/keys/{key_id}',
  'DELETE /repos/{owner}/{repo}/keys/{key_id}',
  ...['/repos/{owner}/{repo}/actions', '/orgs/{org}/actions'].flatMap(secretOperations),
  ...secretOperations('/repos/{owner}/{repo}/environments/{environment_name}'),
  'GET /orgs/{org}/personal-access-tokens',
  'POST /orgs/{org}/personal-access-tokens',
  'POST /orgs/{org}/personal-access-tokens/{pat_id}',
  'GET /orgs/{org}/personal-access-token-requests',
  'POST /orgs/{org}/personal-access-token-requests',
  'POST /orgs/{org}/personal-access-token-requests/{pat_request_id}',
  'GET /orgs/{org}/installations',
  'GET /orgs/{org}/members',
  'GET /orgs/{org}/memberships/{username}',
  'DELETE /orgs/{org}/memberships/{username}',
  'GET /orgs/{org}/outside_collaborators',
  'DELETE /orgs/{org}/outside_collaborators/{username}',
  'DELETE /repos/{owner}/{repo}/collaborators/{username}',
  'GET /orgs/{org}/secret-scanning/alerts',
  'PATCH /repos/{owner}/{repo}/secret-scanning/alerts/{alert_number}',
  'POST /credentials/revoke',
]

function secretOperations(base) {
  return [
    `GET ${base}/secrets`,
    `GET ${base}/secrets/public-key`,
    `GET ${base}/secrets/{secret_name}`,
    `PUT ${base}/secrets/{secret_name}`,
    `DELETE ${base}/secrets/{secret_name}`,
  ]
}

const [source, target = new URL('../src/sandbox/contract/github.json', import.meta.url)] =
  process.argv.slice(2)
if (!source) {
  console.error('usage: node scripts/trim-github-contract.js <api.github.com.json> [target]')
  process.exit(2)
}
const full = JSON.parse(readFileSync(source, 'utf8'))

const paths = {}
for (const operation of operations) {
  const [method, path] = operation.split(' ')
  const found = full.paths[path]?.[method.toLowerCase()]
  if (!found) throw new Error(`${operation} is not in ${source}`)
  const { parameters = [], requestBody, responses, operationId } = found
  paths[path] ??= {}
  paths[path][method.toLowerCase()] = {
    ...strip({ operationId, parameters, requestBody }),
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, response]) => [status, stripResponse(response)]),
    ),
  }
}

const components = {}
collect(paths)
const out = {
  openapi: full.openapi,
  info: { ...full.info, 'x-trimmed-to': `${operations.length} operations` },
  paths: sorted(paths),
  components: Object.fromEntries(
    Object.keys(components)
      .sort()
      .map((kind) => [kind, sorted(components[kind])]),
  ),
}
writeFileSync(target, linewise(out))

/** Adds every component that `node` refers to, and what those refer to. */
function collect(node) {
  if (Array.isArray(node)) return node.forEach(collect)
  if (typeof node !== 'object' || node === null) return
  if (typeof node.$ref === 'string') {
    const [, kind, name] = /^#\/components\/([^/]+)\/(.+)$/.exec(node.$ref)
    components[kind] ??= {}
    if (!components[kind][name]) {
      const found = full.components[kind][name]
      components[kind][name] = kind === 'responses' ? stripResponse(found) : strip(found)
      collect(components[kind][name])
    }
  }
  Object.values(node).forEach(collect)
}

/**
 * Drops examples, prose and vendor extensions. `properties` is a map of names, not of keywords: a
 * property may be called `example` or `description`.
 */
function strip(node, isMap = false) {
  if (Array.isArray(node)) return node.map((item) => strip(item))
  if (typeof node !== 'object' || node === null) return node
  const dropped = new Set([
    'example',
    'examples',
    'description',
    'externalDocs',
    'summary',
    'title',
  ])
  return Object.fromEntries(
    Object.entries(node)
      .filter(([key, value]) => {
        if (isMap) return true
        return value !== undefined && !dropped.has(key) && !key.startsWith('x-')
      })
      .map(([key, value]) => [
        key,
        key === 'enum' || key === 'default' || key === 'required'
          ? value
          : strip(value, key === 'properties' && !isMap),
      ]),
  )
}

/** OpenAPI requires a description on a response, so this one piece of prose stays. */
function stripResponse(response) {
  return response.$ref ? response : { description: response.description, ...strip(response) }
}

function sorted(map) {
  return Object.fromEntries(
    Object.keys(map)
      .sort()
      .map((key) => [key, map[key]]),
  )
}

/** One line per operation path and per component: small, and still readable as a diff. */
function linewise({ openapi, info, paths, components }) {
  const lines = (map, pad) =>
    Object.entries(map)
      .map(([key, value]) => `${pad}${JSON.stringify(key)}: ${JSON.stringify(value)}`)
      .join(',\n')
  const kinds = Object.entries(components)
    .map(([kind, map]) => `    ${JSON.stringify(kind)}: {\n${lines(map, '      ')}\n    }`)
    .join(',\n')
  return [
    '{',
    `  "openapi": ${JSON.stringify(openapi)},`,
    `  "info": ${JSON.stringify(info)},`,
    `  "paths": {\n${lines(paths, '    ')}\n  },`,
    `  "components": {\n${kinds}\n  }`,
    '}',
    '',
  ].join('\n')
}
