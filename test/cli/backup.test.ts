import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'

let home: string
let custody: TestCustody
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-backup-'))
  custody = await startTestCustody({ home })
  await custody.createPerson('kept@example.com')
  await custody.running.sequencer!.round()
})
afterAll(async () => {
  await custody.close()
  await rm(home, { recursive: true, force: true })
})

const run = async (line: string, at = home) => {
  let [stdout, stderr] = ['', '']
  const code = await main(line.split(' '), {
    env: { CUSTODY_HOME: at },
    cwd: home,
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
    columns: null,
    isInteractive: false,
    ask: () => Promise.reject(new Error('nobody is there to ask')),
  })
  return { code, stdout, stderr }
}

describe('custody backup', () => {
  it('is taken beside the running service, is verified, and is put back as restored', async () => {
    const taken = await run('backup create copy.db --json')
    await custody.createPerson('later@example.com')

    expect([taken.code, taken.stderr]).toEqual([0, expect.stringContaining('master key')])
    const manifest = JSON.parse(taken.stdout)
    expect(manifest).toMatchObject({ format: 'custody-backup/1', engine: 'sqlite' })
    expect(manifest.roots).toEqual([expect.objectContaining({ tenant: 'default' })])
    expect((await run('backup verify copy.db')).code).toBe(0)

    const other = path.join(home, 'other')
    expect((await run('backup restore copy.db', other)).code).toBe(9)
    await writeFile(path.join(other, 'master.key'), await readFile(path.join(home, 'master.key')), {
      mode: 0o600,
    })
    expect(await run('backup restore copy.db', other)).toMatchObject({ code: 0 })
    expect((await run('backup restore copy.db', other)).code).toBe(5)
    expect((await run('backup restore copy.db --replace', other)).code).toBe(0)
    expect((await readdir(other)).filter((name) => name.includes('.part'))).toEqual([])

    const restored = await startTestCustody({ home: other })
    try {
      const people = await restored.call('GET', '/api/v1/owners')
      const brakes = await restored.call('GET', '/api/v1/brakes')
      expect(people.body.items.map((p: { userName: string }) => p.userName)).toEqual([
        'kept@example.com',
      ])
      expect(brakes.body.items).toMatchObject([
        { name: 'restored', facts: { reason: 'backupRestored', sha256: manifest.sha256 } },
      ])
    } finally {
      await restored.close()
    }
  })

  it('that was touched, lacks its manifest, or is there already, is refused', async () => {
    await run('backup create whole.db')
    await copyFile(path.join(home, 'whole.db'), path.join(home, 'bare.db'))
    const bytes = await readFile(path.join(home, 'whole.db'))
    bytes[5_000] = bytes[5_000]! ^ 1
    await writeFile(path.join(home, 'whole.db'), bytes)

    expect((await run('backup verify whole.db')).code).toBe(9)
    expect((await run('backup restore whole.db', path.join(home, 'none'))).code).toBe(9)
    expect((await run('backup verify bare.db')).code).toBe(3)
    expect((await run('backup create bare.db')).code).toBe(5)
    expect((await run('backup create x.db', path.join(home, 'empty'))).code).toBe(3)
  })
})
