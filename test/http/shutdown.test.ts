import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { startTestCustody, userUrn } from '../support/custody.ts'

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

it('says that it ends, goes on serving for as long as balancers need, and closes kept connections', async () => {
  const custody = await startTestCustody({ roles: ['http'] })
  expect((await custody.call('GET', '/readyz')).headers.get('connection')).toBe('keep-alive')

  let isClosed = false
  const closing = custody.close().then(() => (isClosed = true))
  const ready = await custody.call('GET', '/readyz')
  const made = await custody.call('POST', '/scim/v2/Users', {
    schemas: [userUrn],
    userName: 'late',
  })

  expect(ready.status).toBe(503)
  expect(ready.text).toContain('it is shutting down')
  expect(made.status).toBe(201)
  expect(made.headers.get('connection')).toBe('close')
  expect(isClosed).toBe(false)
  await closing
}, 60_000)
