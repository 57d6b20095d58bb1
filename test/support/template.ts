import { rmSync } from 'node:fs'
import { copyFile, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { openStore } from '../../src/store/open.ts'
import { jsonCodec } from './json-codec.ts'

/** Migrating costs 60 ms of processor time, copying what was migrated one. */
let template: Promise<string> | null = null

/** An empty database of this version in a file of its own. @returns the URL to open it by */
export async function freshDatabase(directory: string): Promise<string> {
  template ??= migrated()
  const file = path.join(directory, 'custody.db')
  await copyFile(await template, file)
  return `sqlite:${file}`
}

/** One per worker process. */
async function migrated(): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'custody-template-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const file = path.join(directory, 'custody.db')
  const store = await openStore({ url: `sqlite:${file}`, codec: jsonCodec })
  await store.close()
  return file
}
