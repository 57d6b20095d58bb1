import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { IAM } from '@aws-sdk/client-iam'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'

describe('custody sandbox', () => {
  let home: string
  beforeAll(() => {
    home = mkdtempSync(path.join(tmpdir(), 'custody-sandbox-'))
  })
  afterAll(() => rmSync(home, { recursive: true }))

  const inProcess = async (args: readonly string[]) => {
    let said = ''
    const code = await main(['sandbox', ...args], {
      env: { CUSTODY_HOME: home },
      cwd: home,
      stdout: (text) => (said += text),
      stderr: (text) => (said += text),
      columns: null,
      isInteractive: false,
      ask: () => Promise.reject(new Error('nobody is there to ask')),
    })
    return { code, said }
  }

  it('serves what it prints on the port asked for, lags and throttles, and ends with SIGTERM', async () => {
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port } = free.address() as AddressInfo
    await new Promise((resolve) => free.close(resolve))
    const cli = path.resolve(import.meta.dirname, '../../bin/custody.js')
    const args = [
      cli,
      'sandbox',
      '--json',
      '--aws-port',
      `${port}`,
      '--list-lag',
      '60',
      '--throttle',
    ]
    const child = spawn(process.execPath, args, { env: { ...process.env, CUSTODY_HOME: home } })
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
    const { aws, config, environment } = JSON.parse(line) as {
      aws: string
      config: string
      environment: Record<string, string>
    }

    expect(aws).toBe(`http://127.0.0.1:${port}`)
    expect(readFileSync(config, 'utf8')).toContain(aws)
    expect(environment['AWS_ENDPOINT_URL']).toBe(aws)
    expect(readFileSync(environment['GITHUB_APP_KEY_FILE']!, 'utf8')).toContain('PRIVATE KEY')
    const client = new IAM({
      endpoint: aws,
      region: environment['AWS_REGION']!,
      maxAttempts: 1,
      credentials: {
        accessKeyId: environment['AWS_ACCESS_KEY_ID']!,
        secretAccessKey: environment['AWS_SECRET_ACCESS_KEY']!,
      },
    })
    await client.createUser({ UserName: 'young' })
    expect((await client.listUsers({})).Users).toEqual([])
    const many = Array.from({ length: 25 }, (_, i) => client.createUser({ UserName: `user-${i}` }))
    const refused = (await Promise.allSettled(many)).filter((a) => a.status === 'rejected')
    expect(refused.map((a) => (a.reason as Error).name)).toContain('Throttling')

    const taken = await inProcess(['--aws-port', String(port)])
    expect(taken).toMatchObject({ code: 2, said: expect.stringContaining('EADDRINUSE') as string })

    client.destroy()
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  it.each([
    ['--aws-port', '70000'],
    ['--iam-lag', 'soon'],
    ['--list-lag', '-1'],
  ])('refuses %s %s', async (option, value) => {
    const { code, said } = await inProcess([`${option}=${value}`])

    expect(code).toBe(2)
    expect(said).toContain(`${option}: "${value}" is not a whole number`)
  })
})
