import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { startTestCustody } from '../support/custody.ts'
import { accessibility, executable, launch, views, visit } from './support/browser.ts'
import { ownerWith, tripTheBrake } from './support/company.ts'

let custody: TestCustody
let browser: Browser
const view = views[0]!

beforeAll(async () => {
  if (executable === null) return
  custody = await startTestCustody()
  browser = await launch()
})
afterAll(async () => {
  await browser?.close()
  await custody?.close()
})

/** What Chromium itself prints of an answer that is no success, or of none. */
const network = /Failed to load resource|net::ERR/

async function leaveOperations(person: string): Promise<number> {
  const { body } = await custody.call('GET', `/api/v1/operations?subject=${person}`)
  return body.items.filter((o: { kind: string }) => o.kind === 'leave').length
}

/** Up to the last key: the question is open, all is typed. */
async function askToLeave(page: Page, userName: string): Promise<void> {
  await page.getByRole('button', { name: 'Start leaving' }).click()
  await page.locator('input[name=reason]').fill('said on the phone')
  await page.locator('input[name=typed]').fill(userName)
}

describe.skipIf(executable === null)('nothing is lost, and nothing done twice,', () => {
  it('when the session has ended: it is asked for again, and the act goes on', async () => {
    const leaver = await ownerWith(custody, 1)
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    await visited.goto(`leaver?person=${leaver.id}`)
    await askToLeave(page, leaver.userName)
    await visited.context.clearCookies()
    await page.keyboard.press('Enter')

    await page.getByRole('heading', { name: 'Your session has ended' }).waitFor()
    expect(await page.locator('input[name=reason]').inputValue()).toBe('said on the phone')
    await page.getByLabel('Client token').fill(custody.adminToken)
    await page.keyboard.press('Enter')
    await page.getByText(/^Complete: 1 of 1 proven dead/).waitFor()
    expect(await leaveOperations(leaver.id)).toBe(1)
    await visited.end()
  })

  it('when another person logs in instead: nothing of the first is sent', async () => {
    const leaver = await ownerWith(custody, 1)
    const { token } = await custody.createClient('auditor')
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    await visited.goto(`leaver?person=${leaver.id}`)
    await askToLeave(page, leaver.userName)
    await visited.context.clearCookies()
    await page.keyboard.press('Enter')
    await page.getByLabel('Client token').fill(token)
    await page.keyboard.press('Enter')

    await page.getByText('auditor', { exact: true }).waitFor()
    expect(await page.getByRole('button', { name: 'Start leaving' }).count()).toBe(0)
    expect(await leaveOperations(leaver.id)).toBe(0)
    await visited.end()
  })

  it('when the answer is lost on its way, as by a restart: it is done once', async () => {
    const leaver = await ownerWith(custody, 1)
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    let lost = 0
    await page.route('**/leave', async (route) => {
      await route.fetch()
      lost += 1
      return lost < 3 ? route.abort('connectionreset') : route.continue()
    })
    await visited.goto(`leaver?person=${leaver.id}`)
    await askToLeave(page, leaver.userName)
    await page.keyboard.press('Enter')

    await page.getByText(/^Complete: 1 of 1 proven dead/).waitFor()
    expect(lost).toBeGreaterThanOrEqual(2)
    expect(await leaveOperations(leaver.id)).toBe(1)
    await visited.end()
  })

  it('when the server is away for long: the sentence says so, and trying again does it', async () => {
    const leaver = await ownerWith(custody, 1)
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    await visited.goto(`leaver?person=${leaver.id}`)
    await askToLeave(page, leaver.userName)
    await visited.context.setOffline(true)
    await page.keyboard.press('Enter')
    await page.getByText('Nothing was lost here').first().waitFor()

    await visited.context.setOffline(false)
    await page.getByRole('button', { name: 'Try again: Start leaving' }).click()
    await page.getByText(/^Complete: 1 of 1 proven dead/).waitFor()
    expect(await leaveOperations(leaver.id)).toBe(1)
    await visited.end()
  })

  it('when the server fails: its sentence and the request are shown, and the question stays', async () => {
    const leaver = await ownerWith(custody, 1)
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    await page.route('**/leave', (route) =>
      route.fulfill({
        status: 500,
        contentType: 'application/problem+json',
        headers: { 'x-request-id': 'request-1' },
        body: JSON.stringify({ status: 500, code: 'internal', detail: 'It failed here.' }),
      }),
    )
    await visited.goto(`leaver?person=${leaver.id}`)
    await askToLeave(page, leaver.userName)
    await page.keyboard.press('Enter')

    await page.getByText('It failed here.').waitFor()
    await page.getByText('request-1').waitFor()
    expect(await page.locator('input[name=reason]').inputValue()).toBe('said on the phone')
    await visited.end()
  })

  it('when two people decide at once: the second is told that it is decided', async () => {
    const batch = await tripTheBrake(custody, 8)
    const second = await custody.createClient('security')
    const [one, two] = await Promise.all([
      visit(browser, custody, view, { expected: network }),
      visit(browser, custody, view, { expected: network, token: second.token }),
    ])
    for (const visited of [one, two]) {
      const { page } = visited
      await visited.goto(`held?batch=${batch}`)
      await page.getByRole('button', { name: 'Let none leave' }).click()
      await page.locator('input[name=reason]').fill('a mistake')
    }
    await one.page.keyboard.press('Enter')
    await one.page.getByText(/stay\.$/).waitFor()
    await two.page.keyboard.press('Enter')

    await two.page.locator('dialog [role=alert]').waitFor()
    const { body } = await custody.call('GET', `/api/v1/approvals/${batch}`)
    const by = body.items.map((i: { decidedBy: string | null }) => i.decidedBy)
    expect(new Set(by)).toEqual(new Set(['local administrator']))
    await Promise.all([one.end(), two.end()])
  })

  it('when somebody of the plan came back: that one is skipped, and said', async () => {
    const { visited, open, answer } = await decideAfter('active', true)

    await answer.getByText(/let through\. 1 skipped: returned already\./).waitFor()
    const { body } = await custody.call('GET', `/api/v1/owners/${open[0].subject}`)
    expect([body.active, body.heldBy]).toEqual([true, null])
    await visited.end()
  })

  it('when the plan is no longer what was shown: the difference is said, and decided anew', async () => {
    const { visited, batch, answer } = await decideAfter('displayName', 'Another Name')

    await answer.getByText('is not the one you saw').waitFor()
    const after = await custody.call('GET', `/api/v1/approvals/${batch}`)
    const outcomes = after.body.items.map((i: { outcome: string | null }) => i.outcome)
    expect(outcomes).not.toContain('approved')
    await visited.page.getByRole('button', { name: 'Try again: Let them leave' }).click()
    await visited.page.getByText(/leavings let through/).waitFor()
    await visited.end()
  })

  /** Asks to let everybody go, changes one of them, and only then answers. */
  async function decideAfter(path: string, value: unknown) {
    const batch = await tripTheBrake(custody, 8)
    const visited = await visit(browser, custody, view, { expected: network })
    const { page } = visited
    await visited.goto(`held?batch=${batch}`)
    await page.getByRole('button', { name: /^Let all/ }).click()
    await page.locator('input[name=reason]').fill('HR said so')
    const { body } = await custody.call('GET', `/api/v1/approvals/${batch}`)
    const open = body.items.filter((i: { outcome: string | null }) => i.outcome === null)
    await page.locator('input[name=typed]').fill(String(open.length))
    await custody.call('PATCH', `/scim/v2/Users/${open[0].subject}`, {
      schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
      Operations: [{ op: 'replace', path, value }],
    })
    await page.locator('dialog button[type=submit]').click()
    return { visited, batch, open, answer: page }
  }
})

describe.skipIf(executable === null)('a restored database', () => {
  it('is said on every screen, and released by typing its name, with a reason', async () => {
    await custody.running.engine.life.store.commit([
      {
        type: 'brakeEngaged',
        brake: {
          tenant: null,
          name: 'restored',
          subject: '',
          since: custody.running.engine.life.clock.now(),
          facts: { reason: 'backupRestored' },
        },
      },
    ])
    const visited = await visit(browser, custody, views[1]!, { bypassCSP: true })
    const { page } = visited
    await visited.goto('accounts')
    await page.getByText('The database is older than what the providers hold').waitFor()
    await visited.goto('approvals')
    expect(await accessibility(page)).toEqual([])
    await page.getByRole('button', { name: 'Release' }).click()
    await page.locator('input[name=reason]').fill('looked through')
    await page.locator('input[name=typed]').fill('restored')
    await page.locator('dialog button[type=submit]').click()
    await page.getByText('is released').waitFor()
    expect((await custody.call('GET', '/api/v1/brakes')).body.items).not.toContainEqual(
      expect.objectContaining({ name: 'restored' }),
    )
    await visited.end()
  })
})
