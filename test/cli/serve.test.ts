import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { startProcess } from '../support/process.ts'

const bin = path.resolve(import.meta.dirname, '../../bin/custody.js')

let home = ''
beforeEach(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-serve-'))
})
afterEach(() => rm(home, { recursive: true, force: true }))

/** Starts that are refused: they end by themselves. */
async function serve(env: Readonly<Record<string, string>> = {}) {
  let stderr = ''
  const code = await main(['serve'], {
    env: { CUSTODY_HOME: home, CUSTODY_LISTEN: '127.0.0.1:0', CUSTODY_LOG_LEVEL: 'silent', ...env },
    cwd: home,
    stdout: () => undefined,
    stderr: (text) => (stderr += text),
    columns: null,
    isInteractive: false,
    ask: () => Promise.resolve(''),
  })
  return { code, stderr }
}

describe('custody serve', () => {
  it('is one server per home, and keeps the key its database was made with', async () => {
    const first = await startProcess(home)
    const record = await readFile(path.join(home, 'server.json'), 'utf8')

    const second = await serve()

    expect(second).toEqual({
      code: 5,
      stderr: `A server already runs on ${home}: process ${first.child.pid} at ${first.url}. Stop it first, or give this one a home of its own with CUSTODY_HOME.\n`,
    })
    expect(await readFile(path.join(home, 'server.json'), 'utf8')).toBe(record)
    await first.stop()

    const otherKey = await serve({ CUSTODY_MASTER_KEY: Buffer.alloc(32, 1).toString('base64') })

    expect(otherKey.code).toBe(9)
    expect(otherKey.stderr).toMatch(/^The master key in CUSTODY_MASTER_KEY does not belong/)

    await rm(path.join(home, 'master.key'))
    const noKey = await serve()

    expect(noKey.code).toBe(9)
    expect(noKey.stderr).toMatch(/master\.key is missing.* restore the file/)
    expect(await readdir(home)).not.toContain('master.key')
    expect((await readdir(home)).filter((name) => name.startsWith('server'))).toEqual([])
  })

  it('goes on working without HTTP until it is told to stop', async () => {
    const worker = spawn(process.execPath, [bin, 'serve', '--roles', 'worker'], {
      env: { ...process.env, CUSTODY_HOME: home },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const ended = once(worker, 'exit')
    let stderr = ''
    worker.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    await expect.poll(() => stderr, { timeout: 10_000 }).toMatch(/^ready: worker$/m)
    // Idle, it would be gone before it could answer to anything.
    await Promise.race([ended, setTimeout(700)])

    expect(worker.exitCode).toBeNull()
    worker.kill('SIGTERM')
    expect(await ended).toEqual([0, null])
  })

  it.each([
    ['a home that is a file', { CUSTODY_HOME: '/dev/null' }, /^\/dev\/null is there already/],
    ['a home below a file', { CUSTODY_HOME: '/dev/null/x' }, /^\/dev\/null\/x is below/],
    ['a home that cannot be made', { CUSTODY_HOME: '/proc/x/y' }, /^\/proc\/x cannot be made/],
    ['a database that is none', { CUSTODY_STORE_URL: 'sqlite:text.db' }, /text\.db is not an SQL/],
    ['a database that is a directory', { CUSTODY_STORE_URL: 'sqlite:folder' }, /folder /],
    ['a database nowhere', { CUSTODY_STORE_URL: 'sqlite:/proc/x/y.db' }, /^\/proc\/x cannot/],
    ['an address elsewhere', { CUSTODY_LISTEN: '192.0.2.1:0' }, /^192\.0\.2\.1 is not an address/],
    ['an address that is none', { CUSTODY_LISTEN: 'garbage' }, /^CUSTODY_LISTEN: must be/],
  ])('ends with 2 and one sentence for %s', async (_, env, sentence) => {
    await writeFile(path.join(home, 'text.db'), 'this is no database, but a text of some length\n')
    await mkdir(path.join(home, 'folder'))
    await writeFile(path.join(home, 'master.key'), Buffer.alloc(32, 7).toString('base64'), {
      mode: 0o600,
    })

    const { code, stderr } = await serve(env)

    expect(stderr).toMatch(sentence)
    expect(stderr.trimEnd()).not.toContain('\n')
    expect(code).toBe(2)
  })
})
