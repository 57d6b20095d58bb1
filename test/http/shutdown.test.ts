import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { startTestCustody } from '../support/custody.ts'

it('does not let a connection that never asks anything hold up a shutdown', async () => {
  const custody = await startTestCustody({ roles: ['http'] })
  const { port } = new URL(custody.url)
  const spare = connect(Number(port), '127.0.0.1')
  spare.on('error', () => undefined)
  await once(spare, 'connect')
  await custody.call('GET', '/livez')

  const since = performance.now()
  await custody.close()

  expect(performance.now() - since).toBeLessThan(10_000)
  spare.destroy()
}, 60_000)
