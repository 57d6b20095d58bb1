import { afterEach, describe, expect, it } from 'vitest'
import type { Terminal } from '../../src/cli/terminal.ts'
import { runCli } from '../support/run-cli.ts'
import { type Reply, type Seen, startServer } from './server.ts'

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

describe('lists', () => {
  it.each(['account list', 'account list --json'])(
    'are printed page by page, so that no more than one page is ever held: %s',
    async (line) => {
      const pages = 40
      let sent = 0
      let printed = 0
      const outstanding: number[] = []
      await serve({
        'GET /api/v1/accounts': ({ url }) => {
          outstanding.push(sent - printed)
          const page = Number(new URLSearchParams(url.split('?')[1]).get('cursor') ?? 0)
          const items = Array.from({ length: 200 }, (_, i) => ({
            id: `row-${page}-${i}`,
            // Filled after the first page only, and then wider than its title.
            environment: page === 0 ? null : 'production',
          }))
          sent += items.length
          return { body: { items, cursor: page + 1 < pages ? String(page + 1) : null } }
        },
      })
      let all = ''

      const { code } = await run(line, {
        stdout: (text) => {
          printed += text.match(/row-/g)?.length ?? 0
          all += text
        },
      })

      expect([code, printed, Math.max(...outstanding)]).toEqual([0, pages * 200, 0])
      expect(all.match(/production/g)).toHaveLength((pages - 1) * 200)
      expect(line.endsWith('--json') ? (JSON.parse(all) as unknown[]).length : 8_000).toBe(8_000)
    },
  )
})

describe('watching', () => {
  const watching = (states: readonly (readonly object[] | number)[]) => {
    const stop = new AbortController()
    let asked = 0
    const route = (): Reply => {
      const state = states[asked++]!
      if (asked === states.length) stop.abort()
      return typeof state === 'number'
        ? { status: state, body: { detail: 'Starting.' } }
        : { body: { items: state } }
    }
    return { route, interruption: () => stop.signal }
  }
  const [a, b] = [
    { id: 'a', status: 'active' },
    { id: 'b', status: 'active' },
  ]

  it('prints a line of JSON for each change, over a server that restarts, until Ctrl-C', async () => {
    const { route, interruption } = watching([[a, b], [a, b], 503, [{ ...a, status: 'disabled' }]])
    await serve({ 'GET /api/v1/accounts': route })

    const line = 'account list --watch --interval 0.001'
    const { code, stdout, stderr } = await run(line, { interruption })

    expect(code).toBe(130)
    expect(stderr).toBe('Starting. Trying again.\n')
    expect(stdout.trimEnd().split('\n')).toEqual([
      '{"change":"added","row":{"id":"a","status":"active"}}',
      '{"change":"added","row":{"id":"b","status":"active"}}',
      '{"change":"changed","row":{"id":"a","status":"disabled"}}',
      '{"change":"removed","row":{"id":"b","status":"active"}}',
    ])
  })

  it('draws a terminal anew only when something changed', async () => {
    const { route, interruption } = watching([[a], [a], [a, b]])
    await serve({ 'GET /api/v1/accounts': route })

    const line = 'account list --watch --interval 0.001'
    const { stdout } = await run(line, { interruption, columns: 80 })

    expect(stdout.split('\u001B[H\u001B[2J')).toHaveLength(3)
  })
})
