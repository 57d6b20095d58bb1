import { sql } from 'kysely'
import type { DirectoryMove, Moved } from '../domain/directory-move.ts'
import type { TenantId } from '../domain/ids.ts'
import { groupFromRow } from './groups.ts'
import { json, mapping } from './mapping.ts'
import type { MoveChange } from './move-store.ts'
import { personFromRow } from './entity-rows.ts'
import {
  arg,
  first,
  gaps,
  run,
  statement,
  type Query,
  type Refusal,
  type Sql,
  type Steps,
} from './sql.ts'
import type { DocumentCodec } from './store.ts'

type Work = () => Steps<Refusal | null>
type Of<T extends MoveChange['type']> = Extract<MoveChange, { type: T }>

const moves = mapping<DirectoryMove>({
  tenant: 'tenant',
  id: 'id',
  from: 'from_directory',
  to: 'to_directory',
  match: 'match_key',
  status: 'status',
  stage: 'stage',
  after: 'after',
  facts: json('facts'),
  openedAt: 'opened_at',
  openedBy: 'opened_by',
  finishedAt: 'finished_at',
})

const movedOnes = mapping<Moved>({
  tenant: 'tenant',
  move: 'move',
  type: 'type',
  subject: 'subject',
  key: 'match_key',
  state: 'state',
  twin: 'twin',
  oldWordAt: 'old_word_at',
})

function statements({ db, dialect }: Sql) {
  const given = dialect.json.elements(dialect.json.document(sql`${arg('except')}`), [], 'e')
  const idsGiven = sql`select ${given.plain('text')} from ${given.from}`
  const move = db.selectFrom('directory_move').selectAll().where('tenant', '=', arg('tenant'))
  const moved = db
    .selectFrom('moved')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('move', '=', arg('move'))
  const ofOne = db
    .updateTable('moved')
    .where('tenant', '=', arg('tenant'))
    .where('move', '=', arg('move'))
    .where('subject', '=', arg('subject'))
  const paged = { after: arg('after'), limit: arg<number>('limit') }
  return {
    insert: statement(db.insertInto('directory_move').values(gaps(moves.columns))),
    advance: statement(
      db
        .updateTable('directory_move')
        .set(gaps(['status', 'stage', 'after', 'facts', 'finished_at']))
        .where('tenant', '=', arg('tenant'))
        .where('id', '=', arg('id')),
    ),
    one: statement(move.where('id', '=', arg('id'))),
    open: statement(move.where('status', '=', 'open')),
    all: statement(move.orderBy('id', 'desc').limit(100)),
    insertMoved: statement(db.insertInto('moved').values(gaps(movedOnes.columns))),
    confirm: statement(ofOne.set({ state: 'confirmed' }).where('state', '=', 'waiting')),
    oldWord: statement(ofOne.set({ old_word_at: arg('at') })),
    movedOne: statement(moved.where('subject', '=', arg('subject'))),
    byKey: statement(moved.where('match_key', '=', arg('key')).where('state', '=', 'waiting')),
    movedAfter: statement(
      moved.where('subject', '>', paged.after).orderBy('subject').limit(paged.limit),
    ),
    people: statement(
      db
        .selectFrom('resource')
        .selectAll()
        .where('tenant', '=', arg('tenant'))
        .where('type', '=', sql.lit('person'))
        .where('directory', '=', arg('directory'))
        .where(sql<boolean>`deleted_at is null`)
        .where('id', '>', paged.after)
        .orderBy('id')
        .limit(paged.limit),
    ),
    groups: statement(
      db
        .selectFrom('grp')
        .selectAll()
        .where('tenant', '=', arg('tenant'))
        .where('directory', '=', arg('directory'))
        .where('deleted_at', 'is', null)
        .where('id', '>', paged.after)
        .orderBy('id')
        .limit(paged.limit),
    ),
    // One statement each: in between, a group of one directory would have members of another, who
    // do not count, and might be taken for empty. 5 000 people take 40 ms, once.
    relabelPeople: statement(
      db
        .updateTable('resource')
        .set({
          directory: arg('to'),
          version: sql<number>`version + 1`,
          updated_at: arg('at'),
          modified_at: arg('at'),
        })
        .where('tenant', '=', arg('tenant'))
        .where('type', '=', sql.lit('person'))
        .where('directory', '=', arg('from')),
    ),
    relabelGroups: statement(
      db
        .updateTable('grp')
        .set({ directory: arg('to'), version: sql<number>`version + 1`, updated_at: arg('at') })
        .where('tenant', '=', arg('tenant'))
        .where('directory', '=', arg('from'))
        .where(sql<boolean>`id not in (${idsGiven})`),
    ),
  }
}

/** People and groups who change directories. */
export function moveRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)

  return {
    opened({ move, except }: Of<'moveOpened'>): Work {
      const { tenant, from, to, openedAt: at } = move
      return function* opened() {
        const other = yield* first(s.open, { tenant })
        if (other !== null) return { reason: 'busy', with: other['id'] as string }
        yield* run(s.insert, moves.toRow(move))
        yield* run(s.relabelGroups, { tenant, from, to, at, except: JSON.stringify(except) })
        yield* run(s.relabelPeople, { tenant, from, to, at })
        return null
      }
    },
    moved({ moved }: Of<'moved'>): Work {
      const rows = moved.map((one) => movedOnes.toRow(one))
      return function* insert() {
        for (const row of rows) yield* run(s.insertMoved, row)
        return null
      }
    },
    advanced({ move, from }: Of<'moveAdvanced'>): Work {
      return function* advanced() {
        const now = yield* first(s.one, { tenant: move.tenant, id: move.id })
        const stands = now?.['stage'] === from.stage && now['after'] === from.after
        if (!stands) return { reason: 'version', with: move.id }
        yield* run(s.advance, moves.toRow(move))
        return null
      }
    },
    confirmed({ tenant, move, subject }: Of<'movedConfirmed'>): Work {
      return function* confirmed() {
        yield* run(s.confirm, { tenant, move, subject })
        return null
      }
    },
    oldWord({ tenant, move, subject, at }: Of<'movedOldWord'>): Work {
      return function* oldWord() {
        yield* run(s.oldWord, { tenant, move, subject, at })
        return null
      }
    },
    async one(query: Query, tenant: TenantId, id: string) {
      const [row] = await query(s.one, { tenant, id })
      return row ? moves.fromRow(row) : null
    },
    async open(query: Query, tenant: TenantId) {
      const [row] = await query(s.open, { tenant }, 'steady')
      return row ? moves.fromRow(row) : null
    },
    async all(query: Query, tenant: TenantId) {
      return (await query(s.all, { tenant })).map((row) => moves.fromRow(row))
    },
    async movedOne(query: Query, tenant: TenantId, move: string, subject: string) {
      const [row] = await query(s.movedOne, { tenant, move, subject })
      return row ? movedOnes.fromRow(row) : null
    },
    async byKey(query: Query, tenant: TenantId, move: string, key: string) {
      const [row] = await query(s.byKey, { tenant, move, key })
      return row ? movedOnes.fromRow(row) : null
    },
    async movedAfter(
      query: Query,
      tenant: TenantId,
      move: string,
      after: string | null,
      limit: number,
    ) {
      const rows = await query(s.movedAfter, { tenant, move, after: after ?? '', limit })
      return rows.map((row) => movedOnes.fromRow(row))
    },
    async people(
      query: Query,
      tenant: TenantId,
      directory: string,
      after: string | null,
      limit: number,
    ) {
      const rows = await query(s.people, { tenant, directory, after: after ?? '', limit })
      return rows.map((row) => personFromRow(row, codec))
    },
    async groups(
      query: Query,
      tenant: TenantId,
      directory: string,
      after: string | null,
      limit: number,
    ) {
      const rows = await query(s.groups, { tenant, directory, after: after ?? '', limit })
      return rows.map((row) => groupFromRow(row, codec))
    },
  }
}
