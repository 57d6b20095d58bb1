import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { leafHash, type AuditRow } from '../../src/domain/audit.ts'
import { runCli } from '../support/run-cli.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { makeAudit } from '../support/entities.ts'
import { startTestCustody, type TestCustody } from '../support/custody.ts'
import { startServer } from './server.ts'

describe('custody audit', () => {
  let custody: TestCustody
  let cwd: string
  let key: string
  beforeAll(async () => {
    custody = await startTestCustody()
    cwd = await mkdtemp(path.join(tmpdir(), 'custody-cli-audit-'))
    const owner = await custody.createPerson('ada')
    await custody.requestAccount('robot', owner)
    await write(1_050)
    await write(50)
  })
  afterAll(async () => {
    await custody.close()
    await rm(cwd, { recursive: true, force: true })
  })

  const write = async (count: number): Promise<void> => {
    const { store } = custody.running.engine.life
    for (let left = count; left > 0; left -= 100) {
      const rows = Array.from({ length: Math.min(left, 100) }, () => makeAudit())
      await store.commit(rows.map((row) => ({ type: 'audit', row })))
    }
    await custody.running.sequencer!.round()
  }
  const run = async (line: string, options: { readonly home?: string | null } = {}) => {
    const home = options.home === undefined ? custody.home : options.home
    return runCli(line, {
      env: home === null ? {} : { CUSTODY_HOME: home },
      cwd,
    })
  }
  const file = (name: string): string => path.join(cwd, name)
  /** The export, with some of its lines changed, verified elsewhere with the pinned key. */
  const verifyChanged = async (change: (lines: string[]) => string[]) => {
    const lines = (await readFile(file('log.jsonl'), 'utf8')).split('\n')
    await writeFile(file('changed.jsonl'), change(lines).join('\n'))
    return run(`audit verify changed.jsonl --key ${key} --json`, { home: null })
  }

  it('exports the whole signed log, privately, and says by which key it can be verified', async () => {
    const { code, stderr } = await run('audit export --output log.jsonl')
    key = /public key (\S+)/.exec(stderr)?.[1] ?? ''

    expect(code).toBe(0)
    expect(key).toMatch(/^custody\/[0-9a-f]{16}\/default\+[0-9a-f]{8}\+\S{44}$/)
    expect((await stat(file('log.jsonl'))).mode & 0o777).toBe(0o600)
    const lines = (await readFile(file('log.jsonl'), 'utf8')).trimEnd().split('\n')
    expect(lines.filter((l) => l.startsWith('{"checkpoint"')).length).toBeGreaterThan(1)
    expect(lines.at(-1)).toMatch(/^\{"checkpoint"/)
  })

  it('verifies an export with nothing but the public key', async () => {
    await writeFile(file('audit.key'), `${key}\n`)
    for (const given of [key, 'audit.key']) {
      const { code, stdout, stderr } = await run(`audit verify log.jsonl --key ${given}`, {
        home: null,
      })
      expect(stderr).toContain(key.split('+')[1])
      expect(code).toBe(0)
      expect(stdout).toMatch(/^11\d\d entries verified\n$/)
    }
  })

  it('verifies the server, and its anchor', async () => {
    const { code, stdout, stderr } = await run('audit verify')

    expect(stderr).toContain('in keeping with the anchor of this home')
    expect(stdout).toMatch(/entries verified/)
    expect(code).toBe(0)
  })

  it('trusts no key that comes with what is to be verified', async () => {
    const { code, stderr } = await run('audit verify log.jsonl', { home: null })

    expect(code).toBe(2)
    expect(stderr).toContain('pass --key')
  })

  it.each<[string, (lines: string[]) => string[], object]>([
    [
      'a changed entry',
      (l) => l.with(6, l[6]!.replace('"at":"2', '"at":"3')),
      { index: 5, line: 7 },
    ],
    ['a deleted entry', (l) => l.toSpliced(6, 1), { index: 5, line: 7 }],
    ['a cut off line', (l) => [...l.slice(0, 8), l[8]!.slice(0, 40)], { index: 7, line: 9 }],
    ['a missing last newline', (l) => l.slice(0, -1), { ok: false }],
    [
      'an entry sealed anew',
      (l) => {
        const entry = JSON.parse(l[6]!) as { leaf: string; row: AuditRow; seq: number }
        const row = { ...entry.row, target: 'elsewhere' }
        return l.with(
          6,
          l[6]!.replace(entry.row.target, 'elsewhere').replace(entry.leaf, leafHash(row)),
        )
      },
      { index: 0 },
    ],
  ])('ends with 9 at %s, and names it', async (_, change, verdict) => {
    const { code, stdout } = await verifyChanged(change)

    expect(JSON.parse(stdout)).toMatchObject({ ok: false, ...verdict })
    expect(code).toBe(9)
  })

  it('takes bytes that are no UTF-8 for damage, wherever they read as before', async () => {
    const bytes = await readFile(file('log.jsonl'))
    bytes[bytes.indexOf('"actor"') + 20] = 0xff
    await writeFile(file('changed.jsonl'), bytes)

    expect((await run(`audit verify changed.jsonl --key ${key}`, { home: null })).code).toBe(9)
  })

  it('knows an older export from a current one by the anchor', async () => {
    await write(3)
    const { code, stderr } = await run(`audit verify log.jsonl --key ${key}`)

    expect(code).toBe(9)
    expect(stderr).toMatch(/NOT AS IT WAS SIGNED: entr.*: entries are missing: \d+ were anchored/)
    expect((await run(`audit verify log.jsonl --key ${key}`, { home: null })).code).toBe(0)
  })

  it('finds a row changed in the database, by its number', async () => {
    await run('audit export --output before.jsonl')
    const { store } = custody.running.engine.life
    const [target] = await store.read.auditFrom(defaultTenant, 17, 1)
    const tampered = await startTampered(custody.home, target!.row.id)
    try {
      const { code, stderr } = await run(`audit verify --server ${tampered.url} --key ${key}`)
      expect(stderr).toContain('NOT AS IT WAS SIGNED: entry 17')
      expect(code).toBe(9)
    } finally {
      await tampered.close()
    }
  })

  it.each(['facts', 'actor'])(
    'finds %s that are not even JSON any more, by their number',
    async (column) => {
      const database = new Database(path.join(custody.home, 'custody.db'))
      const { text } = database
        .prepare(`select ${column} as text from audit where seq = 7`)
        .get() as {
        text: string
      }
      const put = database.prepare(`update audit set ${column} = ? where seq = 7`)
      put.run('not json')
      const { code, stderr } = await run('audit verify')
      const shown = await custody.call('GET', '/api/v1/events?after=6&limit=1')
      put.run(text)
      database.close()

      expect(stderr).toMatch(/^NOT AS IT WAS SIGNED: entry 7 .*not the hash of its row/)
      expect(code).toBe(9)
      expect(shown).toMatchObject({
        status: 200,
        body: { items: [{ [column]: { unreadable: 'not json' } }] },
      })
    },
  )

  it('tails the latest events, and what is behind a place', async () => {
    const three = await run('audit tail --limit 3')
    expect(three.stdout.trimEnd().split('\n')).toHaveLength(3)
    const last = Number(three.stdout.trimEnd().split('\n').at(-1)!.split(' ')[0])
    const resumed = await run(`audit tail --after ${last - 1} --json`)
    const [first] = resumed.stdout.split('\n')
    expect(JSON.parse(first!)).toMatchObject({ seq: last, subject: {}, actor: {} })
    expect((await run('audit tail --after x')).code).toBe(2)
    expect((await run('audit tail --limit 0')).code).toBe(2)
  })
})

it('follows the feed from where it was, and says how to go on when the server is gone', async () => {
  const event = (seq: number) => ({
    seq,
    at: '2026-11-22T09:00:00.000Z',
    type: 'a.b',
    subject: { type: 'account', id: 'x' },
    actor: { name: 'evil\u001b[2J' },
  })
  const asked: string[] = []
  const server = await startServer({
    'GET /api/v1/events': ({ url }) => {
      asked.push(url.split('?')[1]!)
      if (asked.length === 3) return { status: 503, body: { detail: 'Shutting down.' } }
      return {
        body: { items: [event(4 + asked.length)], cursor: String(4 + asked.length), more: false },
      }
    },
  })
  const { code, stdout, stderr } = await runCli(
    `audit tail --follow --after 4 --server ${server.url}`,
    {
      env: { CUSTODY_TOKEN: 'x' },
      cwd: tmpdir(),
    },
  )
  await server.close()

  expect(asked).toEqual(['limit=200&after=4', 'limit=200&after=5', 'limit=200&after=6'])
  expect(stdout.split('\n')).toHaveLength(3)
  expect(stdout).not.toContain('\u001b')
  expect(stderr).toContain('custody audit tail --follow --after 6')
  expect(code).toBe(8)
})

/** A server in front of Custody that shows one row other than it is. */
async function startTampered(home: string, id: string) {
  const { url } = JSON.parse(await readFile(path.join(home, 'server.json'), 'utf8')) as {
    url: string
  }
  const { createServer } = await import('node:http')
  const server = createServer((request, response) => {
    void (async () => {
      const answer = await fetch(`${url}${request.url}`, {
        headers: { authorization: request.headers.authorization! },
      })
      const text = (await answer.text()).replaceAll(`"id":"${id}","at":"2`, `"id":"${id}","at":"1`)
      const audit = answer.headers.get('custody-audit-key')
      response.writeHead(answer.status, audit === null ? {} : { 'custody-audit-key': audit })
      response.end(text)
    })()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
