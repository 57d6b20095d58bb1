import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestCustody, type TestCustody, userUrn } from '../support/custody.ts'
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

  it('lets five of a directory go and holds the others in one batch, however many ask at once', async () => {
    const hr = await custody.createClient('directory', { directory: 'storm' })
    const ids = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const body = { schemas: [userUrn], userName: `storm-${i}` }
        return (await custody.call('POST', '/scim/v2/Users', body, { token: hr.token })).body.id
      }),
    )

    const answers = await Promise.all(
      ids.map((id) =>
        custody.call('DELETE', `/scim/v2/Users/${id}`, undefined, { token: hr.token }),
      ),
    )

    expect(answers.map((a) => a.status)).toEqual(ids.map(() => 204))
    expect(answers.filter((a) => a.headers.has('custody-operation'))).toHaveLength(5)
    const { body } = await custody.call('GET', '/api/v1/approvals')
    expect(body.items).toMatchObject([{ subject: 'storm', status: 'forming', people: 15 }])
  })

  it('sweeps from a thread with connections of its own', async () => {
    const event = await custody.running.scheduler!.run('orphans')

    expect(event).toMatchObject({ outcome: 'finished', message: null })
  })

  it('counts nobody as waiting for a connection because of the scrape itself', async () => {
    const headers = { authorization: `Bearer ${custody.adminToken}` }
    const response = await fetch(`${custody.url}/metrics`, { headers })

    expect(await response.text()).toContain('custody_database_connections{state="waiting"} 0')
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
