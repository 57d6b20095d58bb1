import type { TestCustody } from '../../support/custody.ts'
import { eventually, nhiUrn } from '../../support/custody.ts'

let made = 0

/** A person with accounts that work, each with one token. */
export async function ownerWith(
  custody: TestCustody,
  accounts: number,
  more: { readonly displayName?: string; readonly nhi?: Record<string, unknown> } = {},
): Promise<{ id: string; userName: string; accounts: readonly string[] }> {
  made += 1
  const userName = `person${made}@example.com`
  const id = await custody.createPerson(userName, {
    displayName: more.displayName ?? `Person ${made}`,
  })
  const ids: string[] = []
  for (let n = 1; n <= accounts; n += 1) {
    const reply = await custody.requestAccount(`svc-${made}-${n}`, id, more.nhi ?? {})
    if (reply.status !== 201) throw new Error(reply.text)
    ids.push(reply.body.id)
  }
  for (const account of ids) await isWorking(custody, account)
  return { id, userName, accounts: ids }
}

export async function isWorking(custody: TestCustody, account: string): Promise<void> {
  await eventually(
    () => custody.call('GET', `/scim/v2/Users/${account}`),
    ({ body }) => body[nhiUrn].status === 'active',
  )
}

/** So many people of a directory leave that the rest is held. @returns the batch */
export async function tripTheBrake(custody: TestCustody, people: number): Promise<string> {
  // Who said that they left may not decide about it: a directory's own client says it.
  const { token } = await custody.createClient('directory', { directory: 'default' })
  const ids: string[] = []
  for (let n = 0; n < people; n += 1) {
    made += 1
    ids.push(await custody.createPerson(`many${made}@example.com`, { displayName: `Many ${made}` }))
  }
  for (const id of ids) {
    const left = {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path: 'active', value: false }],
    }
    await custody.call('PATCH', `/scim/v2/Users/${id}`, left, { token })
  }
  const { body } = await custody.call('GET', '/api/v1/approvals')
  const open = body.items.find((b: { status: string }) => b.status !== 'closed')
  if (open === undefined) throw new Error('nothing is held')
  return open.id
}
