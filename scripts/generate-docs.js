// Prints docs/reference/scim.md from the schema files and the table of dialects, so that the
// reference cannot say anything else than the code does. `--check` only compares.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { scimReference } from '../src/scim/reference.ts'

const file = path.resolve(import.meta.dirname, '../docs/reference/scim.md')
const text = scimReference()
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('docs/reference/scim.md is not current; run scripts/generate-docs.js.')
    process.exitCode = 1
  }
} else {
  writeFileSync(file, text)
}
