// Prints docs/reference/scim.md from the schema files, the table of dialects and the limits in the
// code, so that the reference cannot say anything else. `--check` only compares, exit code 1.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { dialects } from '../src/domain/client.ts'
import { bulkBytesMax, bulkOperationsMax } from '../src/scim/bulk.ts'
import { jsonMembersMax, jsonValuesMax } from '../src/http/body.ts'
import { projectedMax } from '../src/http/scim-list.ts'
import { cursorSecondsMax } from '../src/scim/cursor.ts'
import { quirks } from '../src/scim/dialects.ts'
import { pageMax, pageStandard } from '../src/scim/discovery.ts'
import { filterDepthMax, filterLengthMax, filterTermsMax } from '../src/scim/filter.ts'
import { patchEffortMax, patchOperationsMax } from '../src/scim/patch.ts'
import { documentBytesMax, nameLengthMax } from '../src/scim/resource.ts'
import { resourceSchemas } from '../src/scim/schema.ts'
import { sortLengthMax } from '../src/store/paging.ts'
import { elementsMax, membersMax } from '../src/scim/value.ts'

const file = path.resolve(import.meta.dirname, '../docs/reference/scim.md')
const areas = {
  body: 'Bodies',
  filter: 'Filters',
  patch: 'PATCH',
  search: 'Searches',
  answer: 'Answers',
}

const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ')
const row = (...cells) => `| ${cells.map(cell).join(' | ')} |`
const table = (head, rows) =>
  [row(...head), row(...head.map(() => '---')), ...rows.map((cells) => row(...cells))].join('\n')

const intro = `# SCIM reference
<!-- Printed by scripts/generate-docs.js from the schema files and the table of dialects; edit those. -->
Base: \`/scim/v2\` (also \`/scim\`). Media type \`application/scim+json\`; \`application/json\` is read as well. Authentication: \`Authorization: Bearer\` with a client token, or with an access token from \`POST /oauth2/token\`. Discovery (\`/ServiceProviderConfig\`, \`/ResourceTypes\`, \`/Schemas\`) needs none.`

const routes = () => {
  const rows = resourceSchemas.flatMap(({ endpoint, type, description }) => [
    [`\`${endpoint}\``, 'GET, POST', description],
    [`\`${endpoint}/{id}\``, 'GET, PUT, PATCH, DELETE', `One ${type}.`],
    [`\`${endpoint}/.search\``, 'POST', 'The list by a SearchRequest.'],
  ])
  return `## Endpoints
${table(
  ['path', 'methods', ''],
  [
    ...rows,
    ['`/`', 'GET', 'All resource types in one list; `meta.resourceType eq "User"` narrows it.'],
    ['`/.search`', 'POST', 'The same by a SearchRequest.'],
    ['`/Bulk`', 'POST', 'Many operations; each is atomic, together they are not.'],
    [
      '`/Me`',
      'GET, PUT, PATCH, DELETE',
      'The person that the client stands for (`client create --person`), else 404.',
    ],
  ],
)}

Names of query parameters are read in any case, \`+\` is a space, unknown parameters are ignored.`
}

const limits = () => `## Limits
${table(
  ['what', 'limit', 'beyond it'],
  [
    ['body', '1 MiB', '413'],
    [
      'values in a body; members of one object in it',
      `${jsonValuesMax}; ${jsonMembersMax}`,
      '400 `tooMany`',
    ],
    ['bytes of a resource, members of a group not counted', documentBytesMax, '400 `tooMany`'],
    ['body of `/Bulk`', `${bulkBytesMax} bytes`, '413'],
    ['operations in `/Bulk`', bulkOperationsMax, '413'],
    [
      '`userName`, `externalId`, `displayName` of a Group',
      `${nameLengthMax} characters`,
      '400 `invalidValue`',
    ],
    ['operations in a PATCH', patchOperationsMax, '400 `tooMany`'],
    [
      'values that the operations of a PATCH look at (elements × terms of the filter)',
      patchEffortMax,
      '400 `tooMany`',
    ],
    ['values of one attribute', elementsMax, '400 `tooMany`'],
    ['members of a group named in a request', membersMax, '400 `tooMany`'],
    ['names in `attributes` and `excludedAttributes`', projectedMax, '400 `tooMany`'],
    [
      'filter',
      `${filterLengthMax} characters, depth ${filterDepthMax}, ${filterTermsMax} terms`,
      '400 `invalidFilter`',
    ],
    ['page', `${pageMax} (standard ${pageStandard})`, 'clamped'],
    ['age of a cursor', `${cursorSecondsMax} s`, '400 `expiredCursor`'],
    ['requests per client', '50/s in bursts of 200', '429 with `Retry-After`'],
  ],
)}`

const paging = `## Paging
By index: \`startIndex\` and \`count\`. By cursor (RFC 9865): send \`cursor=\` with the first page and then each \`nextCursor\` with all other parameters unchanged; the last page has none. A cursor belongs to the client and the query it was made for: any other one, like a forged one, is 400 \`invalidCursor\`.`

const sorting = `## Sorting
\`sortBy\` takes any attribute of the schemas, with its URN or a sub-attribute, in any case; \`sortOrder\` is \`ascending\` or \`descending\`. Missing values come last ascending and first descending; of several values the primary one counts, else the first; equal ones are in order of \`id\`. Texts are compared by their first ${sortLengthMax} characters, without regard to case unless the attribute is \`caseExact\`. At the root the types are merged into one order, in which a type that does not have the attribute counts as missing it; by index such a list reaches 1001, by cursor to its end. An order that no index serves is looked for aside, for at most 2 s (400 \`tooMany\`).`

const bulk = `## Bulk
\`bulkId:x\` stands for what operation \`x\` of the same request creates, as a whole value anywhere in \`data\` or as the id in \`path\`, before or after it. What is referred to is created first; where references form a circle, one is created without its reference, which is added as soon as the other exists, and if that fails the first half is taken back. An operation whose reference cannot be resolved is answered 409. \`failOnErrors\` stops after that many errors; the answer then has only what was done. \`version\` is checked as \`If-Match\` is.`

const answers = `## Answers to a PATCH
200 with the resource when \`Accept\` names a JSON type or the query has \`attributes\`; 204 with the \`ETag\` when \`Accept\` is absent or \`*/*\`. In Bulk every operation is answered without its resource.`

const connections = `## What a connection sends
\`GET /api/v1/clients/{id}/attributes\` (roles \`auditor\`, \`security\`, \`admin\`), or \`custody client attributes <id>\`: each attribute that the client sent in a POST, PUT, PATCH or Bulk, the form it had in JSON, how often, when first and last and by which operation, beside the type in the schema and what the client's dialect makes of it: \`accepted\`, \`repaired\`, \`ignored\` or \`refused\`. \`neverSent\` lists what matters and never came. A path has \`[]\` where a list or a filter stood. Values are never kept; names that no schema has are shown as sent, up to 200 per client. What was not sent for 30 days is forgotten. The requests themselves, masked, for 30 days: \`GET /api/v1/scim-requests?client=&status=\`. Every write and everything refused is there; of what only reads, no single resource, and of each client 20 lists a second ([decision 41](../decisions/0041-lists-in-the-request-log.md)).`

const replays = `## Repeating a POST
With an \`Idempotency-Key\` header (1 to 255 visible ASCII characters) a POST that succeeded is answered again for 24 hours, with \`Idempotency-Replayed: true\`. The same key with another body or query is 422, while the first is running 409. A refused request frees its key; a 503 that says the write may have been kept does not, and is answered again. Answers with a secret are not kept: 409 \`alreadyIssued\`.`

const dialectTables = () => {
  const sections = Object.entries(areas).map(([area, title]) => {
    const rows = Object.values(quirks)
      .filter((quirk) => quirk.area === area)
      .map((quirk) => [
        quirk.when,
        ...dialects.map((dialect) => (quirk.dialects[dialect] ? quirk.yes : quirk.no)),
      ])
    return `### ${title}\n${table(['when a client sends', ...dialects.map((d) => `\`${d}\``)], rows)}`
  })
  return `## Dialects
A client has one of three (\`client create --dialect\`). \`lenient\`, the default, absorbs what Okta, Microsoft Entra ID, JumpCloud, OneLogin, Ping and authentik are known to send; \`rfc\` keeps to RFC 7643 and 7644; \`interop\` to draft-zollner-scim-interop-profile. Everything not listed here is the same in all three.

${sections.join('\n\n')}`
}

const attributeRows = (attributes, prefix = '') =>
  attributes.flatMap((attribute) => [
    [
      `\`${prefix}${attribute.name}\``,
      `${attribute.type}${attribute.multiValued ? ', multi' : ''}`,
      [
        attribute.mutability,
        ...(attribute.required ? ['required'] : []),
        ...(attribute.returned === 'default' ? [] : [`returned ${attribute.returned}`]),
        ...(attribute.uniqueness === 'none' ? [] : [`unique ${attribute.uniqueness}`]),
        ...(attribute.caseExact && attribute.type === 'string' ? ['case-exact'] : []),
      ].join(', '),
      `${attribute.description}${attribute.canonicalValues ? ` One of \`${attribute.canonicalValues.join('`, `')}\`.` : ''}`,
    ],
    ...attributeRows(attribute.subAttributes ?? [], `${prefix}${attribute.name}.`),
  ])

const schemaSections = () =>
  resourceSchemas
    .flatMap((resource) => [
      `## ${resource.type}\n${resource.description}`,
      ...[resource.core, ...resource.extensions].map(
        (schema) =>
          `### \`${schema.id}\`\n${schema.description}\n\n${table(['attribute', 'type', 'characteristics', ''], attributeRows(schema.attributes))}`,
      ),
    ])
    .join('\n\n')

const text = `${[
  intro,
  routes(),
  limits(),
  paging,
  sorting,
  bulk,
  answers,
  replays,
  connections,
  dialectTables(),
  schemaSections(),
].join('\n\n')}\n`

if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    process.stderr.write('docs/reference/scim.md is not current: run scripts/generate-docs.js.\n')
    process.exitCode = 1
  }
} else {
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, text)
}
