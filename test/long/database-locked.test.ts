import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody, userUrn } from '../support/custody.ts'

// Another program holds the write lock: a backup that copies too slowly, somebody's open shell.
let home: string
let custody: TestCustody
let other: Database.Database
beforeAll(async () => {
  home = await mkdtemp(path.join(tmpdir(), 'custody-locked-'))
  custody = await startTestCustody({ home })
  other = new Database(path.join(home, 'custody.db'))
})
afterAll(async () => {
  other.close()
  await custody.close()
  await rm(home, { recursive: true, force: true })
})

const hire = (userName: string) =>
  custody.call('POST', '/scim/v2/Users', { schemas: [userUrn], userName })

it('a write waits for a lock of a second', async () => {
  other.exec('begin immediate')
  const reply = hire('patient')
  await sleep(1_000)
  other.exec('rollback')

  expect((await reply).status).toBe(201)
})

it('a lock that stays is 503 with when to try again, and all is well once it is gone', async () => {
  other.exec('begin immediate')
  const waiting = hire('refused')
  // Meanwhile the loop is free for others.
  expect((await custody.call('GET', '/scim/v2/Users?count=1')).status).toBe(200)
  const refused = await waiting
  const ready = await custody.call('GET', '/readyz')
  other.exec('rollback')

  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
  expect(ready.status).toBe(503)
  expect((await hire('served')).status).toBe(201)
  expect((await custody.call('GET', '/readyz')).status).toBe(200)
})
