import { afterEach, describe, expect, it } from 'vitest'
import type { Terminal } from '../../src/cli/terminal.ts'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

const accountId = '01890000-0000-7000-8000-00000000000a'
const personId = '01890000-0000-7000-8000-00000000000b'
const queued = { id: 'o1', kind: 'disable', status: 'queued', subject: accountId }

let server: Awaited<ReturnType<typeof startServer>> | null = null
afterEach(async () => {
  await server?.close()
  server = null
})

async function serve(routes: Readonly<Record<string, (seen: Seen) => Reply>>) {
  server = await startServer(routes)
  return server
}

async function run(line: string, change: Partial<Terminal> = {}) {
  return runCli(line, { env: { CUSTODY_SERVER: server!.url, CUSTODY_TOKEN: 't' }, ...change })
}

describe('what takes something away', () => {
  const used = new Date(Date.now() - 86_400_000).toISOString()
  const key = { id: 'c1', status: 'active', keyId: 'AKIA1', lastUsedAt: used, provider: 'aws' }
  const account = { id: accountId, userName: 'ci', status: 'active', credentials: [key] }
  const reading = {
    [`GET /api/v1/accounts/${accountId}`]: () => ({ body: account }),
    'GET /api/v1/credentials/c1': () => ({ body: key }),
    [`GET /api/v1/owners/${personId}`]: () => ({ body: { id: personId, userName: 'ada' } }),
    [`GET /api/v1/owners/${personId}/impact`]: () => ({
      body: {
        items: [{ account: accountId, userName: 'ci', decision: 'disable', credentials: [key] }],
      },
    }),
    'GET /api/v1/clients': () => ({ body: { items: [{ id: 'c1', name: 'okta' }] } }),
  }
  const answering = (answer: string) => ({
    isInteractive: true,
    ask: () => Promise.resolve(answer),
  })

  it.each([
    [`account retire ${accountId}`, `POST /api/v1/accounts/${accountId}/retire`, 'ci'],
    [`account disable ${accountId}`, `POST /api/v1/accounts/${accountId}/disable`, 'ci'],
    ['credential revoke c1', 'POST /api/v1/credentials/c1/revoke', 'AKIA1'],
    [`owner leave ${personId}`, `POST /api/v1/owners/${personId}/leave`, 'ada'],
    ['client revoke c1', 'DELETE /api/v1/clients/c1', 'okta'],
  ])('"%s" shows what it hits, and wants the name typed', async (line, route, name) => {
    const { seen } = await serve({ ...reading, [route]: () => ({ status: 202, body: queued }) })
    const changes = () => seen.filter(({ method }) => method !== 'GET').length

    const script = await run(line)
    const no = await run(line, answering('yes'))
    const before = changes()
    const yes = await run(line, answering(` ${name} `))

    expect([script.code, no.code, before]).toEqual([2, 1, 0])
    expect(script.stderr).toContain('--yes')
    expect(/WARNING: 1 credential of them used in the last/.test(no.stderr)).toBe(name !== 'okta')
    expect([yes.code, changes()]).toEqual([0, 1])
  })

  it('asks nothing where nothing stops working, and counts where a script says how many', async () => {
    const dead = { ...account, credentials: [{ ...key, status: 'disabled' }] }
    const { seen } = await serve({
      ...reading,
      [`GET /api/v1/accounts/${accountId}`]: () => ({ body: dead }),
      [`POST /api/v1/accounts/${accountId}/disable`]: () => ({ status: 202, body: queued }),
      [`POST /api/v1/owners/${personId}/leave`]: () => ({ status: 202, body: queued }),
    })

    expect((await run(`account disable ${accountId}`)).code).toBe(0)
    const wrong = await run(`owner leave ${personId} --yes --confirm-count 2`)
    expect([wrong.code, seen.filter(({ method }) => method === 'POST').length]).toEqual([5, 1])
    expect(wrong.stderr).toBe('This hits 1 account(s), not 2; nothing was done.\n')
    expect((await run(`owner leave ${personId} --yes --confirm-count 1`)).code).toBe(0)
  })
})
