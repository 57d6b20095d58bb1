import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { Page } from 'playwright-core'
import { chromium } from 'playwright-core'
import { homeOf } from './fixtures.ts'
import type { Figure } from './leaver.ts'
import { spread } from './measure.ts'
import { spawnService } from './process.ts'

export interface ConsoleOptions {
  /** Resources in the database, ten of eleven of them accounts. */
  readonly size: number
  readonly rounds: number
  readonly say: (text: string) => void
}

const rowsShown = 2_000
/** What a person takes for at once. */
const usableMs = 1_000

/**
 * How long the console takes in a headless Chromium on this machine: from an address to its rows
 * on a large database, and from an address to a table of 2 000 rows whose keys answer.
 */
export async function runConsole({
  size,
  rounds,
  say,
}: ConsoleOptions): Promise<readonly Figure[]> {
  const executablePath = ['/usr/bin/chromium', '/usr/bin/google-chrome'].find(existsSync)
  if (executablePath === undefined) throw new Error('there is no Chromium on this machine')
  const home = await homeOf(size, say)
  const service = await serve(home)
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  try {
    const page = await logIn(await browser.newPage(), service.url, home)
    const screens = ['accounts', 'operations', 'audit', 'leaver', 'expiry', '']
    const figures: Figure[] = []
    for (const screen of screens) {
      const found: number[] = []
      for (let round = 0; round < rounds; round += 1) found.push(await untilShown(page, screen))
      figures.push({
        name: `${screen === '' ? 'overview' : screen}: address to content @${size}`,
        unit: 'ms',
        value: spread(found),
        ...(screen === 'accounts' ? { atMost: usableMs } : {}),
      })
      say(`${screen === '' ? 'overview' : screen}: ${found.map(Math.round).join(', ')} ms`)
    }
    figures.push(...(await manyRows(page, rounds)))
    return figures
  } finally {
    await browser.close()
    await service.stop()
  }
}

async function logIn(page: Page, url: string, home: string): Promise<Page> {
  await page.goto(`${url}/console/`)
  await page.fill(
    'input[name=token]',
    (await readFile(path.join(home, 'admin-token'), 'utf8')).trim(),
  )
  await page.click('button[type=submit]')
  await page.waitForSelector('.shell')
  return page
}

/** A new document each time: nothing is known from before but the files of the console. */
async function untilShown(page: Page, screen: string): Promise<number> {
  const since = performance.now()
  await page.goto(`${new URL(page.url()).origin}/console/${screen}`)
  await page.locator('main h1').waitFor()
  await page.locator('main .loading').first().waitFor({ state: 'detached' })
  return performance.now() - since
}

/** The rows come in one answer, so that drawing them is what is measured. */
async function manyRows(page: Page, rounds: number): Promise<readonly Figure[]> {
  const { origin } = new URL(page.url())
  const answer = await page.request.get(`${origin}/api/v1/accounts?limit=1`)
  const [row] = ((await answer.json()) as { items: readonly Record<string, unknown>[] }).items
  const items = Array.from({ length: rowsShown }, (_, i) => ({ ...row, id: `row-${i}` }))
  const body = JSON.stringify({ items, cursor: null })
  await page.route('**/api/v1/accounts?**', (route) =>
    route.fulfill({ contentType: 'application/json', body }),
  )
  const usable: number[] = []
  const drawn: number[] = []
  const keyed: number[] = []
  for (let round = 0; round < rounds; round += 1) {
    const since = performance.now()
    await page.goto(`${origin}/console/accounts`)
    await page.locator('tbody tr').first().waitFor()
    await page.keyboard.press('j')
    await page.locator('tr.current a:focus').waitFor()
    usable.push(performance.now() - since)
    await page
      .locator('tbody tr')
      .nth(rowsShown - 1)
      .waitFor({ state: 'attached' })
    drawn.push(performance.now() - since)
    const pressed = performance.now()
    await page.keyboard.press('j')
    await page.locator('tbody tr').nth(1).locator('a:focus').first().waitFor()
    keyed.push(performance.now() - pressed)
  }
  return [
    {
      name: `${rowsShown} rows: address to the first key answered`,
      unit: 'ms',
      value: spread(usable),
      atMost: usableMs,
    },
    { name: `${rowsShown} rows: address to the last one drawn`, unit: 'ms', value: spread(drawn) },
    { name: `the next row by "j" among ${rowsShown}`, unit: 'ms', value: spread(keyed) },
  ]
}

async function serve(home: string) {
  const { child, ended, url: listening } = spawnService(home)
  const url = await listening
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
