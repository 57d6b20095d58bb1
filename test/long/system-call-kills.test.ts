import { spawn, spawnSync } from 'node:child_process'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { documentCodec } from '../../src/scim/codec.ts'
import { openStore } from '../../src/store/open.ts'

const writer = path.resolve(import.meta.dirname, '../support/writer-entry.ts')
const calls = 'pwrite64,fsync,fdatasync'
/** The first forty calls one by one, then ever farther, into the checkpoints of the log. */
const kills = Array.from({ length: 60 }, (_, i) =>
  i < 40 ? i + 1 : Math.round(40 * 1.26 ** (i - 39)),
)

/** Null when a process can be killed at a system call here; otherwise why not. */
function obstacle(): string | null {
  const tried = spawnSync('strace', ['-f', '-e', `inject=${calls}:signal=SIGKILL:when=9`, 'true'])
  if (tried.error) return 'strace is not installed'
  return tried.status === 0 ? null : `strace may not trace here: ${String(tried.stderr).trim()}`
}

const reason = obstacle()
if (reason !== null) console.log(`skipped: ${reason}`)

describe.skipIf(reason !== null)('a writer killed at one of its system calls', () => {
  let directory: string
  let template: string

  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'custody-syscalls-'))
    template = path.join(directory, 'template.db')
    await (await openStore({ url: `sqlite:${template}`, codec: documentCodec })).close()
  })
  afterAll(() => rm(directory, { recursive: true }))

  /** @returns the rows it was promised, and how it ended */
  function run(
    file: string,
    nth: number,
  ): Promise<{ acknowledged: number; signal: string | null }> {
    const inject = `inject=${calls}:signal=SIGKILL:when=${nth}`
    const trace = ['-f', '-o', '/dev/null', '-e', `trace=${calls}`, '-e', inject]
    const child = spawn('strace', [...trace, process.execPath, writer, file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    return new Promise((resolve) => {
      child.on('close', (_code, signal) => {
        // A last line without its end was never fully said.
        const said = output.split('\n').slice(0, -1)
        resolve({ acknowledged: said.filter((line) => line !== 'open').length, signal })
      })
    })
  }

  async function judge(nth: number): Promise<number> {
    const file = path.join(directory, `${nth}.db`)
    await copyFile(template, file)
    const { acknowledged, signal } = await run(file, nth)
    expect(signal, `kill ${nth}`).toBe('SIGKILL')
    const store = await openStore({ url: `sqlite:${file}`, codec: documentCodec })
    for (let n = 0; n < acknowledged; n++) {
      const value = await store.read.meta(`row-${n}`)
      expect(value?.split(' ')[0], `row ${n} of ${acknowledged}, kill ${nth}`).toBe(String(n))
    }
    await store.close()
    const db = new Database(file, { readonly: true })
    expect(db.pragma('integrity_check', { simple: true }), `kill ${nth}`).toBe('ok')
    db.close()
    await Promise.all(['', '-wal', '-shm'].map((end) => rm(`${file}${end}`, { force: true })))
    return acknowledged
  }

  it('has lost no row that it was promised, and left a sound file', async () => {
    let promised = 0
    for (let i = 0; i < kills.length; i += 2) {
      const pair = kills.slice(i, i + 2)
      for (const acknowledged of await Promise.all(pair.map(judge))) promised += acknowledged
    }
    console.log(`${kills.length} kills at ${calls}: ${promised} promised rows, none lost`)
    // Otherwise nobody was promised anything.
    expect(promised).toBeGreaterThan(kills.length)
  })
})
