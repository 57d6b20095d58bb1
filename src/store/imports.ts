import { sql } from 'kysely'
import type { ServiceAccount } from '../domain/account.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import { normalise } from '../domain/text.ts'
import type { VendorCount } from './import-store.ts'
import { accountFromRow, personFromRow } from './entity-rows.ts'
import { arg, statement, type Query, type Sql } from './sql.ts'
import type { DocumentCodec } from './store.ts'

/** SQLite takes 32 766 values; a page of a discovery brings a few hundred. */
const namesMax = 500

function statements({ db }: Sql) {
  const resource = db.selectFrom('resource').selectAll().where('tenant', '=', arg('tenant'))
  const person = resource
    .where('type', '=', sql.lit('person'))
    .where(sql<boolean>`deleted_at is null`)
  return {
    person,
    atLogin: statement(
      person
        .where('user_name_norm', '>=', arg('from'))
        .where('user_name_norm', '<', arg('until'))
        .orderBy('user_name_norm')
        .limit(arg<number>('limit')),
    ),
    ofVendor: statement(
      resource
        .where(sql<boolean>`vendor is not null`)
        .where('vendor', '=', arg('vendor'))
        .where('id', '>', arg('after'))
        .orderBy('id')
        .limit(arg<number>('limit')),
    ),
    vendors: statement(
      db
        .selectFrom('resource')
        .select('vendor')
        .select(sql<number>`sum(case when status = 'retired' then 0 else 1 end)`.as('accounts'))
        .where('tenant', '=', arg('tenant'))
        .where(sql<boolean>`vendor is not null`)
        .where('vendor', '>', arg('after'))
        .groupBy('vendor')
        .orderBy('vendor')
        .limit(arg<number>('limit')),
    ),
  }
}

/** Who might own what was found, and what belongs to one vendor. */
export function importRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)

  return {
    async peopleNamed(query: Query, tenant: TenantId, names: readonly string[]) {
      const found = new Map<string, Person>()
      const distinct = [...new Set(names)]
      for (let at = 0; at < distinct.length; at += namesMax) {
        const chunk = distinct.slice(at, at + namesMax)
        const folded = [...new Set(chunk.map(normalise))]
        const reads = [
          s.person.where('user_name_norm', 'in', folded),
          s.person.where(sql<boolean>`email_norm is not null`).where('email_norm', 'in', folded),
          s.person.where('external_id', 'in', chunk),
        ]
        for (const read of reads) {
          for (const row of await query(statement(read), { tenant })) {
            const person = personFromRow(row, codec)
            found.set(person.id, person)
          }
        }
      }
      return [...found.values()]
    },
    async peopleAtLogin(query: Query, tenant: TenantId, login: string, limit: number) {
      const name = normalise(login)
      // `A` follows `@`: a range of the index instead of a pattern over all names.
      const args = { tenant, from: `${name}@`, until: `${name}A`, limit }
      return (await query(s.atLogin, args)).map((row) => personFromRow(row, codec))
    },
    async accountsOfVendor(
      query: Query,
      tenant: TenantId,
      vendor: string,
      after: string | null,
      limit: number,
    ): Promise<readonly ServiceAccount[]> {
      const rows = await query(s.ofVendor, { tenant, vendor, after: after ?? '', limit })
      return rows.map((row) => accountFromRow(row, codec))
    },
    async vendors(query: Query, tenant: TenantId, after: string | null, limit: number) {
      const rows = await query(s.vendors, { tenant, after: after ?? '', limit })
      return rows.map((row): VendorCount => ({
        vendor: row['vendor'] as string,
        accounts: Number(row['accounts']),
      }))
    },
  }
}
