import { sql } from 'kysely'
import type { Instant } from '../domain/time.ts'
import { mapping } from './mapping.ts'
import type { Sealed, SealedChange, SealedReads } from './sealed-store.ts'
import { arg, gaps, run, statement, type Query, type Refusal, type Sql, type Steps } from './sql.ts'

type Work = () => Steps<Refusal | null>

const rows = mapping<Sealed>({
  tenant: 'tenant',
  credential: 'credential',
  keyId: 'key_id',
  envelope: 'envelope',
  expiresAt: 'expires_at',
})

/** Secrets under seal; no list of the API reads here. */
export function sealedRoom({ db }: Sql) {
  const all = db.selectFrom('sealed').selectAll()
  const key = ['tenant', 'credential', 'key_id'] as const
  const s = {
    put: statement(
      db
        .insertInto('sealed')
        .values(gaps(rows.columns))
        .onConflict((c) => c.columns(key).doUpdateSet(gaps(['envelope', 'expires_at']))),
    ),
    drop: statement(
      db
        .deleteFrom('sealed')
        .where('tenant', '=', arg('tenant'))
        .where('credential', '=', arg('credential'))
        .where('key_id', '=', arg('key_id')),
    ),
    sweep: statement(db.deleteFrom('sealed').where('expires_at', '<', arg('before'))),
    one: statement(
      all
        .where('tenant', '=', arg('tenant'))
        .where('credential', '=', arg('credential'))
        .where('key_id', '=', arg('key_id')),
    ),
    page: statement(
      all
        .where(
          sql<boolean>`(tenant, credential, key_id) > (${arg('tenant')}, ${arg('credential')}, ${arg('key_id')})`,
        )
        .orderBy('tenant')
        .orderBy('credential')
        .orderBy('key_id')
        .limit(arg<number>('limit')),
    ),
  }
  const work = (of: (typeof s)[keyof typeof s], args: Parameters<typeof run>[1]): Work =>
    function* put() {
      yield* run(of, args)
      return null
    }

  return {
    put: (sealed: Sealed): Work => work(s.put, rows.toRow(sealed)),
    drop: ({ tenant, credential, keyId }: Extract<SealedChange, { type: 'unsealed' }>): Work =>
      work(s.drop, { tenant, credential, key_id: keyId }),
    sweep: (before: Instant): Work => work(s.sweep, { before }),
    async one(query: Query, ...[tenant, credential, keyId]: Parameters<SealedReads['sealed']>) {
      const [row] = await query(s.one, { tenant, credential, key_id: keyId })
      return row ? rows.fromRow(row) : null
    },
    async page(query: Query, after: Sealed | null, limit: number) {
      const from = { tenant: after?.tenant ?? '', credential: after?.credential ?? '' }
      const found = await query(s.page, { ...from, key_id: after?.keyId ?? '', limit })
      return found.map((row) => rows.fromRow(row))
    },
  }
}
