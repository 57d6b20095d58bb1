import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/host/home.ts'
import { startServer } from '../cli/server.ts'

const launcher = path.join(packageRoot, 'bin', 'custody.js')

/** Starts the launcher in a Node that claims other facts about itself; its child does not inherit them. */
function launch(claims: Readonly<Record<string, unknown>>, args: readonly string[], env = {}) {
  const preload = Object.entries(claims)
    .map(
      ([key, value]) => `Object.defineProperty(process,'${key}',{value:${JSON.stringify(value)}})`,
    )
    .join(';')
  const child = spawn(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(preload)}`, launcher, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } },
  )
  return { child, ended: outcomeOf(child) }
}

async function outcomeOf(child: ChildProcess) {
  let stdout = ''
  let stderr = ''
  child.stdout!.on('data', (chunk) => (stdout += String(chunk)))
  child.stderr!.on('data', (chunk) => (stderr += String(chunk)))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, stdout, stderr }
}

const old = { versions: { ...process.versions, node: '20.1.0' } }
let server: Awaited<ReturnType<typeof startServer>> | null = null
afterEach(async () => {
  await server?.close()
  server = null
})

describe('the launcher', () => {
  it('runs at once in a Node that is new enough', async () => {
    const { stdout, code } = await launch({}, ['--version']).ended

    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(code).toBe(0)
  })

  it.runIf(process.platform === 'linux')(
    'runs the bundled Node in an older one, and passes its exit code on',
    async () => {
      expect(await launch(old, ['--version']).ended).toMatchObject({ code: 0, stderr: '' })
      expect(await launch(old, ['no-such-noun']).ended).toMatchObject({ code: 2 })
    },
  )

  it('asks for a newer Node in one sentence where none is bundled', async () => {
    const { code, stdout, stderr } = await launch({ ...old, platform: 'darwin' }, ['--version'])
      .ended

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Custody needs Node 24 or newer and this is 20\.1\.0; [^\n]+\n$/)
  })

  it.runIf(process.platform === 'linux').each(['SIGTERM', 'SIGINT'] as const)(
    'hands %s to the bundled Node and ends as it does',
    async (signal) => {
      let asked: () => void = () => {}
      const polled = new Promise<void>((resolve) => (asked = resolve))
      server = await startServer({
        'GET /api/v1/operations/o1': () => {
          asked()
          return { body: { id: 'o1', kind: 'rotate', status: 'running' } }
        },
      })
      const { child, ended } = launch(old, ['operation', 'watch', 'o1'], {
        CUSTODY_SERVER: server.url,
        CUSTODY_TOKEN: 'x',
      })
      await polled

      child.kill(signal)

      expect(await ended).toMatchObject({ code: null, signal })
    },
  )
})
