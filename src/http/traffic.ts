import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Series } from './histogram.ts'
import { createHistogram } from './histogram.ts'
import type { Collector } from './metrics.ts'

const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])

/** Beyond this many, those whose client is gone are looked for. */
const openMax = 10_000

/** What served requests came to: rate, errors and duration, by the route's pattern. */
export interface Traffic {
  readonly collector: Collector
  /** Watches everything that is registered on `app`. */
  watch(app: FastifyInstance): void
}

export function createTraffic(): Traffic {
  const seconds = createHistogram(
    {
      name: 'custody_http_request_seconds',
      help: 'How long answers took, in seconds, by route pattern, method and class of status; its count is the number of requests.',
      labels: ['route', 'method', 'status'],
    },
    // A read takes 0.1 ms and a durable write some ms; 10 s is where clients give up.
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
  )
  /** Asked with every request: looked up by pattern and method, without a text being put together. */
  const known = new Map<string, Map<string, (Series | undefined)[]>>()
  const open = new Set<FastifyRequest>()

  const seriesOf = (request: FastifyRequest, reply: FastifyReply): Series => {
    const route = request.routeOptions.url ?? 'none'
    let byMethod = known.get(route)
    if (byMethod === undefined) known.set(route, (byMethod = new Map()))
    const method = methods.has(request.method) ? request.method : 'other'
    let byStatus = byMethod.get(method)
    if (byStatus === undefined) byMethod.set(method, (byStatus = []))
    const status = Math.floor(reply.statusCode / 100)
    return (byStatus[status] ??= seconds.series(route, method, `${status}xx`))
  }

  /** Whoever hangs up gets no answer; looking for them now and then spares each request a listener. */
  const forget = (): void => {
    for (const request of open) if (request.raw.socket.destroyed) open.delete(request)
  }

  return {
    watch(app) {
      app.addHook('onRequest', (request, _reply, done) => {
        if (open.size >= openMax) forget()
        open.add(request)
        done()
      })
      app.addHook('onResponse', (request, reply, done) => {
        open.delete(request)
        seriesOf(request, reply).observe(reply.elapsedTime / 1_000)
        done()
      })
    },
    collector: {
      name: 'http',
      metrics: [
        seconds.definition,
        {
          name: 'custody_http_requests_open',
          type: 'gauge',
          help: 'Requests that this process is answering.',
        },
      ],
      collect() {
        forget()
        return [...seconds.samples(), { name: 'custody_http_requests_open', value: open.size }]
      },
    },
  }
}
