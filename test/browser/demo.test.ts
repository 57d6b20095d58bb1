import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OpenedDemo } from '../../src/cli/local/demo/open.ts'
import { openDemo } from '../../src/cli/local/demo/open.ts'
import { executable, launch } from './support/browser.ts'

let demo: OpenedDemo
let browser: Browser

beforeAll(async () => {
  if (executable === null) return
  demo = await openDemo({ small: true })
  browser = await launch()
}, 120_000)
afterAll(async () => {
  await browser?.close()
  await demo?.close()
})

// oxlint-disable-next-line no-explicit-any -- answers are probed field by field
async function ask(route: string, method = 'GET'): Promise<any> {
  const headers = { authorization: `Bearer ${demo.token}` }
  return (await fetch(`${demo.url}${route}`, { method, headers })).json()
}

describe.skipIf(executable === null)('the company of the demo', () => {
  it('has what an operator meets on a bad morning, all of it asked for over HTTP', async () => {
    const { accounts, credentials } = await ask('/api/v1/reports/posture')
    expect(accounts).toMatchObject({ total: 33, watched: 3 })
    expect(accounts.byStatus.active).toBeGreaterThan(15)
    expect(credentials.byStatus.revoking).toBe(1)

    const kinds = (await ask('/api/v1/findings')).items.map((f: { kind: string }) => f.kind)
    expect(new Set(kinds)).toEqual(new Set(['foreign', 'entitlement-drift']))
    const stuck = (await ask('/api/v1/operations?status=needsOperator')).items
    expect(stuck.map((o: { failure: { code: string } }) => o.failure.code)).toEqual(['foreignKey'])
    expect((await ask('/api/v1/approvals')).items[0]).toMatchObject({ kind: 'leavers', people: 6 })
    expect((await ask('/api/v1/transfers')).items.length).toBeGreaterThan(0)
    const left = await ask(`/api/v1/reports/offboarding/${demo.people[4]!.id}`)
    expect(left.verdict).toBe('complete')
  })

  it('opens with one link, which works once, and ticks its tour by what really happens', async () => {
    const { url } = await ask('/api/v1/session/link', 'POST')
    const page = await browser.newPage()
    await page.goto(url)
    await page.locator('.shell').waitFor()
    await page.goto(`${demo.url}/console/expiry`)
    await page.locator('.tour li.done').filter({ hasText: 'See what ends next' }).waitFor()

    const other = await (await browser.newContext()).newPage()
    await other.goto(url)
    await other.getByLabel('Client token').waitFor()
    expect(await other.locator('.shell').count()).toBe(0)
  })
})
