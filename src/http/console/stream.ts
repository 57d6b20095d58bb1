import type { ServerResponse } from 'node:http'
import type { FastifyPluginAsync } from 'fastify'
import { AppError, errors } from '../../domain/errors.ts'
import type { TenantId } from '../../domain/ids.ts'
import type { Caller } from '../../lifecycle/engine.ts'
import { eventView } from '../audit.ts'
import type { Authenticate } from '../auth.ts'
import { createAuthenticate } from '../auth.ts'
import type { HttpHost } from '../server.ts'

/** How soon a change shows: one indexed read per tenant that somebody watches. */
const lookMs = 400
const keepAliveMs = 15_000
/** A token that was revoked ends its streams this soon. */
const checkMs = 30_000
const pageMax = 200
/** Whoever was away for more than this many changes reads everything anew. */
const replayMax = 1_000
/** What a reader that does not read may have waiting before it is let go. */
const waitingBytesMax = 1 << 20
const streamsMax = 200
const streamsPerClientMax = 16

interface Subscriber {
  readonly caller: Caller
  readonly mayRead: boolean
  readonly to: ServerResponse
  seq: number
}

/**
 * `GET /api/v1/stream`: server-sent events, one per change of the log, for whoever watches
 * (https://html.spec.whatwg.org/multipage/server-sent-events.html). `hello` says where the log
 * stands, `changes` brings what happened since (only their number for those who may not read the
 * audit log), `reset` says that too much was missed. `Last-Event-ID` goes on where a lost connection
 * ended.
 */
export function streamRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host
  const watched = new Map<TenantId, Set<Subscriber>>()
  let looking: NodeJS.Timeout | null = null
  let isLooking = false

  const newestOf = async (tenant: TenantId): Promise<number> =>
    ((await store.read.auditHead(tenant))?.frontier.size ?? 0) - 1

  /** Almost all stand at the same place: what one is told was read for all. */
  const lookAt = async (tenant: TenantId, subscribers: Iterable<Subscriber>): Promise<void> => {
    const newest = await newestOf(tenant)
    const pages = new Map<number, Awaited<ReturnType<typeof store.read.auditFrom>>>()
    for (const subscriber of subscribers) {
      while (subscriber.seq < newest && !subscriber.to.destroyed) {
        const from = subscriber.seq + 1
        const found = pages.get(from) ?? (await store.read.auditFrom(tenant, from, pageMax))
        pages.set(from, found)
        if (found.length === 0) break
        subscriber.seq = found.at(-1)!.seq!
        const items = subscriber.mayRead ? found.map(eventView) : []
        tell(subscriber, 'changes', { count: found.length, items })
      }
    }
  }

  const look = async (): Promise<void> => {
    if (isLooking) return
    isLooking = true
    for (const [tenant, subscribers] of watched) {
      // A database that is away for a moment: the next look brings what was missed.
      await lookAt(tenant, subscribers).catch(() => undefined)
    }
    isLooking = false
  }

  const leave = (subscriber: Subscriber): void => {
    const { tenant } = subscriber.caller
    const others = watched.get(tenant)
    others?.delete(subscriber)
    if (others?.size === 0) watched.delete(tenant)
    if (watched.size === 0 && looking !== null) {
      clearInterval(looking)
      looking = null
    }
  }

  const join = (subscriber: Subscriber): void => {
    const { tenant } = subscriber.caller
    watched.set(tenant, (watched.get(tenant) ?? new Set()).add(subscriber))
    looking ??= setInterval(() => void look(), lookMs).unref()
  }

  const mayRead = (caller: Caller): boolean => {
    try {
      engine.authorise(caller, 'audit.read', { type: 'audit', id: 'any' })
      return true
    } catch {
      return false
    }
  }

  const refuseTooMany = (caller: Caller): void => {
    const all = [...watched.values()].flatMap((s) => [...s])
    const own = all.filter((s) => s.caller.client.id === caller.client.id)
    if (all.length >= streamsMax || own.length >= streamsPerClientMax) {
      throw errors.tooManyRequests({ seconds: 30 })
    }
  }

  return async (app) => {
    app.get('/stream', async (request, reply) => {
      const caller = await authenticate(request)
      const newest = await newestOf(caller.tenant)
      // From here to `join` nothing is awaited: two that come together are counted one by one.
      refuseTooMany(caller)
      const last = placeIn(request.headers['last-event-id'])
      const isKnown = Number.isInteger(last) && last <= newest && newest - last <= replayMax
      reply.hijack()
      const to = reply.raw
      // Whoever went away meanwhile never says so again, and would keep a place for ever.
      if (to.destroyed) return
      to.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-accel-buffering': 'no',
        'x-request-id': request.id,
      })
      const seq = isKnown ? last : newest
      const subscriber: Subscriber = { caller, mayRead: mayRead(caller), to, seq }
      const isReset = !isKnown && !Number.isNaN(last)
      tell(subscriber, isReset ? 'reset' : 'hello', { newest })
      join(subscriber)
      const alive = setInterval(() => to.write(': alive\n\n'), keepAliveMs).unref()
      const check = setInterval(() => {
        // Anew each time: the answer to this request's own authentication is remembered with it.
        createAuthenticate(host)(request).catch((error: unknown) => {
          if (error instanceof AppError && error.status === 401) to.end('event: over\ndata: {}\n\n')
        })
      }, checkMs).unref()
      to.once('close', () => {
        clearInterval(alive)
        clearInterval(check)
        leave(subscriber)
      })
    })

    // A stream never ends by itself; a shutdown would wait for it.
    app.addHook('preClose', (done) => {
      for (const subscribers of watched.values()) {
        for (const { to } of subscribers) to.end('retry: 1000\n\n')
      }
      done()
    })
  }
}

/** @returns the place after which a stream goes on; not a number where none, or no place, was said */
function placeIn(header: string | readonly string[] | undefined): number {
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : NaN
}

function tell({ to, seq }: Subscriber, event: string, data: object): void {
  if (to.writableLength > waitingBytesMax) return void to.destroy()
  to.write(`id: ${seq}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}
