import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { errors } from '../../domain/errors.ts'
import type { HttpHost } from '../server.ts'
import { assetsPath, readSite, type Site } from './site.ts'

/** A report of a broken policy is short; what is longer is not one of a browser. */
const reportBytesMax = 16 * 1_024
/** Reports told of per minute: a page in a loop must not fill the log. */
const reportsMax = 10

interface OfAsset {
  Params: { version: string; '*': string }
}

/**
 * The console at `/console/`: one page, its modules, and the place where browsers report what the
 * page's policy refused. Everything it shows comes from the API, with the session of whoever looks.
 */
export async function consoleRoutes(host: HttpHost): Promise<FastifyPluginAsync> {
  let read: Site | null = null
  /** Read with the first request: most processes of an installation are never asked for it. */
  const site = (): Site => (read ??= readSite())

  const sendPage = (reply: FastifyReply, entry: string, title: string): FastifyReply => {
    const { html, policy } = site().page(entry, title)
    return guard(reply)
      .header('content-security-policy', policy)
      .type('text/html; charset=utf-8')
      .send(html)
  }
  const reported = atMost(reportsMax)

  return async (app) => {
    app.get('/', { config: { open: true } }, (request, reply) => {
      // Relative addresses of the page count from its folder.
      const [path = '', query] = request.url.split('?')
      if (path.endsWith('/')) return sendPage(reply, 'main.js', 'Custody')
      return reply.redirect(`/console/${query === undefined ? '' : `?${query}`}`, 308)
    })
    app.get('/api', { config: { open: true } }, (_request, reply) =>
      sendPage(reply, 'api.js', 'Custody API'),
    )
    app.get('/*', { config: { open: true } }, (_request, reply) =>
      sendPage(reply, 'main.js', 'Custody'),
    )
    app.get<OfAsset>('/assets/:version/*', { config: { open: true } }, (request, reply) => {
      const { assets, version } = site()
      const asset = assets.get(request.params['*'])
      if (asset === undefined || request.params.version !== version) {
        throw errors.noSuchRoute({ method: 'GET', path: `${assetsPath}/${request.params['*']}` })
      }
      const zips = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '')
      if (zips) void reply.header('content-encoding', 'gzip')
      return guard(reply)
        .header('vary', 'accept-encoding')
        .type(asset.type)
        .send(zips ? asset.gzip : asset.bytes)
    })
    // The address holds the version of the content: it never changes.
    app.addHook('onSend', (request, reply, payload, done) => {
      if (request.url.startsWith(assetsPath) && reply.statusCode === 200) {
        void reply.header('cache-control', 'public, max-age=31536000, immutable')
      }
      done(null, payload)
    })

    app.addContentTypeParser(
      ['application/csp-report', 'application/reports+json'],
      { parseAs: 'string', bodyLimit: reportBytesMax },
      (_request, body, done) => done(null, body),
    )
    app.post(
      '/csp-report',
      { config: { open: true }, bodyLimit: reportBytesMax },
      (request, reply) => {
        if (reported(host.clock.now())) noteReport(host, request)
        return reply.status(204).send()
      },
    )
  }
}

/**
 * Whoever types the bare address into a browser is led to the console; a client that asks for no
 * page is told that nothing is here, as it would be with a base address that lacks its end.
 */
export function frontDoor(app: FastifyInstance): void {
  app.get('/', { config: { open: true } }, (request, reply) => {
    if (!/\btext\/html\b/.test(request.headers.accept ?? '')) {
      throw errors.noSuchRoute({ method: 'GET', path: '/' })
    }
    return reply.header('vary', 'accept').redirect('/console/', 302)
  })
}

/** No other site may frame, read or open it with a handle on it. */
function guard(reply: FastifyReply): FastifyReply {
  return reply.headers({
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'x-frame-options': 'DENY',
    'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=()',
  })
}

/** Only which rule was broken: the rest of a report is whatever somebody sent. */
function noteReport({ log }: HttpHost, request: FastifyRequest): void {
  const body = typeof request.body === 'string' ? request.body : ''
  const rule = /"(?:violated|effective)-?[dD]irective"\s*:\s*"([a-z -]{1,40})/.exec(body)?.[1]
  log({
    level: 'warn',
    request: request.id,
    method: request.method,
    route: '/console/csp-report',
    status: 204,
    code: 'contentPolicyBroken',
    milliseconds: 0,
    error: new Error(`a browser refused a part of the console: ${rule ?? 'unknown rule'}`),
  })
}

function atMost(perMinute: number): (now: string) => boolean {
  let minute = ''
  let count = 0
  return (now) => {
    const current = now.slice(0, 16)
    if (current !== minute) [minute, count] = [current, 0]
    count += 1
    return count <= perMinute
  }
}
