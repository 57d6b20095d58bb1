import { subscribe } from 'node:diagnostics_channel'
import type { FastifyInstance } from 'fastify'
import { afterEach } from 'vitest'
import { faultOf } from './described-answers.ts'

/*
 * Every answer that a server of ours gives while tests run is held against /openapi.json: a status or
 * a shape that is not described there fails the test that got it. Loaded by vitest.config.ts.
 */

// Files share a worker's globals, and the servers that an earlier one started may still answer.
const shared = globalThis as { custodyAnswers?: { readonly faults: string[] } }

if (shared.custodyAnswers === undefined) {
  const faults: string[] = []
  shared.custodyAnswers = { faults }
  subscribe('fastify.initialization', (message) => {
    watch((message as { fastify: FastifyInstance }).fastify, faults)
  })
}

afterEach(() => {
  const found = [...new Set(shared.custodyAnswers!.faults.splice(0))]
  if (found.length === 0) return
  throw new Error(`answers that /openapi.json does not describe:\n${found.slice(0, 8).join('\n')}`)
})

function watch(app: FastifyInstance, faults: string[]): void {
  // The sandboxes are servers of fastify, too.
  let isOurs = false
  app.addHook('onRoute', ({ url }) => {
    isOurs ||= url === '/scim/v2/Users'
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    // What is compressed was made once, from a text that tests read on its own.
    if (isOurs && !reply.hasHeader('content-encoding')) {
      try {
        const fault = faultOf({
          method: request.method,
          route: request.routeOptions.url ?? '',
          url: request.url,
          status: reply.statusCode,
          type: String(reply.getHeader('content-type') ?? '').split(';')[0]!,
          payload,
        })
        if (fault !== null) faults.push(fault)
      } catch (error) {
        // Thrown here it would become the answer.
        faults.push(`${request.method} ${request.url}: ${String(error)}`)
      }
    }
    done(null, payload)
  })
}
