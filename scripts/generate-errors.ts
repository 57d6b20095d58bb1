// Prints docs/reference/errors.md from the catalogue of errors. `--check` only compares, exit code 1.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type AppError, type ErrorCode, errorCatalogue, errors } from '../src/domain/errors.ts'

const file = path.resolve(import.meta.dirname, '../docs/reference/errors.md')

/** Each fact as its own name, so that a sentence shows where it names something. */
const named = new Proxy({}, { get: (_facts, name) => `‹${String(name)}›` })

function row(code: ErrorCode): string {
  const { status, scimType } = errorCatalogue[code]
  const make = errors[code] as unknown as (facts: object) => AppError
  const sentence = make(named).message.replaceAll('|', '\\|').replaceAll('\n', ' ')
  return `| \`${code}\` | ${status} | ${scimType ?? ''} | ${sentence} |`
}

const codes = (Object.keys(errorCatalogue) as ErrorCode[]).toSorted(
  (a, b) => errorCatalogue[a].status - errorCatalogue[b].status || (a < b ? -1 : 1),
)

export const page = `# Errors
Below \`/scim\` an error is a SCIM Error (RFC 7644 §3.12) with the right \`scimType\`; elsewhere it is RFC 9457 with \`code\`, and \`instance\` names the request as the log does. The sentence says what to do next; what stands in ‹brackets› is filled in. Codes are stable: none is used again for another meaning. The cause of a 5xx stays in the log.

Written by \`node scripts/generate-errors.ts\` from the catalogue; a test says when it is stale.

| code | status | scimType | sentence |
| --- | --- | --- | --- |
${codes.map(row).join('\n')}
`

if (process.argv[1] === import.meta.filename) {
  const isSame = readFileSync(file, { encoding: 'utf8', flag: 'a+' }) === page
  if (process.argv.includes('--check')) process.exitCode = isSame ? 0 : 1
  else writeFileSync(file, page)
}
