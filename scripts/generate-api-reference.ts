// Prints docs/reference/api.md from the description of the API, so that the page cannot claim anything
// else. `--check` only compares, exit code 1.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { errorCatalogue } from '../src/domain/errors.ts'
import type { DescribedRoute } from '../src/http/openapi/document.ts'
import { describedRoutes } from '../src/http/openapi/document.ts'
import { tags } from '../src/http/openapi/route.ts'

export const page = path.resolve(import.meta.dirname, '../docs/reference/api.md')
export const command = 'node_modules/.bin/node scripts/generate-api-reference.ts'

function rolesOf({ route: { roles } }: DescribedRoute): string {
  if (roles === 'public') return 'no token'
  return roles === 'any' ? 'any; sees what is theirs' : roles.join(', ')
}

function tableOf(tag: string): string {
  const rows = describedRoutes
    .filter(({ route }) => route.tag === tag)
    .map((described) => {
      const { method, path: place, route, query } = described
      const asked = query.map((name) => `\`${name}\``).join(' ')
      return `| \`${method} ${place}\` | ${rolesOf(described)} | ${route.effect} | ${asked} |`
    })
  return ['| route | role | effect | query |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

function codes(): string {
  const rows = Object.entries(errorCatalogue)
    .sort(([a, x], [b, y]) => x.status - y.status || (a < b ? -1 : 1))
    .map(([code, { status, scimType }]) => `| ${status} | \`${code}\` | ${scimType ?? ''} |`)
  return ['| status | code | scimType |', '| --- | --- | --- |', ...rows].join('\n')
}

export function apiReference(): string {
  const areas = Object.entries(tags).map(
    ([tag, about]) =>
      `## ${tag.charAt(0).toUpperCase()}${tag.slice(1)}\n${about}\n\n${tableOf(tag)}`,
  )
  return `# API reference
<!-- Printed by scripts/generate-api-reference.ts from src/http/openapi; edit those. -->
Everything that is served, in short. The whole of it, with every field, is \`GET /openapi.json\` (OpenAPI 3.1) of a running server, and the page at \`/console/api\` to read and try it. Each answer of the test suite is held against that description. A client in TypeScript: [use the client](../how-to/use-the-client.md). SCIM in detail: [SCIM reference](scim.md).

Roles are those that the policies as shipped permit; \`policies/authorisation\` says so, and yours may differ. What is not visible to a caller is 404, what is visible but not allowed 403. Lists take \`cursor\` and \`limit\` and answer \`{ items, cursor }\`; \`cursor\` is null after the last page. Whatever queues work answers with a header \`Custody-Operation\`. \`Idempotency-Key\` is taken by every POST that needs a token: the same request again within 24 h gets the first one's answer.

${areas.join('\n\n')}

## Errors
Below \`/api/v1\` and at the root RFC 9457 (\`application/problem+json\`): \`type\`, \`title\`, \`status\`, \`code\`, \`detail\`, \`instance\` (the id of the request). In SCIM the Error of RFC 7644 §3.12, with the \`scimType\` below. At \`/oauth2/token\` RFC 6749 §5.2. Codes never change their meaning.

${codes()}
`
}

if (process.argv[1] === import.meta.filename) {
  const text = apiReference()
  if (!process.argv.includes('--check')) writeFileSync(page, text)
  else if (readFileSync(page, 'utf8') !== text) {
    process.stderr.write(`docs/reference/api.md is not up to date; run ${command}\n`)
    process.exitCode = 1
  }
}
