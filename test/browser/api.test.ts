/// <reference lib="dom" />
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import { accessibility, executable, isTooWide, launch, views, visit } from './support/browser.ts'

let custody: TestCustody
let browser: Browser
const pictures = process.env['SCREENSHOTS'] ?? null

beforeAll(async () => {
  if (executable === null) return
  custody = await startTestCustody()
  browser = await launch()
})
afterAll(async () => {
  await browser?.close()
  await custody?.close()
})

describe.skipIf(executable === null)('the page of the API', () => {
  it.each(views)('shows it, $width px wide, $scheme', async (view) => {
    const visited = await visit(browser, custody, view, { token: null, bypassCSP: true })
    const { page } = visited
    await page.goto(`${custody.url}/docs/`)
    await page.getByRole('heading', { name: 'Custody API', level: 1 }).waitFor()
    expect(page.url()).toBe(`${custody.url}/console/api`)
    const broken = [...(await accessibility(page))]
    await page.goto(`${custody.url}/console/api#postAccountsByIdTransfer`)
    await page.getByRole('button', { name: 'Send POST' }).waitFor()
    await page.evaluate(() => {
      for (const details of document.querySelectorAll('details')) details.open = true
    })
    await page.waitForTimeout(150)
    broken.push(...(await accessibility(page)))
    if (pictures !== null) {
      await mkdir(pictures, { recursive: true })
      const name = `api-${view.width}-${view.scheme}.png`
      await page.screenshot({ path: path.join(pictures, name), fullPage: view.width > 1_000 })
    }

    expect(broken).toEqual([])
    expect(await isTooWide(page)).toBe(false)
    await visited.end()
  })

  it('finds an operation, tries it with a typed token, and shows the same for a shell', async () => {
    const visited = await visit(browser, custody, views[0]!, { token: null })
    const { page } = visited
    await page.goto(`${custody.url}/console/api`)

    await page.getByLabel('Search').fill('get /api/v1/clients lists who')
    expect(await page.getByRole('navigation').getByRole('link').count()).toBe(0)
    await page.getByLabel('Search').fill('who may call')
    await page.getByRole('link', { name: 'GET /api/v1/clients' }).click()
    await page.getByLabel('Token').fill(custody.adminToken)
    await page.getByLabel(/^limit/).fill('1')
    await page.getByRole('button', { name: 'Send GET' }).click()

    await page.getByRole('heading', { name: 'Answered: 200' }).waitFor()
    expect(await page.getByLabel('The answer').innerText()).toContain('local administrator')
    const line = await page.getByLabel('The same in a shell').innerText()
    expect(line).toContain(`${custody.url}/api/v1/clients?limit=1'`)
    expect(line).toContain('$CUSTODY_TOKEN')
    expect(await page.content()).not.toContain(custody.adminToken)
    await visited.end()
  })

  it('says what was refused, and sends nothing that changes something unless it is meant', async () => {
    const visited = await visit(browser, custody, views[0]!, { token: null, expected: /40[14]/ })
    const { page } = visited
    await page.goto(`${custody.url}/console/api#postAccountsByIdRetire`)
    let sent = 0
    page.on('request', (request) => (sent += request.method() === 'POST' ? 1 : 0))

    await page.getByLabel(/^id\s+path/).fill('nobody')
    await page.getByRole('button', { name: 'Send POST' }).click()
    expect(sent).toBe(0)
    await page.getByRole('checkbox').check()
    await page.getByRole('button', { name: 'Send POST' }).click()
    await page.getByRole('heading', { name: 'Refused: 401' }).waitFor()

    expect(sent).toBe(1)
    await visited.end()
  })
})
