import { afterEach, expect, describe, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

const id = '01890000-0000-7000-8000-00000000000f'
const finding = {
  id,
  kind: 'foreign',
  provider: 'aws-prod',
  subject: 'AKIAFOREIGN',
  keyId: 'AKIAFOREIGN',
  account: null,
  status: 'open',
  firstSeenAt: '2026-11-22T09:00:00.000Z',
  lastSeenAt: '2026-11-22T10:00:00.000Z',
  facts: { name: '/custody/deployer' },
}

let server: Awaited<ReturnType<typeof startServer>> | null = null
afterEach(async () => {
  await server?.close()
  server = null
})

async function run(
  args: readonly string[],
  routes: Readonly<Record<string, (seen: Seen) => Reply>>,
) {
  server = await startServer(routes)
  return {
    ...(await runCli(args, {
      env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'cst_x_y' },
      cwd: '/',
    })),
    seen: server.seen,
  }
}

describe('finding', () => {
  it('lists what is asked for', async () => {
    const { code, stdout, seen } = await run(
      ['finding', 'list', '--kind', 'foreign', '--status', 'open'],
      { 'GET /api/v1/findings': () => ({ body: { items: [finding], cursor: null } }) },
    )

    expect(code).toBe(0)
    expect(stdout).toContain('AKIAFOREIGN')
    const query = new URL(seen[0]!.url, 'http://x').searchParams
    expect([query.get('kind'), query.get('status'), query.get('provider')]).toEqual([
      'foreign',
      'open',
      null,
    ])
  })

  it('shows one with what was seen', async () => {
    const { code, stdout } = await run(['finding', 'show', id], {
      [`GET /api/v1/findings/${id}`]: () => ({ body: finding }),
    })

    expect(code).toBe(0)
    expect(stdout).toContain('/custody/deployer')
  })

  it.each([
    ['adopt', /the credential's scopes are what the provider shows/],
    ['revert', /is being reverted: custody operation show op-1/],
  ])('asks the server to %s one, with a reason', async (verb, said) => {
    const route = `POST /api/v1/findings/${id}/${verb}`
    const { code, stderr, seen } = await run(['finding', verb, id, '--reason', 'because'], {
      [route]: () => ({ body: { ...finding, operation: 'op-1' } }),
    })

    expect(code).toBe(0)
    expect(stderr).toMatch(said)
    expect(seen[0]!.body).toEqual({ reason: 'because' })
  })

  it('accepts one with a reason and a date, and asks for both', async () => {
    const until = '2027-01-31T00:00:00Z'
    const args = ['finding', 'accept', id, '--until', until]
    const route = `POST /api/v1/findings/${id}/accept`
    const answer = { [route]: () => ({ body: { ...finding, status: 'accepted' } }) }

    const without = await run(args, answer)
    await server?.close()
    const accepted = await run([...args, '--reason', 'known'], answer)

    expect(without).toMatchObject({ code: 2, stdout: '', seen: [] })
    expect(accepted.code).toBe(0)
    expect(accepted.seen.map((s) => s.body)).toEqual([{ reason: 'known', until }])
    expect(accepted.stderr).toContain('accepted until')
  })
})
