import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import type { Day, Scene } from './day.ts'
import { inDatabase } from './day.ts'
import { password, role } from './server.ts'

const lastsMs = 6_000
/** Of a worker; whoever stands still for longer finds its work in other hands. */
const beyondLeaseMs = 65_000

const away = /cannot be reached|shutting down|starting|does not answer/

/** Ends the server in one of three ways, and starts it on the same files. */
const ended = (name: string, signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Day => ({
  name,
  reason: away,
  async trouble({ server }) {
    await server.end(signal)
    await sleep(lastsMs)
    await server.start()
  },
})

const endSessions = `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${role}'`

const outOfConnections: Day = {
  name: 'out of connections',
  reason: /no connection left/,
  async trouble({ server }) {
    const held: Client[] = []
    // Its own come back while the others take theirs: the seats are taken in rounds.
    for (let round = 0; round < 4; round++) {
      await server.administer(endSessions)
      for (;;) {
        const client = new Client({ connectionString: ofRole(server.superuserUrl(), 'greedy') })
        client.on('error', () => undefined)
        const isIn = await client.connect().then(
          () => true,
          () => false,
        )
        if (!isIn) break
        held.push(client)
      }
    }
    await sleep(lastsMs)
    for (const client of held) await client.end()
  },
}

const readOnly: Day = {
  name: 'read-only',
  reason: /read-only/,
  async trouble({ server }) {
    await server.administer('alter database days set default_transaction_read_only = on')
    await server.administer(endSessions)
    await sleep(lastsMs)
    await server.administer('alter database days reset default_transaction_read_only')
    await server.administer(endSessions)
  },
}

const slow: Day = {
  name: 'slow: 10 s for each answer',
  reason: /does not answer|too slow|cannot be reached/,
  async trouble({ server }) {
    server.delayMs = 10_000
    await sleep(20_000)
    server.delayMs = 0
  },
}

const locked: Day = {
  name: "somebody else's lock on a table",
  reason: /held up by a lock/,
  async trouble(scene) {
    const url = new URL(scene.server.superuserUrl())
    url.pathname = '/days'
    const client = new Client({ connectionString: url.href })
    await client.connect()
    await client.query('begin; lock table resource in access exclusive mode')
    await sleep(10_000)
    await client.query('rollback')
    await client.end()
  },
}

const terminated: Day = {
  name: 'sessions ended by an administrator',
  reason: null,
  async trouble({ server }) {
    for (let i = 0; i < 12; i++) {
      await server.administer(endSessions)
      await sleep(300)
    }
  },
}

const backendKilled: Day = {
  name: 'a backend killed in the middle of a statement',
  reason: null,
  async trouble(scene) {
    const [found] = await inDatabase<{ pid: number }>(
      scene,
      `select pid from pg_stat_activity where usename = '${role}' order by (state = 'active') desc limit 1`,
    )
    process.kill(found!.pid, 'SIGKILL')
    await sleep(3_000)
  },
}

const passwordChanged: Day = {
  name: 'password changed',
  reason: /refuses the password/,
  async trouble({ server }) {
    await server.administer(`alter role ${role} password 'another'`)
    await server.administer(endSessions)
    await sleep(lastsMs)
    await server.administer(`alter role ${role} password '${password}'`)
  },
}

const silent: Day = {
  name: 'a network that swallows everything',
  reason: /does not answer|cannot be reached/,
  async trouble({ network }) {
    network.silent = true
    await sleep(10_000)
    network.silent = false
    // What was swallowed never comes: the connections are of no use.
  },
}

/** Every commit in turn, of whatever it is, for as long as a create and a rotation go through theirs. */
const commitsCut = (fate: 'cut before' | 'cut after'): Day => ({
  name: `every fifth commit ${fate} the server heard of it`,
  reason: null,
  async trouble({ network }) {
    let n = 0
    network.fate = (said) => {
      if (!/(^|\0|[^a-z])commit\0/.test(said)) return 'forward'
      return ++n % 5 === 0 ? fate : 'forward'
    }
    await sleep(2 * lastsMs)
    network.fate = () => 'forward'
    if (n < 20) throw new Error(`only ${n} commits were seen`)
  },
})

const paused: Day = {
  name: 'a replica paused longer than its lease, clocks four minutes apart',
  reason: null,
  async trouble({ others }: Scene) {
    const victim = others[0]!
    victim.child.kill('SIGSTOP')
    await sleep(beyondLeaseMs)
    victim.child.kill('SIGCONT')
    await sleep(2_000)
    if (victim.child.exitCode !== null) throw new Error('the paused replica ended')
  },
}

/** @param fill leaves no byte; free gives the space back */
export const diskFull = (disk: { fill(): void; free(): void }): Day => ({
  name: 'disk full',
  reason: /disk of the database is full|cannot be reached|starting/,
  async trouble({ server }) {
    disk.fill()
    await sleep(lastsMs)
    disk.free()
    // Without room for its own log the server may have ended: that is for whoever runs it.
    const isThere = await server.administer('select 1').then(
      () => true,
      () => false,
    )
    if (!isThere) {
      await server.end('SIGKILL').catch(() => undefined)
      await server.start()
    }
  },
})

export const days: readonly Day[] = [
  ended('restarted, fast', 'SIGINT'),
  ended('restarted, immediate', 'SIGQUIT'),
  ended('killed', 'SIGKILL'),
  backendKilled,
  outOfConnections,
  readOnly,
  slow,
  locked,
  terminated,
  passwordChanged,
  silent,
  commitsCut('cut before'),
  commitsCut('cut after'),
]
export const daysOfTwo: readonly Day[] = [paused]

function ofRole(url: string, user: string): string {
  const other = new URL(url)
  other.username = other.password = user
  other.pathname = '/postgres'
  return other.href
}

/** Waits for a replica that was told to end. */
export async function endReplica({ child }: Scene['replica']): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}
