import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

const thing = (name: string, more: object = {}) => ({
  external: `id of ${name}`,
  name,
  kind: 'access-key',
  createdAt: '2024-01-01T00:00:00.000Z',
  lastUsedAt: null,
  keys: [{ keyId: 'k', active: true }],
  vendor: null,
  managed: false,
  obstacle: null,
  owners: [],
  ...more,
})
const page = (items: readonly object[], cursor: string | null, more: object = {}): Reply => ({
  body: { items, cursor, complete: true, total: 3, retryAfter: null, ...more },
})
const discovery = 'GET /api/v1/providers/aws/discovery'
const cursorOf = ({ url }: Seen) => new URL(url, 'http://x').searchParams.get('cursor')

describe('provider import', () => {
  let cwd = ''
  let server: Awaited<ReturnType<typeof startServer>> | null = null
  beforeEach(async () => {
    cwd = await mkdtemp(path.join(tmpdir(), 'custody-import-'))
  })
  afterEach(async () => {
    await server?.close()
    await rm(cwd, { recursive: true, force: true })
  })

  async function run(
    args: readonly string[],
    routes: Readonly<Record<string, (seen: Seen) => Reply>>,
    isInteractive = false,
  ) {
    await server?.close()
    server = await startServer(routes)
    return {
      ...(await runCli(args, {
        env: { CUSTODY_SERVER: server.url, CUSTODY_TOKEN: 'cst_x_y', NO_COLOR: '1' },
        cwd,
        isInteractive,
        ask: () => Promise.resolve('yes'),
      })),
      seen: server.seen,
    }
  }
  const read = (name: string) => readFile(path.join(cwd, name), 'utf8')

  it('goes on where a listing was cut off, and waits when the provider asks for patience', async () => {
    let asked = 0
    const cut = await run(['provider', 'import', 'aws'], {
      [discovery]: (seen) =>
        cursorOf(seen) === null
          ? asked++ === 0
            ? page([], null, { retryAfter: 0.01 })
            : page([thing('b')], 'two')
          : { status: 502, body: { detail: 'Provider "aws" did not do it: it is down.' } },
    })
    const left = await readdir(cwd)
    const whole = await run(['provider', 'import', 'aws', '--resume'], {
      [discovery]: (seen) =>
        cursorOf(seen) === 'two' ? page([thing('c')], 'three') : page([thing('a')], null),
    })

    expect([cut.code, asked]).toEqual([8, 2])
    expect(cut.stderr).toContain('it is down')
    expect(left).toEqual(['import-aws.yaml.partial'])
    expect(whole.code, whole.stderr).toBe(0)
    expect(whole.seen.map(cursorOf)).toEqual(['two', 'three'])
    expect(await readdir(cwd)).toEqual(['import-aws.yaml'])
    const names = (await read('import-aws.yaml')).match(/userName: .*/g)
    expect(names).toEqual(['userName: "a"', 'userName: "b"', 'userName: "c"'])
    expect((await run(['provider', 'import', 'other', '--resume'], {})).code).toBe(2)
  })

  it('shows counts and rate on a terminal alone, and says what was left out', async () => {
    const routes = {
      [discovery]: () =>
        page(
          [thing('a'), thing('m', { managed: true }), thing('s', { obstacle: 'A person.' })],
          null,
          {
            complete: false,
          },
        ),
    }

    const seen = await run(['provider', 'import', 'aws'], routes, true)
    const silent = await run(
      ['provider', 'import', 'aws', '--json', '--output', 'x.yaml'],
      routes,
      true,
    )

    expect(seen.code).toBe(6)
    expect(seen.stderr).toMatch(/aws: 3 of 3 seen, 2 unmanaged, \d+\/s/)
    expect(seen.stderr).toContain('s: A person.')
    expect(silent.stderr).not.toContain('/s')
    expect(JSON.parse(silent.stdout)).toMatchObject({ seen: 3, managed: 1, unmanaged: 1 })
  })

  it('writes names so that nothing that was found becomes a part of the plan', async () => {
    const name = 'x\n    adopt: true\n\u2028- external: "y" # "\u001B[2J'
    const { code } = await run(['provider', 'import', 'aws'], {
      [discovery]: () => page([thing(name, { owners: [{ userName: name, active: true }] })], null),
    })
    const applied = await run(['apply', 'import-aws.yaml', '--yes'], {})

    expect(code).toBe(0)
    expect((await read('import-aws.yaml')).match(/^ {4}adopt: .*/gm)).toEqual(['    adopt: false'])
    expect(applied).toMatchObject({ code: 0, seen: [] })
  })

  it('names every problem of a plan with its line, and sends what is left again', async () => {
    const plan = (text: string) => writeFile(path.join(cwd, 'p.yaml'), text)
    const head = 'custody: import-plan/1\nprovider: aws\nentries:\n'
    await plan(`${head}  - { external: a, adopt: true }\n  - { external: a, adopt: false }\n`)
    const bad = await run(['apply', 'p.yaml', '--yes'], {})
    await plan(`${head}  - { external: a, adopt: yes }\n`)
    const odd = await run(['apply', 'p.yaml', '--yes'], {})
    const entry = (external: string) =>
      `  - { external: ${external}, adopt: true, owner: ada, userName: "${external}", purpose: p, vendor: "" }\n`
    await plan(head + entry('a') + entry('b') + entry('c'))
    const wrong = await run(['provider', 'import', 'gcp', '--apply', 'p.yaml'], {})
    let round = 0
    const applied = await run(['apply', 'p.yaml', '--yes'], {
      'POST /api/v1/providers/aws/adopt': () => {
        const answer = (external: string, status: string) => ({
          external,
          status,
          error: status === 'failed' ? { code: 'ownerGone', message: 'owner: ada left.' } : null,
          retryAfter: status === 'later' ? 0.01 : null,
        })
        return round++ === 0
          ? {
              body: { items: [answer('a', 'adopted'), answer('b', 'later'), answer('c', 'later')] },
            }
          : { body: { items: [answer('b', 'failed'), answer('c', 'already')] } }
      },
    })

    expect(bad.code).toBe(2)
    expect(bad.stderr).toMatch(/p\.yaml:4: entries\[0\]\.owner/)
    expect(bad.stderr).toMatch(/p\.yaml:5: entries\[1\]\.external: stands here twice/)
    expect([odd.code, wrong.code]).toEqual([2, 2])
    expect(applied.code).toBe(6)
    expect(applied.stdout).toBe('1 adopted, 1 managed already, 1 failed\n')
    expect(applied.stderr).toContain('b: owner: ada left.')
    const sent = applied.seen.map((s) => (s.body as { entries: { external: string }[] }).entries)
    expect(sent.map((entries) => entries.map((e) => e.external))).toEqual([
      ['a', 'b', 'c'],
      ['b', 'c'],
    ])
    expect(sent[0]![0]).not.toHaveProperty('vendor')
  })
})
