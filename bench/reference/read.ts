// (B) The ceiling of a read: bearer token, one row by its id, the stored text as it is. No visibility,
// no ETag, no location, no request id.
//   node read.ts <file> <size>
import { existsSync } from 'node:fs'
import Database from 'better-sqlite3'
import fastify from 'fastify'
import { externalIdAt, idAt, ownerIndex, textAt, userNameAt } from '../fixtures.ts'
import { requireBearer } from './bearer.ts'

const [file, size] = process.argv.slice(2) as [string, string]
if (!existsSync(file)) build()
const db = new Database(file, { readonly: true })
db.pragma('cache_size = -65536')
db.pragma('mmap_size = 2147418112')
const byId = db.prepare<[string], { doc: string }>('select doc from document where id = ?')

const app = fastify()
requireBearer(app)
app.get<{ Params: { id: string } }>('/scim/v2/Users/:id', (request, reply) => {
  const row = byId.get(request.params.id)
  if (row === undefined) return reply.status(404).send()
  return reply.type('application/scim+json').send(row.doc)
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('SIGTERM', () => process.exit(0))
process.stdout.write(`listening ${url}\n`)

function build(): void {
  const db = new Database(file)
  db.pragma('journal_mode = wal')
  db.exec(`create table document (seq integer primary key, id text not null unique,
    user_name text not null collate nocase, external_id text, owner_id text, doc text not null)`)
  const insert = db.prepare('insert into document values (?, ?, ?, ?, ?, ?)')
  db.transaction(() => {
    for (let i = 0; i < Number(size); i++) {
      insert.run(i, idAt(i), userNameAt(i), externalIdAt(i), idAt(ownerIndex(i)), textAt(i))
    }
  })()
  db.exec('create unique index document_user_name on document (user_name)')
  db.exec('create index document_owner on document (owner_id)')
  db.close()
}
