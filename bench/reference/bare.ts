// (A) Fastify and nothing else: what HTTP in this runtime costs.
import fastify from 'fastify'

const app = fastify()
const answer = JSON.stringify({ text: 'x'.repeat(1_700) })
app.get('/scim/v2/Users/:id', (_request, reply) => reply.type('application/scim+json').send(answer))
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('SIGTERM', () => process.exit(0))
process.stdout.write(`listening ${url}\n`)
