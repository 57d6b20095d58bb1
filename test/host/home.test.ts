import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'
import { parseToken } from '../../src/domain/token.ts'
import { decodeMasterKey, openHome, packageRoot, readServer } from '../../src/host/home.ts'

let home = ''
beforeEach(async () => {
  home = path.join(await mkdtemp(path.join(tmpdir(), 'custody-home-')), '.custody')
})
afterEach(() => rm(path.dirname(home), { recursive: true, force: true }))

const open = (masterKey: Secret | null = null) => openHome({ path: home, masterKey })
const modeOf = async (name: string) => (await stat(path.join(home, name))).mode & 0o777

describe('the first start', () => {
  it('writes a master key and an administrator token that only the owner can read', async () => {
    const opened = await open()

    expect(opened.created.map((f) => path.basename(f))).toEqual(['master.key', 'admin-token'])
    expect(await modeOf('master.key')).toBe(0o600)
    expect(await modeOf('admin-token')).toBe(0o600)
    expect(await modeOf('.')).toBe(0o700)
    expect(opened.masterKey.use((b) => b.length)).toBe(32)
    expect(opened.adminToken.use((b) => parseToken(b.toString()))?.prefix).toBe('cst')
  })

  it('agrees on one secret when two processes start at once', async () => {
    const [a, b] = await Promise.all([open(), open()])

    expect(a.masterKey.equals(b.masterKey)).toBe(true)
    expect(a.adminToken.equals(b.adminToken)).toBe(true)
    expect(a.created.length + b.created.length).toBe(2)
    expect((await readdir(home)).sort()).toEqual(['admin-token', 'master.key'])
  })

  it('writes no master key when the environment brings one', async () => {
    const key = Secret.of(Buffer.alloc(32, 1))

    const opened = await open(key)

    expect(opened.masterKey).toBe(key)
    expect(await readdir(home)).toEqual(['admin-token'])
  })
})

/** A process that is the server of the home until it ends. */
async function holder(directory: string): Promise<ChildProcess> {
  const module = pathToFileURL(path.join(packageRoot, 'src/host/home.ts')).href
  const script = `
    const { openHome } = await import(${JSON.stringify(module)})
    const home = await openHome({ path: ${JSON.stringify(directory)}, masterKey: null })
    await home.claimServer()
    await home.writeServer({ url: 'http://127.0.0.1:3', pid: process.pid })
    console.log('held')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return child
}

describe('a later start', () => {
  it('finds the same secrets and announces nothing', async () => {
    const first = await open()
    const second = await open()

    expect(second.created).toEqual([])
    expect(second.masterKey.equals(first.masterKey)).toBe(true)
    expect(second.adminToken.equals(first.adminToken)).toBe(true)
  })

  it('makes no new master key for a database that is there already', async () => {
    const database = path.join(home, 'custody.db')

    const failure = openHome({ path: home, masterKey: null, database })

    await expect(failure).rejects.toMatchObject({
      code: 'masterKeyMissing',
      message: expect.stringMatching(/master\.key is missing.*custody\.db.*restore/) as string,
    })
    expect(await readdir(home)).toEqual([])
  })

  it.each(['master.key', 'admin-token'])('refuses a %s that others may read', async (name) => {
    await open()
    await chmod(path.join(home, name), 0o640)

    await expect(open()).rejects.toMatchObject({
      code: 'configInvalid',
      message: expect.stringMatching(/mode 640.*chmod 600/) as string,
    })
  })

  it.each([
    ['master.key', '', 'is empty'],
    ['master.key', 'short\n', '32 random bytes'],
    ['admin-token', 'cst_nope\n', 'does not hold a client token'],
  ])('refuses a %s that holds "%s", without repeating it', async (name, text, expected) => {
    await open()
    await writeFile(path.join(home, name), text)

    const failure = await open().catch((e: Error) => e.message)

    expect(failure).toContain(expected)
    expect(failure).not.toContain(text.trim() || 'nothing')
  })
})

describe('a master key', () => {
  const bytes = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7))

  it.each([
    ['base64', bytes.toString('base64')],
    ['base64url', bytes.toString('base64url')],
    ['hex', bytes.toString('hex')],
    ['hex with spaces around', ` ${bytes.toString('hex')}\n`],
  ])('is read from %s', (_, text) => {
    const key = decodeMasterKey(Secret.ofText(text), 'x')

    expect(key.use((b) => b.equals(bytes))).toBe(true)
  })
})

describe('the server record', () => {
  it('is found by the command line, and removed by the process that wrote it', async () => {
    const opened = await open()

    await opened.writeServer({ url: 'http://127.0.0.1:1', pid: process.pid })
    expect(await readServer(home)).toEqual({ url: 'http://127.0.0.1:1', pid: process.pid })

    await opened.removeServer()
    expect(await readServer(home)).toBeNull()
  })

  it('goes to one of two processes, until it gives it back or is gone', async () => {
    const opened = await open()
    const other = await holder(home)

    await expect(opened.claimServer()).rejects.toMatchObject({
      code: 'homeInUse',
      message: expect.stringContaining(`process ${other.pid} at http://127.0.0.1:3.`) as string,
    })
    other.kill('SIGKILL')
    await once(other, 'exit')
    const release = await opened.claimServer()
    await release()

    expect((await readdir(home)).filter((name) => name.startsWith('server.lock'))).toEqual([])
  })

  it.each([
    ['a process that is gone', { pid: 2 ** 30, started: null }],
    ['an earlier life under our own process id', { pid: process.pid, started: '1' }],
    ['another program with a process id used again', { pid: process.ppid, started: '1' }],
    ['nobody that can be read', {}],
  ])('is taken over from %s', async (_, left) => {
    const opened = await open()
    await writeFile(path.join(home, 'server.lock'), JSON.stringify(left))

    await (
      await opened.claimServer()
    )()

    expect((await readdir(home)).sort()).toEqual(['admin-token', 'master.key'])
  })

  it('stays when another process has taken over', async () => {
    const opened = await open()
    await opened.writeServer({ url: 'http://127.0.0.1:2', pid: process.pid + 1 })

    await opened.removeServer()

    expect(await readServer(home)).not.toBeNull()
  })

  it('counts as missing when it is not readable', async () => {
    await open()
    await writeFile(path.join(home, 'server.json'), '{"url":')

    expect(await readServer(home)).toBeNull()
    expect(await readFile(path.join(home, 'server.json'), 'utf8')).toBe('{"url":')
  })
})
