import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventually, nhiUrn, userUrn } from '../support/custody.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProcess } from '../support/process.ts'
import type { Visited } from './support/browser.ts'
import { executable, launch, views, visit } from './support/browser.ts'

let browser: Browser
let home: string
let server: ServerProcess

beforeAll(async () => {
  if (executable !== null) browser = await launch()
})
afterAll(() => browser?.close())
beforeEach(async () => {
  if (executable === null) return
  home = await mkdtemp(path.join(tmpdir(), 'custody-killed-'))
  server = await startProcess(home)
})
afterEach(async () => {
  if (executable === null) return
  await server.kill()
  await rm(home, { recursive: true, force: true })
})

/** SIGKILL, and the same again on what it left, at the same address. */
async function killAndRestart(): Promise<void> {
  await server.kill()
  server = await startProcess(home, { env: { CUSTODY_LISTEN: new URL(server.url).host } })
}

async function scim(body: Record<string, unknown>): Promise<string> {
  const { status, body: made } = await server.call('POST', '/scim/v2/Users', {
    schemas: nhiUrn in body ? [userUrn, nhiUrn] : [userUrn],
    ...body,
  })
  if (status !== 201) throw new Error(JSON.stringify(made))
  return made.id
}

const accountsOf = 12
const paths = Array.from({ length: accountsOf }, (_, n) => `svc-${n}`)

const secretAt = (name: string): Promise<string> =>
  readFile(path.join(home, 'secrets/default', name), 'utf8')

async function isActive(token: string): Promise<boolean> {
  const admin = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  const response = await fetch(`${server.url}/oauth2/introspect`, {
    method: 'POST',
    headers: { authorization: `Bearer ${admin}` },
    body: new URLSearchParams({ token }),
  })
  expect(response.status).toBe(200)
  return ((await response.json()) as { active: boolean }).active
}

/** A person with accounts that work. */
async function leaver(): Promise<string> {
  const person = await scim({ userName: 'leaver@example.com', displayName: 'Leaver' })
  const accounts: string[] = []
  for (const name of paths) {
    const credentials = [
      { provider: 'tokens', kind: 'api-token', deliverTo: { sink: 'files', path: name } },
    ]
    const nhi = {
      owner: { value: person },
      kind: 'serviceAccount',
      purpose: 'tests',
      expiresAt: '2027-06-01T00:00:00Z',
      credentials,
    }
    accounts.push(await scim({ userName: name, [nhiUrn]: nhi }))
  }
  for (const account of accounts) {
    await eventually(
      () => server.call('GET', `/scim/v2/Users/${account}`),
      ({ body }) => body[nhiUrn].status === 'active',
    )
  }
  return person
}

async function visited(): Promise<Visited> {
  const adminToken = (await readFile(path.join(home, 'admin-token'), 'utf8')).trim()
  return { url: server.url, adminToken, log: [] }
}

/** What Chromium itself prints of a server that is away. */
const network = /Failed to load resource|net::ERR/

describe.skipIf(executable === null)('a server that is killed while somebody leaves', () => {
  it.each([
    ['before it answers: the page asks again, and it is done once', 'before'],
    ['while keys are being ended: the page comes back to the verdict', 'during'],
  ] as const)('%s', async (_name, when) => {
    const person = await leaver()
    const tokens = await Promise.all(paths.map((name) => secretAt(name)))
    for (const token of tokens) expect(await isActive(token)).toBe(true)
    const visited1 = await visit(browser, await visited(), views[0]!, { expected: network })
    const { page } = visited1
    let kills = 0
    await page.route('**/leave', async (route) => {
      if (kills > 0) return route.continue()
      kills += 1
      const answer = await route.fetch()
      expect(answer.status()).toBe(202)
      if (when === 'before') {
        await killAndRestart()
        return route.abort('connectionreset')
      }
      await route.fulfill({ response: answer })
      return killAndRestart()
    })
    await visited1.goto(`leaver?person=${person}`)
    await page.getByRole('button', { name: 'Start leaving' }).click()
    await page.locator('input[name=reason]').fill('said on the phone')
    await page.locator('input[name=typed]').fill('leaver@example.com')
    await page.keyboard.press('Enter')

    await page.getByText(`Complete: ${accountsOf} of ${accountsOf} proven dead`).waitFor()
    expect(kills).toBe(1)
    const { body } = await server.call('GET', `/api/v1/operations?subject=${person}`)
    expect(body.items.filter((o: { kind: string }) => o.kind === 'leave')).toHaveLength(1)
    for (const token of tokens) expect(await isActive(token)).toBe(false)
    await visited1.end()
  })
})
