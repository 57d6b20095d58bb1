import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { renderReport } from './report.ts'
import type { Results } from './result.ts'

const docs = path.join(import.meta.dirname, '..', 'docs', 'reference')

/** Writes the page and its charts. */
export async function writePage(results: Results): Promise<void> {
  for (const [name, text] of Object.entries(renderReport(results))) {
    await writeFile(path.join(docs, name), text)
    process.stderr.write(`docs/reference/${name}\n`)
  }
}
