import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/host/home.ts'

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'custody-demo-test-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** The demo as anybody runs it; what it keeps and what it throws away both land below `folder`. */
function demo(
  args: readonly string[],
  options: {
    readonly env?: Record<string, string>
    readonly onOutput?: (stdout: string, kill: () => void) => void
  } = {},
): Promise<Ended> {
  const entry = path.join(packageRoot, 'bin', 'custody.js')
  const child = spawn(process.execPath, [entry, 'demo', ...args], {
    cwd: folder,
    env: { PATH: process.env['PATH'], TMPDIR: folder, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    options.onOutput?.(stdout, () => void child.kill('SIGINT'))
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

const leftovers = async (): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name !== '.custody')

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('npm run demo', () => {
  it('tells the whole story, proves every leaver’s credential dead and leaves nothing behind', async () => {
    const { code, stdout, stderr } = await demo(['--json'])

    expect(stderr).toBe('')
    expect(code).toBe(0)
    const told = JSON.parse(stdout)
    expect(told.ok).toBe(true)
    const [start, people, accounts, rotation, kill, leaving, madness, evidence] = told.chapters.map(
      (c: { facts: unknown }) => c.facts,
    )
    expect(people).toMatchObject({ people: 40, refusal: { status: 400, scimType: 'invalidValue' } })
    expect(people.refusal.detail).toContain(':owner"?')
    expect(accounts).toMatchObject({
      accounts: 148,
      alive: 148,
      accessKeys: 40,
      tokens: 40,
      logins: 20,
      appTokens: 8,
    })
    expect(accounts.shown.tags).toHaveProperty('custody:id')
    expect(rotation.calls).toBeGreaterThanOrEqual(2_000)
    expect(rotation.failed).toBe(0)
    expect(rotation.newKey).not.toBe(rotation.oldKey)
    expect(rotation.oldKeyRefusedAfterSeconds).toBeGreaterThanOrEqual(rotation.overlapSeconds)
    expect(new Set([kill.strayKey, kill.workingKey, kill.newKey, kill.foreignKey]).size).toBe(4)
    expect(kill).toMatchObject({ workingKeyVerdict: 'alive', failed: 0, foreignKeyTouched: false })
    expect(kill.callsWhileDown).toBeGreaterThan(0)
    expect(leaving.credentials).toHaveLength(11)
    for (const credential of leaving.credentials) {
      expect(credential.outcome).toBe(credential.kind === 'deploy-key' ? 'absent' : 'refused')
      expect(credential.switchedOffSeconds).toBeGreaterThan(0)
      expect(credential.provenDeadSeconds).toBeGreaterThanOrEqual(credential.switchedOffSeconds)
    }
    expect(leaving).toMatchObject({ keptUp: { accounts: 3, alive: 3 }, consumer: { failed: 0 } })
    expect(madness).toMatchObject({ deactivated: 12, held: 10, undone: 2 })
    expect(madness.sameKeys).toBeGreaterThan(0)
    expect(madness.sameKeys + madness.newKeys).toBe(madness.switchedOff)
    expect(evidence).toMatchObject({
      tried: 8,
      refused: 8,
      absent: 3,
      stillAlive: 0,
      foreignKeys: 3,
      foreignKeysTouched: 0,
      others: { credentials: 140, alive: 140 },
    })
    expect(evidence.auditRows).toBeGreaterThan(600)

    const kept = path.join(folder, '.custody', 'demo')
    const files = await readdir(kept)
    expect(await read(kept, 'service.log')).toContain(people.refusal.request)
    expect(files.filter((name) => name.startsWith('offboarding-'))).toHaveLength(3)
    for (const text of [stdout, ...(await Promise.all(files.map((f) => read(kept, f))))]) {
      expect(text).not.toMatch(/\b(csk|cst)_[0-9A-Za-z]{12}_|PRIVATE KEY|secretAccessKey/)
    }
    expect(await leftovers()).toEqual([])
    expect(isRunning(start.pid)).toBe(false)
  }, 60_000)

  it('names the step that fails, the log and the way out when its port is taken', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo

    const { code, stderr } = await demo([], { env: { CUSTODY_LISTEN: `127.0.0.1:${port}` } })
    other.close()

    expect(code).toBe(1)
    expect(stderr).toContain(`FAILED at 1: Port ${port} on 127.0.0.1 is taken`)
    expect(stderr).toContain('CUSTODY_LISTEN=')
    expect(stderr).toMatch(/log +\S+service\.log/)
    expect(await leftovers()).toEqual([])
  }, 30_000)

  it.each([
    [{ CUSTODY_LISTEN: 'garbage' }, /^CUSTODY_LISTEN: must be host:port/],
    [{ CUSTODY_HOME: '/proc/custody/home' }, /^\/proc\/\S+ cannot be made or found here/],
    [{ CUSTODY_HOME: '/dev/null' }, /^\/dev\/null\S* is (below|there)/],
  ])('ends with 2 and one sentence where it cannot play: %o', async (env, sentence) => {
    const { code, stdout, stderr } = await demo([], { env })

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(sentence)
    expect(stderr.trimEnd()).not.toContain('\n')
  })

  it('puts everything away when it is interrupted', async () => {
    const { code, stdout, stderr } = await demo([], {
      onOutput: (text, kill) => {
        if (text.includes('A directory pushes')) kill()
      },
    })

    expect(code).toBe(130)
    expect(stderr).toMatch(/^Interrupted\. The log stays at \S+service\.log\.\n$/)
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(96)
    expect(stdout).not.toContain('\u001B')
    expect(await leftovers()).toEqual([])
    expect(isRunning(Number(/own, (\d+)/.exec(stdout)![1]))).toBe(false)
  }, 30_000)
})

function read(directory: string, name: string): Promise<string> {
  return readFile(path.join(directory, name), 'utf8')
}
