import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestCustody, type TestCustody } from '../support/custody.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'

let database: TestDatabase
let custody: TestCustody
beforeAll(async () => {
  database = await createDatabase()
  custody = await startTestCustody({
    storeUrl: database.url,
    roles: ['http', 'worker', 'scheduler'],
  })
})
afterAll(async () => {
  await custody.close()
  await database.drop()
})

describe('Custody on PostgreSQL', () => {
  it('mints a credential for an account and refuses it once its owner has left', async () => {
    const owner = await custody.createPerson('ada')
    const account = await custody.requestAccount('deploy-bot', owner)
    expect(account.status).toBe(201)

    const token = await secretOnceThere('deploy-bot/token')
    expect(await custody.introspect(token)).toMatchObject({ active: true })
    const left = await custody.call('DELETE', `/scim/v2/Users/${owner}`)

    expect(left.status).toBe(204)
    expect(await custody.introspect(token)).toMatchObject({ active: false })
  })

  it('sweeps from a thread with connections of its own', async () => {
    const event = await custody.running.scheduler!.run('orphans')

    expect(event).toMatchObject({ outcome: 'finished', message: null })
  })

  it('keeps the password of the database out of its log', () => {
    const { password } = new URL(database.url)

    expect(custody.log.join('\n')).not.toContain(`:${password}@`)
  })
})

async function secretOnceThere(path: string): Promise<string> {
  await expect.poll(() => custody.secretAt(path), { timeout: 10_000 }).not.toBeNull()
  return (await custody.secretAt(path))!.trim()
}
