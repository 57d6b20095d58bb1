// (D0, D2) The ceiling of a create: bearer token, JSON in, JSON out, with one insert in a group commit
// at synchronous=FULL (D2) or none (D0). No validation, no policy, no audit, no read back.
//   node write.ts <file | none>
import { randomUUID } from 'node:crypto'
import Database from 'better-sqlite3'
import fastify from 'fastify'
import { requireBearer } from './bearer.ts'

const [file] = process.argv.slice(2) as [string]
const app = fastify()
requireBearer(app)
app.addContentTypeParser('application/scim+json', { parseAs: 'string' }, (_request, body, done) =>
  done(null, JSON.parse(body as string)),
)
const save = file === 'none' ? () => Promise.resolve() : groupCommit(file)
app.post('/scim/v2/Users', async (request, reply) => {
  const sent = request.body as { readonly userName: string }
  const id = randomUUID()
  const text = JSON.stringify({ id, ...sent })
  await save(id, sent.userName, text)
  return reply.status(201).type('application/scim+json').send(text)
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('SIGTERM', () => process.exit(0))
process.stdout.write(`listening ${url}\n`)

function groupCommit(file: string) {
  const db = new Database(file)
  db.pragma('journal_mode = wal')
  db.pragma('synchronous = full')
  db.exec(`create table if not exists document (seq integer primary key, id text not null unique,
    user_name text not null unique collate nocase, doc text not null)`)
  const insert = db.prepare('insert into document (id, user_name, doc) values (?, ?, ?)')
  let queue: { readonly row: readonly string[]; readonly resolve: () => void }[] = []
  const flush = (): void => {
    const group = queue
    queue = []
    db.transaction(() => {
      for (const { row } of group) insert.run(...row)
    })()
    for (const { resolve } of group) resolve()
  }
  return (...row: readonly string[]): Promise<void> =>
    new Promise((resolve) => {
      if (queue.push({ row, resolve }) === 1) setImmediate(flush)
    })
}
