import { sql } from 'kysely'
import type { Brake } from '../domain/brake.ts'
import { json, mapping } from './mapping.ts'
import { arg, gaps, run, statement, type Query, type Refusal, type Sql, type Steps } from './sql.ts'
import type { HoldChange } from './holds.ts'

type Work = () => Steps<Refusal | null>

const rows = mapping<Brake>({
  tenant: 'tenant',
  name: 'name',
  subject: 'subject',
  since: 'since',
  facts: json('facts'),
})

/** Of the whole installation; a key holds no null. */
const everywhere = ''

/** The brakes that are on: a handful of rows, asked before each act that one of them might stop. */
export function brakeRoom({ db }: Sql) {
  const s = {
    engage: statement(
      db
        .insertInto('brake')
        .values(gaps(rows.columns))
        .onConflict((conflict) =>
          conflict
            .columns(['tenant', 'name', 'subject'])
            .doUpdateSet((eb) => ({ facts: eb.ref('excluded.facts') })),
        ),
    ),
    release: statement(
      db
        .deleteFrom('brake')
        .where('tenant', '=', arg('tenant'))
        .where('name', '=', arg('name'))
        .where('subject', '=', arg('subject')),
    ),
    urgentDue: statement(
      db
        .updateTable('operation')
        .set({ run_at: arg('at'), due_at: arg('at') })
        .where('due_at', '>', arg('beyond'))
        // A rotation that has a date for the old keys ends those that a leaver knows.
        .where(
          sql<boolean>`(kind in ('leave', 'revoke', 'disable', 'retire')
            or (kind = 'rotate' and memo like '%"oldKeysUntil":"%'))`,
        )
        .where(sql<boolean>`status in ('queued', 'waiting')`),
    ),
    leases: statement(
      db
        .updateTable('operation')
        .set({ lease_until: arg('until'), due_at: arg('until') })
        .where('due_at', '>', arg('beyond'))
        .where('status', '=', sql.lit('running')),
    ),
    all: statement(
      db.selectFrom('brake').selectAll().orderBy('tenant').orderBy('name').orderBy('subject'),
    ),
  }
  return {
    engage(brake: Brake): Work {
      const row = { ...rows.toRow(brake), tenant: brake.tenant ?? everywhere }
      return function* engage() {
        yield* run(s.engage, row)
        return null
      }
    },
    release({ tenant, name, subject }: Extract<HoldChange, { type: 'brakeReleased' }>): Work {
      return function* release() {
        yield* run(s.release, { tenant: tenant ?? everywhere, name, subject })
        return null
      }
    },
    urgentDue({ at, until, beyond }: Extract<HoldChange, { type: 'urgentDue' }>): Work {
      return function* urgentDue() {
        yield* run(s.urgentDue, { at, beyond })
        yield* run(s.leases, { until, beyond })
        return null
      }
    },
    async all(query: Query): Promise<readonly Brake[]> {
      const found = await query(s.all, {}, 'steady')
      return found.map((row) => {
        const brake = rows.fromRow(row)
        return row['tenant'] === everywhere ? { ...brake, tenant: null } : brake
      })
    },
  }
}
