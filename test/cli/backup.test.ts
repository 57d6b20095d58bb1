import { chmod, copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/host/clock.ts'
import { documentCodec } from '../../src/scim/codec.ts'
import { takeBackup } from '../../src/store/backup.ts'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import { runCli } from '../support/run-cli.ts'

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
  return runCli(line, {
    env: { CUSTODY_HOME: at, CUSTODY_SERVER: custody.url, CUSTODY_TOKEN: custody.adminToken },
    cwd: home,
  })
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
    const modes = ['copy.db', 'copy.db.manifest.json'].map(
      async (name) => (await stat(path.join(home, name))).mode & 0o777,
    )
    expect(await Promise.all(modes)).toEqual([0o600, 0o600])

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

  it('is nobody else’s to read from its first byte, and never takes the place of a file', async () => {
    const [url, file] = [`sqlite:${path.join(home, 'custody.db')}`, path.join(home, 'bare.db')]
    const options = { url, file, now: systemClock.now(), version: 'test', codec: documentCodec }
    await takeBackup(options)

    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await expect(takeBackup(options)).rejects.toThrow('EEXIST')
    expect((await stat(file)).size).toBeGreaterThan(0)
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

describe('custody drill run', () => {
  it('leaver: a key of its own is made, proven dead, and nothing is left behind', async () => {
    const drill = await run('drill run leaver --json')
    const report = JSON.parse(drill.stdout)

    expect([drill.code, report]).toMatchObject([
      0,
      { drill: 'leaver', passed: true, facts: { keys: 1, verdict: 'complete' } },
    ])
    const accounts = await custody.call('GET', '/scim/v2/Users?filter=userName sw "drill-"')
    expect(accounts.body.totalResults).toBe(0)
  })

  it('restore: a backup is taken, put back beside the database, and equal', async () => {
    const drill = await run('drill run restore --json')

    expect([drill.code, JSON.parse(drill.stdout)]).toMatchObject([
      0,
      { drill: 'restore', passed: true, facts: { differing: [] } },
    ])
    expect((await readdir(home)).filter((name) => name.startsWith('drill-'))).toEqual([])
    expect((await run('drill run other')).code).toBe(2)
  })
})

describe('custody doctor --fix', () => {
  it('closes what others may read and takes away what a dead process left, after a yes', async () => {
    const at = await mkdtemp(path.join(home, 'doctor-'))
    await writeFile(path.join(at, 'admin-token'), 'x', { mode: 0o644 })
    await chmod(at, 0o755)
    await writeFile(path.join(at, 'server.json'), '{"url":"http://127.0.0.1:1","pid":4194303}')
    const modes = async () =>
      Promise.all(['', 'admin-token'].map(async (n) => (await stat(path.join(at, n))).mode & 0o777))

    const asked = await run('doctor --fix --offline', at)
    expect(asked.stderr).toContain('--yes does it')
    expect(await modes()).toEqual([0o755, 0o644])
    const done = await run('doctor --fix --yes --offline', at)
    expect(done.stderr.match(/ {2}done: /g)).toHaveLength(3)
    expect(await modes()).toEqual([0o700, 0o600])
    expect(await readdir(at)).not.toContain('server.json')
    expect((await run('doctor --fix --yes --offline', at)).stderr).toContain('Nothing here can be')
  })
})
