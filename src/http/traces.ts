import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Span, Tracer } from '../domain/trace.ts'

/** Asked every few seconds by machines; their traces would bury all others. */
const untraced = new Set(['/livez', '/readyz', '/metrics'])

/**
 * A span for each request, named after its route's pattern and continuing the caller's trace. Neither
 * URL nor header enters it: a filter or an id may tell of a person.
 */
export function traceRequests(app: FastifyInstance, tracer: Tracer | null): void {
  if (tracer === null) return
  const spans = new WeakMap<FastifyRequest, Span>()
  app.addHook('onRequest', (request, _reply, done) => {
    const route = request.routeOptions.url ?? 'none'
    if (untraced.has(route)) return done()
    const parent = request.headers['traceparent']
    const facts = {
      'http.request.method': request.method,
      'http.route': route,
      'custody.request': request.id,
    }
    const start = { name: `${request.method} ${route}`, kind: 'server', facts } as const
    const span = tracer.start(typeof parent === 'string' ? { ...start, parent } : start)
    spans.set(request, span)
    span.run(done)
  })
  // A body that was read came by events of the socket, which belong to no request.
  app.addHook('preValidation', (request, _reply, done) => {
    const span = spans.get(request)
    if (span === undefined) done()
    else span.run(done)
  })
  app.addHook('onResponse', (request, reply, done) => {
    const status = reply.statusCode
    const facts = { 'http.response.status_code': status }
    spans.get(request)?.end(facts, status >= 500 ? String(status) : undefined)
    done()
  })
  app.addHook('onRequestAbort', (request, done) => {
    spans.get(request)?.end({}, 'aborted')
    done()
  })
}
