import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'
import { parseToken } from '../../src/domain/token.ts'
import { decodeMasterKey, openHome, readServer } from '../../src/host/home.ts'

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

describe('a later start', () => {
  it('finds the same secrets and announces nothing', async () => {
    const first = await open()
    const second = await open()

    expect(second.created).toEqual([])
    expect(second.masterKey.equals(first.masterKey)).toBe(true)
    expect(second.adminToken.equals(first.adminToken)).toBe(true)
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
