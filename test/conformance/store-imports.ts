import { describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import type { Task } from '../../src/domain/task.ts'
import type { Change, Store } from '../../src/store/store.ts'
import { makeAccount, makeId, makePerson, t0, unique } from '../support/entities.ts'

const makeTask = (overrides: Partial<Task> = {}): Task => ({
  tenant,
  id: makeId(),
  provider: unique('provider'),
  account: makeId(),
  credential: null,
  keyId: unique('key'),
  action: 'remove',
  status: 'open',
  assignee: null,
  instructions: 'end it',
  dueAt: t0,
  operation: null,
  createdAt: t0,
  updatedAt: t0,
  doneAt: null,
  doneBy: null,
  note: null,
  removed: false,
  evidence: null,
  version: 1,
  ...overrides,
})
const put = (task: Task, expectedVersion: number | null = null): Change => ({
  type: 'task',
  task,
  expectedVersion,
})
const other = 'other' as typeof tenant

/** Tasks, what is found by an import, and what belongs to a vendor. */
export function importConformance(current: () => Store): void {
  const read = () => current().read
  const commit = (...changes: readonly Change[]) => current().commit(changes)
  const ids = (rows: readonly { readonly id: string }[]) => rows.map((row) => row.id)

  describe('tasks', () => {
    it('keeps a task with its evidence, and one open task about a key and action at a time', async () => {
      const task = makeTask()
      const evidence = { sha256: 'ab', bytes: 3, name: 'a.png', contentType: 'image/png' }
      const done: Task = { ...task, status: 'done', doneAt: t0, removed: true, evidence }
      const again = { ...task, id: makeId<string>() }
      const content = Buffer.from([0, 255, 10])
      const shown: Change = { type: 'taskEvidence', tenant, task: task.id, content }

      expect(await commit(put(task))).toBe('saved')
      expect(await commit(put(again))).toMatchObject({ reason: 'busy', with: task.id })
      expect(await commit(put(done, 1), shown)).toBe('saved')
      expect(await commit(put(done, 1))).toMatchObject({ reason: 'version' })
      expect(await read().task(tenant, task.id)).toEqual({ ...done, version: 2 })
      expect(await read().task(other, task.id)).toBeNull()
      expect(Buffer.from((await read().taskEvidence(tenant, task.id))!)).toEqual(content)
      expect(await commit(put(again))).toBe('saved')
      expect(await read().taskEvidence(tenant, again.id)).toBeNull()
      expect(await commit({ ...shown, task: makeId() })).toMatchObject({ reason: 'missing' })
    })

    it('lists them newest first by what is asked, and whole by account and provider', async () => {
      const [provider, assignee] = [unique('provider'), unique('somebody')]
      const first = makeTask({ provider, assignee })
      const second = makeTask({ provider, assignee, account: first.account, status: 'done' })
      await commit(put(first), put(second), put(makeTask({ assignee })))
      const mine = { tenant, assignee, account: first.account, after: null, limit: 10 }

      expect(ids(await read().tasks(mine))).toEqual([second.id, first.id])
      expect(ids(await read().tasks({ ...mine, after: second.id }))).toEqual([first.id])
      expect(ids(await read().tasks({ ...mine, status: 'open' }))).toEqual([first.id])
      expect(await read().tasks({ ...mine, tenant: other })).toEqual([])
      expect(ids(await read().tasksOfAccount(tenant, first.account))).toEqual([first.id, second.id])
      expect(ids(await read().tasksAt(provider, null, 1))).toEqual([first.id])
      expect(ids(await read().tasksAt(provider, first.id, 9))).toEqual([second.id])
    })
  })

  describe('imports', () => {
    it('finds people by name, address and externalId, and by the local part of their name', async () => {
      const tag = unique('who')
      const emails = [{ value: `${tag}.x@Example.com`, primary: true }]
      const { attributes } = makePerson()
      const ada = makePerson({
        userName: `${tag}@Example.com`,
        externalId: `${tag}-7`,
        attributes: { ...attributes, emails },
      })
      const gone = makePerson({ userName: `${tag}@gone.example`, deletedAt: t0, active: false })
      const people: readonly Change[] = [ada, gone].map((person) => ({
        type: 'person',
        person,
        expectedVersion: null,
      }))
      await commit(...people)
      const found = async (...names: string[]) => ids(await read().peopleNamed(tenant, names))

      expect(await found(`${tag}@EXAMPLE.com`, 'nobody')).toEqual([ada.id])
      expect(await found(`${tag}.X@example.com`)).toEqual([ada.id])
      expect(await found(`${tag}-7`)).toEqual([ada.id])
      expect(await found(`${tag}@gone.example`, tag)).toEqual([])
      expect(ids(await read().peopleAtLogin(tenant, tag.toUpperCase(), 3))).toEqual([ada.id])
      expect(await read().peopleAtLogin(tenant, tag.slice(0, -1), 3)).toEqual([])
      expect(await read().peopleNamed(other, [ada.userName])).toEqual([])

      const moved = { ...ada, attributes: { ...attributes, emails: [{ value: `${tag}@new` }] } }
      await commit({ type: 'person', person: moved, expectedVersion: 1 })
      expect(await found(`${tag}@new`)).toEqual([ada.id])
      expect(await found(`${tag}.x@example.com`)).toEqual([])
    })

    it('keeps that an account was imported, and finds a vendor by its label', async () => {
      const vendor = unique('vendor')
      const labels = ['team=a', `vendor=${vendor}`]
      const one = makeAccount({ imported: true, labels })
      const two = makeAccount({ labels, status: 'retired', deletedAt: t0 })
      const accounts: readonly Change[] = [one, two].map((account) => ({
        type: 'account',
        account,
        expectedVersion: null,
      }))
      await commit(...accounts)

      expect(await read().account(tenant, one.id)).toEqual(one)
      expect(ids(await read().accountsOfVendor(tenant, vendor, null, 9))).toEqual([one.id, two.id])
      expect(ids(await read().accountsOfVendor(tenant, vendor, one.id, 9))).toEqual([two.id])
      expect(await read().accountsOfVendor(other, vendor, null, 9)).toEqual([])
      const before = vendor.slice(0, -1)
      expect(await read().vendors(tenant, before, 1)).toEqual([{ vendor, accounts: 1 }])

      await commit({ type: 'account', account: { ...one, labels: [] }, expectedVersion: 1 })
      expect(ids(await read().accountsOfVendor(tenant, vendor, null, 9))).toEqual([two.id])
    })
  })
}
