import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Json, TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, startTestCustody, userUrn } from '../support/custody.ts'

let custody: TestCustody
beforeAll(async () => {
  custody = await startTestCustody()
})
afterAll(() => custody.close())

/** Every path of what was asked for, as a plan compares it; what the server adds is left out. */
function differences(asked: Json, is: Json, at = ''): readonly string[] {
  if (Array.isArray(asked)) {
    return asked.flatMap((item, i) => differences(item, is?.[i], `${at}[${i}]`))
  }
  if (typeof asked === 'object' && asked !== null) {
    return Object.entries(asked).flatMap(([k, v]) => differences(v, is?.[k], `${at}.${k}`))
  }
  return asked === is ? [] : [`${at}: ${JSON.stringify(asked)} is ${JSON.stringify(is)}`]
}

describe('a generic REST provider of Terraform', () => {
  it('creates, reads, updates by PUT, sees no difference on the second plan, and deletes', async () => {
    const owner = await custody.createPerson('terraform-owner@example.com')
    const asked = (purpose: string) => ({
      schemas: [userUrn, nhiUrn],
      userName: 'webshop-prod',
      [nhiUrn]: {
        kind: 'serviceAccount',
        owner: { value: owner },
        purpose,
        environment: 'prod',
        credentials: [
          {
            provider: 'tokens',
            kind: 'api-token',
            scopes: ['read'],
            deliverTo: 'files:webshop/key',
          },
        ],
      },
    })
    const created = await custody.call('POST', '/scim/v2/Users', asked('serves pages'))
    const { id } = created.body
    const read = await custody.call('GET', `/scim/v2/Users/${id}`)

    expect(created.status).toBe(201)
    expect(differences(asked('serves pages'), read.body)).toEqual([])

    const changed = await custody.call('PUT', `/scim/v2/Users/${id}`, asked('serves more pages'))
    const again = await custody.call('GET', `/scim/v2/Users/${id}`)
    expect(changed.status).toBe(200)
    expect(differences(asked('serves more pages'), again.body)).toEqual([])
    expect(again.body[nhiUrn].credentials).toHaveLength(1)
    expect(again.body[nhiUrn].credentials[0].value).toBe(read.body[nhiUrn].credentials[0].value)
    const secret = await eventually(
      () => custody.secretAt('webshop/key'),
      (found) => found !== null,
    )
    for (const { text } of [created, read, changed, again]) {
      expect(text).not.toContain(secret)
    }

    expect((await custody.call('DELETE', `/scim/v2/Users/${id}`)).status).toBe(204)
    expect((await custody.call('GET', `/scim/v2/Users/${id}`)).status).toBe(404)
  })
})
