import type { Browser, Download } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TestCustody } from '../support/custody.ts'
import { eventually, nhiUrn, startTestCustody } from '../support/custody.ts'
import { executable, launch, views, visit } from './support/browser.ts'
import { isWorking, ownerWith, tripTheBrake } from './support/company.ts'
import { pressOn, tabTo, typeInto } from './support/keyboard.ts'

let custody: TestCustody
let browser: Browser

beforeAll(async () => {
  if (executable === null) return
  custody = await startTestCustody({ sandboxes: true })
  browser = await launch()
})
afterAll(async () => {
  await browser?.close()
  await custody?.close()
})

describe.skipIf(executable === null).each(views)(
  'with the keyboard alone, $width px wide, $scheme',
  (view) => {
    it('somebody leaves: impact, leaving, every key proven dead, the report, and undone', async () => {
      const displayName = `Lea Vare ${view.width} ${view.scheme}`
      const leaver = await ownerWith(custody, 3, { displayName })
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('leaver')
      await page.keyboard.press('/')
      await page.keyboard.insertText(leaver.userName)
      await pressOn(page, page.getByRole('link', { name: displayName }))
      await page.getByText('3 accounts with 3 credentials: 3 disabled at once.').waitFor()

      await pressOn(page, page.getByRole('button', { name: 'Start leaving' }))
      await typeInto(page, page.locator('input[name=typed]'), leaver.userName)
      await page.keyboard.press('Enter')
      await page.getByText(/^Complete: 3 of 3 proven dead in [\d.]+ s\.$/).waitFor()
      for (const id of leaver.accounts) {
        const { body } = await custody.call('GET', `/api/v1/accounts/${id}`)
        expect(body.status).toBe('disabled')
      }

      const downloading = page.waitForEvent('download')
      await pressOn(page, page.getByRole('button', { name: 'Report as JSON' }))
      const report = JSON.parse(await textOf(await downloading))
      expect([report.verdict, report.keys.length]).toEqual(['complete', 3])

      await pressOn(page, page.getByRole('button', { name: 'Undo everything' }))
      await page.getByText('3 accounts come back: 3 with the same key').waitFor()
      await typeInto(page, page.locator('input[name=reason]'), 'the wrong person')
      await page.keyboard.press('Enter')
      await page.getByText('If this person leaves now').waitFor()
      for (const id of leaver.accounts) await isWorking(custody, id)
      await visited.end()
    })

    it('a held batch: one person leaves, the others stay', async () => {
      const batch = await tripTheBrake(custody, 8)
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('')
      await pressOn(page, page.getByRole('link', { name: 'Look and decide' }).first())
      await pressOn(page, page.locator(`tbody a[href*="${batch}"]`))
      const picks = page.getByLabel('Pick this row')
      await pressOn(page, picks.first(), 'Space')
      await pressOn(page, page.getByRole('button', { name: 'Let them leave' }))
      await typeInto(page, page.locator('input[name=reason]'), 'HR said so')
      await typeInto(page, page.locator('input[name=typed]'), '1')
      await page.keyboard.press('Enter')
      await page.getByText('1 leaving let through.').waitFor()

      await pressOn(page, page.getByRole('button', { name: 'Let none leave' }))
      await typeInto(page, page.locator('input[name=reason]'), 'the directory is mad')
      await page.keyboard.press('Enter')
      await page.getByText(/stay\.$/).waitFor()
      const { body } = await custody.call('GET', `/api/v1/approvals/${batch}`)
      const outcomes = body.items.map((i: { outcome: string }) => i.outcome).toSorted()
      expect(outcomes.filter((o: string) => o === 'approved')).toHaveLength(1)
      expect(outcomes).not.toContain(null)
      await visited.end()
    })

    it('an account on offer is accepted', async () => {
      const giver = await ownerWith(custody, 1, { displayName: 'Gina Giver' })
      const taker = await ownerWith(custody, 0, { displayName: 'Tom Taker' })
      const account = giver.accounts[0]!
      await custody.call('POST', `/api/v1/accounts/${account}/transfer`, { owner: taker.id })
      const { body } = await custody.call('GET', `/api/v1/accounts/${account}`)
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('approvals')
      await pressOn(page, page.getByRole('button', { name: `Accept ${body.userName}` }))
      await page.getByText('Tom Taker answers for this account').waitFor()
      await pressOn(page, page.getByRole('button', { name: 'Accept', exact: true }))
      await page.getByText(`${body.userName}: accepted.`).waitFor()

      const after = await custody.call('GET', `/scim/v2/Users/${account}`)
      expect(after.body[nhiUrn].owner.value).toBe(taker.id)
      await visited.end()
    })

    it('what is stuck says why, and goes on when it is told to', async () => {
      const operation = await stuckRotation()
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto(`operations/${operation.id}`)
      await page.getByText(operation.failure.message.slice(0, 40)).first().waitFor()
      await pressOn(page, page.getByRole('button', { name: 'Go on now' }))
      await pressOn(page, page.locator('dialog').getByRole('button', { name: 'Go on now' }))
      await page.getByText('It goes on.').waitFor()
      const { body } = await custody.call('GET', `/api/v1/audit?target=${operation.id}&limit=5`)
      expect(JSON.stringify(body.items)).toContain('operation.retried')
      await visited.end()
    })

    it('many accounts are found by a filter, exported, and disabled behind a plan', async () => {
      const name = `=bulk-${crypto.randomUUID()}`
      const { accounts } = await ownerWith(custody, 2, { nhi: { environment: name } })
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('accounts')
      await page.keyboard.press('/')
      await page.keyboard.insertText('environ')
      await page.keyboard.press('ArrowDown')
      await page.keyboard.press('Enter')
      await page.keyboard.insertText(`eq "${name}"`)
      await page.keyboard.press('Enter')
      await page.getByText('2 accounts shown').waitFor()
      const downloading = page.waitForEvent('download')
      await pressOn(page, page.getByRole('button', { name: 'Export CSV' }), 'Enter')
      const csv = await textOf(await downloading)
      expect(csv).toContain(`'${name}`)
      expect(csv.trim().split('\r\n')).toHaveLength(3)

      await pressOn(page, page.getByLabel('Pick all shown').locator('visible=true'), 'Space')
      await pressOn(page, page.getByRole('button', { name: 'Disable…' }))
      await typeInto(page, page.locator('dialog input[name=typed]'), '2')
      await page.keyboard.press('Enter')
      await page.getByText('2 of 2 done').waitFor()
      for (const id of accounts) {
        await eventually(
          () => custody.call('GET', `/api/v1/accounts/${id}`),
          ({ body }) => body.status === 'disabled',
        )
      }
      await visited.end()
    })

    it('the audit log is verified in the browser, and a proof of one entry taken away', async () => {
      await ownerWith(custody, 1)
      await custody.running.sequencer!.round()
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('audit')
      await page.locator('.log-verdict .status', { hasText: 'verified' }).waitFor()
      await pressOn(page, page.locator('tbody a').first())
      await pressOn(page, page.getByRole('button', { name: 'Verify this entry' }))
      await page.getByText('is in the signed log of').waitFor()
      const downloading = page.waitForEvent('download')
      await pressOn(page, page.getByRole('button', { name: 'Download proof' }))
      const proof = JSON.parse(await textOf(await downloading))
      expect(JSON.stringify(proof)).toContain('custody-proof/1')
      await visited.end()
    })

    it('what ends next is found on the map of the year, and certified', async () => {
      const ends = new Date(Date.now() + 3 * 86_400_000).toISOString()
      const { accounts } = await ownerWith(custody, 1, { nhi: { expiresAt: ends } })
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('expiry')
      await tabTo(page, page.locator('svg.heat rect[tabindex="0"]'))
      for (let i = 0; i < 3; i += 1) await page.keyboard.press('ArrowDown')
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: /^Ends on/ }).waitFor()
      const { body } = await custody.call('GET', `/api/v1/accounts/${accounts[0]}`)
      await pressOn(page, page.getByRole('link', { name: body.userName }))
      await page.getByRole('heading', { name: body.userName }).waitFor()
      await pressOn(page, page.getByRole('button', { name: 'Certify' }))
      await pressOn(page, page.locator('dialog button[type=submit]'))
      await page.getByText(/certify has begun/).waitFor()
      const after = await custody.call('GET', `/api/v1/accounts/${accounts[0]}`)
      expect(after.body.expiresAt > ends).toBe(true)
      await visited.end()
    })

    it('a directory that sends what cannot be read is seen, tried again and signed off', async () => {
      const name = `Entra ${crypto.randomUUID().slice(0, 8)}`
      const { id, token } = await custody.createClient('directory', {
        directory: 'default',
        name,
      })
      const body = { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], active: true }
      const refused = await custody.call('POST', '/scim/v2/Users', body, { token })
      expect(refused.status).toBe(400)
      const visited = await visit(browser, custody, view)
      const { page } = visited
      await visited.goto('scim-log')
      await page.getByText(name).first().waitFor()
      await pressOn(page, page.getByRole('link', { name: 'Failed' }))
      const row = page.locator('tbody tr', { hasText: name })
      await pressOn(page, row.getByRole('link').first())
      await pressOn(page, page.getByRole('button', { name: 'Dry run' }).first())
      await page
        .getByText(/userName/)
        .last()
        .waitFor()
      await pressOn(page, page.getByRole('button', { name: 'Sign off' }).first())
      await typeInto(page, page.locator('dialog input[name=reason]').last(), 'sent by a test')
      await page.keyboard.press('Enter')
      await eventually(
        () => custody.call('GET', '/api/v1/scim-requests/failed?state=signedOff'),
        ({ body: { items } }) => items.some((i: { client: string }) => i.client === id),
      )
      await visited.end()
    })
  },
)

/** A key that the journal does not know stands on our user: Custody asks instead of acting. */
async function stuckRotation(): Promise<{ id: string; failure: { message: string } }> {
  const name = `stuck-${crypto.randomUUID().slice(0, 8)}`
  const owner = await custody.createPerson(`${name}@example.com`)
  const credentials = [{ provider: 'aws-prod', kind: 'access-key', deliverTo: `files:${name}/key` }]
  const reply = await custody.requestAccount(name, owner, { credentials })
  await isWorking(custody, reply.body.id)
  const { body } = await custody.call('GET', `/api/v1/accounts/${reply.body.id}`)
  const credential = body.credentials[0].id
  const { world } = custody.aws!
  const input = { UserName: JSON.parse(body.principals[0].external).userName }
  const as = { accessKeyId: world.admin.accessKeyId, region: 'us-east-1' }
  world.call({ service: 'iam', operation: 'CreateAccessKey', input, ...as })
  await custody.call('POST', `/api/v1/credentials/${credential}/rotate`)
  return eventually(
    async () =>
      (await custody.call('GET', `/api/v1/operations?subject=${credential}`)).body.items[0],
    (operation) => operation?.status === 'needsOperator',
  )
}

async function textOf(download: Download): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
