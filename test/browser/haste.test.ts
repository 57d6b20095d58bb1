/// <reference lib="dom" />
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import type { Visit } from './support/browser.ts'
import { executable, launch, views, visit } from './support/browser.ts'
import { ownerWith } from './support/company.ts'

let custody: TestCustody
let browser: Browser

beforeAll(async () => {
  if (executable === null) return
  custody = await startTestCustody()
  browser = await launch()
})
afterAll(async () => {
  await browser?.close()
  await custody?.close()
})

/**
 * A page whose frames and timers are late, as on a machine that is busy: between what is drawn and
 * what is to be done after it there is time for many keys.
 */
async function visitBusily(): Promise<Visit> {
  const visited = await visit(browser, custody, views[0]!)
  await visited.context.addInitScript((lateMs) => {
    const timer = window.setTimeout.bind(window)
    const frame = window.requestAnimationFrame.bind(window)
    const late = (act: TimerHandler, ms = 0, ...rest: unknown[]) => timer(act, ms + lateMs, ...rest)
    window.setTimeout = late as typeof window.setTimeout
    window.requestAnimationFrame = (act) => late(() => frame(act))
  }, 1_000)
  return visited
}

describe.skipIf(executable === null)('whoever types faster than the page draws', () => {
  it('loses no key of a filter, from the one that leads to it', async () => {
    const name = `haste-${crypto.randomUUID()}`
    await ownerWith(custody, 2, { nhi: { environment: name } })
    const visited = await visitBusily()
    const { page } = visited
    await visited.goto('accounts')
    await page.keyboard.press('/')
    await page.keyboard.insertText('environ')
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.keyboard.insertText(`eq "${name}"`)
    await page.keyboard.press('Enter')
    await page.getByText('2 accounts shown').waitFor()
    expect(await page.locator('input[name=filter]').inputValue()).toBe(`environment eq "${name}"`)
    await visited.end()
  })

  it('goes to another screen by two keys, and opens and closes the help there', async () => {
    const visited = await visitBusily()
    const { page } = visited
    await visited.goto('')
    await page.keyboard.press('g')
    await page.keyboard.press('u')
    await page.getByRole('heading', { name: 'Audit', level: 1 }).waitFor()
    expect(new URL(page.url()).pathname).toBe('/console/audit')
    await page.keyboard.press('?')
    await page.getByRole('heading', { name: 'Keys and help' }).waitFor()
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
    await visited.end()
  })

  it('writes into the question that a key has opened, not into the page behind it', async () => {
    const { id, userName } = await ownerWith(custody, 1)
    const visited = await visitBusily()
    const { page } = visited
    await visited.goto(`leaver?person=${id}`)
    const button = page.getByRole('button', { name: 'Start leaving' })
    await button.focus()
    await page.keyboard.press('Enter')
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.closest('dialog') !== null)).toBe(true)
    await page.locator('input[name=typed]').fill(userName)
    await page.keyboard.press('Escape')
    await page.locator('dialog').waitFor({ state: 'detached' })
    expect(await button.evaluate((element) => element === document.activeElement)).toBe(true)
    await visited.end()
  })
})
