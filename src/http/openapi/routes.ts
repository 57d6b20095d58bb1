import { gzipSync } from 'node:zlib'
import type { FastifyPluginAsync } from 'fastify'
import { openApiDocument } from './document.ts'

/** `GET /openapi.json`: everything that is served, for clients and for those who write them; `/docs/` to read it. */
export function openApiRoutes(version: string): FastifyPluginAsync {
  let made: { readonly text: string; readonly gzip: Buffer } | null = null
  /** Made with the first request: most processes are never asked for it. */
  const document = () => {
    if (made === null) {
      const text = JSON.stringify(openApiDocument(version))
      made = { text, gzip: gzipSync(text) }
    }
    return made
  }

  return async (app) => {
    app.get('/openapi.json', { config: { open: true } }, (request, reply) => {
      const { text, gzip } = document()
      const zips = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
      if (zips) void reply.header('content-encoding', 'gzip')
      return reply
        .header('vary', 'accept-encoding')
        .type('application/json')
        .send(zips ? gzip : text)
    })
    /** Where people look for it; the page is an entry of the console's files. */
    app.get('/docs', { config: { open: true } }, (_request, reply) =>
      reply.redirect('/console/api', 308),
    )
  }
}
