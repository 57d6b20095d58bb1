import type { FastifyInstance } from 'fastify'

/**
 * Node does not count a connection that has sent nothing yet as idle: a client's spare one would hold
 * up a shutdown until `requestTimeout`. It gets this long, for its request may be on the way.
 */
const spareMs = 2_000
/** What a request in hand gets to be answered once we close: longer than a statement may run. */
const answerMs = 15_000
const lookMs = 50

/** Lets the requests in hand be answered before their connections are ended with the server. */
export function drainConnections(app: FastifyInstance): void {
  let inHand = 0
  app.addHook('onRequest', (_request, reply, done) => {
    inHand += 1
    // Once, whether it was answered in full or its client went away.
    reply.raw.once('close', () => (inHand -= 1))
    done()
  })
  app.addHook('preClose', (done) => {
    let waited = 0
    const look = setInterval(() => {
      waited += lookMs
      if (waited < (inHand === 0 ? spareMs : answerMs)) return
      app.server.closeAllConnections()
    }, lookMs)
    app.server.once('close', () => clearInterval(look))
    done()
  })
}
