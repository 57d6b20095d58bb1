/// <reference lib="dom" />
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { chromium } from 'playwright-core'
import { expect } from 'vitest'
import type { TestCustody } from '../../support/custody.ts'

const places = [
  process.env['CUSTODY_CHROMIUM'],
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]

/** The browser of this machine; null where there is none, which is said once. */
export const executable: string | null =
  places.find((file) => file !== undefined && existsSync(file)) ?? null

if (executable === null) {
  process.stderr.write(
    'browser tests are left out: no Chromium here (apt-get install chromium, or CUSTODY_CHROMIUM=file)\n',
  )
}

export async function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: executable!,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  })
}

/** How a page is looked at. */
export interface View {
  readonly width: 375 | 1280
  readonly scheme: 'light' | 'dark'
}

export const views: readonly View[] = [
  { width: 1280, scheme: 'light' },
  { width: 375, scheme: 'dark' },
  { width: 1280, scheme: 'dark' },
  { width: 375, scheme: 'light' },
]

export interface Visit {
  readonly page: Page
  readonly context: BrowserContext
  /** What the browser complained of, a policy that was broken included. */
  readonly complaints: readonly string[]
  goto(address: string): Promise<void>
  /** Fails when the page complained, opened a dialog, or broke its own policy. */
  end(): Promise<void>
}

/** What a page needs to know of the server behind it. */
export type Visited = Pick<TestCustody, 'url' | 'adminToken' | 'log'>

/**
 * A page of the console, logged in by its form with the keyboard.
 * @param options.token the administrator's when omitted; null stays at the form
 * @param options.expected complaints that the test itself causes
 */
export async function visit(
  browser: Browser,
  custody: Visited,
  view: View,
  options: {
    readonly token?: string | null
    readonly expected?: RegExp
    /** Lets a test bring a script of its own (axe); never where the policy itself is looked at. */
    readonly bypassCSP?: boolean
  } = {},
): Promise<Visit> {
  const { token = custody.adminToken, expected, bypassCSP = false } = options
  const context = await browser.newContext({
    viewport: { width: view.width, height: 900 },
    colorScheme: view.scheme,
    bypassCSP,
    locale: 'en-GB',
    timezoneId: 'UTC',
  })
  const page = await context.newPage()
  const complaints: string[] = []
  const note = (text: string): void => {
    if (expected === undefined || !expected.test(text)) complaints.push(text)
  }
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') note(message.text())
  })
  page.on('pageerror', (error) => note(`thrown: ${error.message}`))
  page.on('dialog', (dialog) => {
    note(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  await page.goto(`${custody.url}/console/`)
  if (token !== null) {
    await page.getByLabel('Client token').focus()
    await page.keyboard.insertText(token)
    await page.keyboard.press('Enter')
    await page.locator('.shell').waitFor()
  }
  return {
    page,
    context,
    complaints,
    async goto(address) {
      await page.goto(`${custody.url}/console/${address}`)
      await page.locator('h1').waitFor()
    },
    async end() {
      await context.close()
      expect(complaints).toEqual([])
      expect(custody.log.filter((line) => line.includes('contentPolicyBroken'))).toEqual([])
    },
  }
}

const axeFile = path.resolve('node_modules/axe-core/axe.min.js')
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

/** What breaks the rules of WCAG 2.2 AA on the page as it is, one line each. */
export async function accessibility(page: Page): Promise<readonly string[]> {
  await page.evaluate(readFileSync(axeFile, 'utf8'))
  return page.evaluate(async (runOnly) => {
    const { axe } = globalThis as unknown as {
      axe: {
        run(
          on: unknown,
          options: object,
        ): Promise<{ violations: { id: string; help: string; nodes: { html: string }[] }[] }>
      }
    }
    const { violations } = await axe.run(document, { runOnly })
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.slice(0, 3).map((node) => `${id}: ${help}: ${node.html.slice(0, 200)}`),
    )
  }, rules)
}

/** Whether something is wider than the page, which would have to be scrolled sideways. */
export async function isTooWide(page: Page): Promise<boolean> {
  return page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)
}
