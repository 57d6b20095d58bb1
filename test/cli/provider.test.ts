import { afterEach, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

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
  const ended = await runCli(args, {
    env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'cst_x_y' },
    cwd: '/',
  })
  return { ...ended, seen: server.seen.map((s) => `${s.method} ${s.url}`) }
}

const gate = { state: 'resting', restsUntil: '2026-11-22T09:00:00.000Z', waiting: 0 }
const aws = {
  name: 'aws-prod',
  type: 'aws-iam',
  role: 'provider',
  kinds: [{ kind: 'access-key' }, { kind: 'federated-role' }],
  can: { check: true, discover: true, suspend: false },
  gate,
}
const files = { ...aws, name: 'files', type: 'file', role: 'sink', kinds: [], can: {}, gate: null }
const list = {
  'GET /api/v1/providers': () => ({ body: { items: [aws, files], cursor: null } }),
}
const good = { name: 'credentials', state: 'ok', message: 'They are those of x.', remedy: null }
const bad = {
  name: 'iam:CreateUser',
  state: 'failed',
  message: 'Not allowed\u001b[31m.',
  remedy: 'Grant it.',
}
const answer = (
  of: Pick<typeof aws, 'name' | 'type' | 'role'>,
  findings: readonly object[],
  leastPolicy: string | null = null,
) => {
  const state = findings.includes(bad) ? 'failed' : 'ok'
  const { name, type, role } = of
  return () => ({ body: { name, type, role, state, findings, leastPolicy } })
}
const checks = {
  ...list,
  'POST /api/v1/providers/aws-prod/check': answer(aws, [good, bad], '{"Version":"2012-10-17"}'),
  'POST /api/v1/providers/files/check': answer(files, [good]),
}

describe('provider', () => {
  it('lists providers and sinks with what they issue and how calls fare', async () => {
    const { code, stdout } = await run(['provider', 'list'], list)

    expect(code).toBe(0)
    expect(stdout).toMatch(/aws-prod +aws-iam +provider +access-key federated-role +resting/)
    expect(stdout).toMatch(/check discover\n/)
    expect(stdout).toMatch(/files +file +sink/)
  })

  it('checks all when none is named, and ends with 8 when one failed', async () => {
    const { code, stdout, stderr, seen } = await run(['provider', 'check'], checks)

    expect(code).toBe(8)
    expect(seen.toSorted()).toEqual([
      'GET /api/v1/providers?limit=200',
      'POST /api/v1/providers/aws-prod/check?role=provider',
      'POST /api/v1/providers/files/check?role=sink',
    ])
    expect(stdout).toMatch(/failed +iam:CreateUser +Not allowed.*\n +→ Grant it\./)
    expect(stdout).not.toContain('\u001b[31m')
    expect(stderr).toBe('Failed: aws-prod.\n')
  })

  it('checks the one named, the sink of that name when asked', async () => {
    const { code, stdout, seen } = await run(['provider', 'check', 'files', '--sink'], checks)

    expect(code).toBe(0)
    expect(seen).toEqual(['POST /api/v1/providers/files/check?role=sink'])
    expect(stdout).toContain('They are those of x.')
  })

  it('prints the least policy alone, to be piped to where it is applied', async () => {
    const { code, stdout, stderr } = await run(
      ['provider', 'check', 'aws-prod', '--policy'],
      checks,
    )

    expect(code).toBe(8)
    expect(stdout).toBe('{"Version":"2012-10-17"}\n')
    expect(stderr).toContain('iam:CreateUser: Not allowed')
  })

  it('prints one report as JSON, and all of them as a list', async () => {
    const one = await run(['provider', 'check', 'files', '--json'], checks)
    await server?.close()
    const all = await run(['provider', 'check', '--json'], checks)

    expect(JSON.parse(one.stdout)).toMatchObject({ name: 'files', state: 'ok' })
    expect(JSON.parse(all.stdout)).toMatchObject([{ name: 'aws-prod' }, { name: 'files' }])
    expect([one.code, all.code]).toEqual([0, 8])
  })
})
