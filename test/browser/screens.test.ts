/// <reference lib="dom" />
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import { accessibility, executable, isTooWide, launch, views, visit } from './support/browser.ts'
import { ownerWith, tripTheBrake } from './support/company.ts'

let custody: TestCustody
let browser: Browser
let addresses: Readonly<Record<string, string>>

/** Where pictures for the documentation go; nowhere unless asked for (SCREENSHOTS=docs/screenshots). */
const pictures = process.env['SCREENSHOTS'] ?? null

beforeAll(async () => {
  if (executable === null) return
  custody = await startTestCustody({ sandboxes: true })
  browser = await launch()
  const [ada, lea, ben] = [
    await ownerWith(custody, 4, { displayName: 'Ada Lindqvist', nhi: { environment: 'prod' } }),
    await ownerWith(custody, 3, { displayName: 'Lea Vare' }),
    await ownerWith(custody, 1, { displayName: 'Ben Okafor' }),
  ]
  await custody.call('POST', `/api/v1/accounts/${ben.accounts[0]}/transfer`, { owner: ada.id })
  await custody.call('POST', `/api/v1/owners/${lea.id}/leave`, { reason: 'left the company' })
  const batch = await tripTheBrake(custody, 8)
  await custody.running.sequencer!.round()
  addresses = {
    overview: '',
    accounts: 'accounts',
    account: `account/${ada.accounts[0]}`,
    expiry: 'expiry',
    'leaver-find': 'leaver',
    'leaver-impact': `leaver?person=${ada.id}`,
    'leaver-proof': `leaver?person=${lea.id}`,
    held: 'held',
    'held-batch': `held?batch=${batch}`,
    approvals: 'approvals',
    operations: 'operations',
    shadow: 'shadow',
    audit: 'audit',
    'scim-log': 'scim-log',
    providers: 'providers',
    'no-such-screen': 'nothing-here',
  }
})
afterAll(async () => {
  await browser?.close()
  await custody?.close()
})

describe.skipIf(executable === null)('every screen', () => {
  it.each(views)('keeps the rules of WCAG 2.2 AA, $width px wide, $scheme', async (view) => {
    const visited = await visit(browser, custody, view, { bypassCSP: true })
    const { page } = visited
    const broken: string[] = []
    for (const [name, address] of Object.entries(addresses)) {
      await visited.goto(address)
      await page.locator('main .loading').first().waitFor({ state: 'detached' })
      await page.waitForTimeout(150)
      broken.push(...(await accessibility(page)).map((line) => `${name}: ${line}`))
      if (await isTooWide(page)) broken.push(`${name}: is wider than the page`)
      if (pictures !== null) {
        await mkdir(pictures, { recursive: true })
        const file = `${name}-${view.width}-${view.scheme}.png`
        await page.screenshot({ path: path.join(pictures, file) })
      }
    }

    expect(broken).toEqual([])
    await visited.end()
  })

  it('keeps them in its questions and helps, too', async () => {
    const visited = await visit(browser, custody, views[1]!, { bypassCSP: true })
    const { page } = visited
    await visited.goto(addresses['leaver-impact']!)
    await page.getByRole('button', { name: 'Start leaving' }).click()
    expect(await accessibility(page)).toEqual([])
    await page.keyboard.press('Escape')
    await page.keyboard.press('?')
    await page.getByRole('heading', { name: 'Keys and help' }).waitFor()
    expect(await accessibility(page)).toEqual([])
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Menu' }).click()
    expect(await accessibility(page)).toEqual([])
    await visited.end()
  })

  it('can be read at twice its size without scrolling sideways (WCAG 1.4.10)', async () => {
    const visited = await visit(browser, custody, { width: 375, scheme: 'light' })
    await visited.page.setViewportSize({ width: 320, height: 512 })
    for (const [name, address] of Object.entries(addresses)) {
      await visited.goto(address)
      expect([name, await isTooWide(visited.page)]).toEqual([name, false])
    }
    await visited.end()
  })
})

describe.skipIf(executable === null)('whoever may not do everything', () => {
  it.each(['owner', 'requester'])(
    'sees what is theirs, and no screen that cannot be: %s',
    async (role) => {
      const { token } = await custody.createClient(role)
      const visited = await visit(browser, custody, views[0]!, { token })
      const { page } = visited
      await page.getByRole('heading', { name: 'Accounts' }).waitFor()
      const links = await page.locator('nav a').allInnerTexts()
      expect(links.map((text) => text.trim())).toEqual([
        'Accounts',
        'Leaver',
        'Approvals',
        'Operations',
      ])
      for (const address of ['leaver', 'approvals', 'operations', 'accounts']) {
        await visited.goto(address)
        await page.locator('main .loading').first().waitFor({ state: 'detached' })
        expect([address, await page.locator('main .problem').count()]).toEqual([address, 0])
      }
      await visited.end()
    },
  )

  it('auditors see what waits, and no button that would be refused', async () => {
    const { token } = await custody.createClient('auditor')
    const visited = await visit(browser, custody, views[0]!, { token, expected: /status of 403/ })
    const { page } = visited
    await visited.goto('approvals')
    await page.locator('main .loading').first().waitFor({ state: 'detached' })
    await page.getByText('svc-').first().waitFor()
    expect(await page.getByRole('button', { name: /Accept|Decline/ }).count()).toBe(0)
    await visited.end()
  })

  it('are told what a role may not see, and not to try it again', async () => {
    const { token } = await custody.createClient('owner')
    const visited = await visit(browser, custody, views[0]!, { token, expected: /status of 403/ })
    const { page } = visited
    await page.getByText('No account is yours.').waitFor()
    await visited.goto('expiry')
    await page.getByText('Somebody with another role sees it').first().waitFor()
    expect(await page.getByRole('button', { name: 'Try again' }).count()).toBe(0)
    await visited.end()
  })
})
