import { createHash } from 'node:crypto'
import type { FastifyInstance } from 'fastify'

/** As long as one of Custody's own. */
export const referenceToken = 'reference-'.repeat(7)

/** The least that a bearer token costs: one hash and one look into a map. */
export function requireBearer(app: FastifyInstance): void {
  const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')
  const known = new Map([[hashOf(referenceToken), 'admin']])
  app.addHook('onRequest', (request, reply, done) => {
    const [scheme, sent = ''] = request.headers.authorization?.split(' ') ?? []
    if (scheme === 'Bearer' && known.has(hashOf(sent))) done()
    else void reply.status(401).send()
  })
}
