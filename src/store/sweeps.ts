import { sql } from 'kysely'
import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { openStatuses } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { accountFromRow, credentialFromRow } from './resources.ts'
import { arg, statement, type Query, type Sql } from './sql.ts'
import type { DocumentCodec } from './store.ts'

const open = sql.raw(openStatuses.map((status) => `'${status}'`).join(', '))

function statements({ db, dialect }: Sql) {
  const after = arg('after')
  const limit = arg<number>('limit')
  // Literal, and spelt as in the partial indexes, or they would not be considered.
  const isOpen = sql<boolean>`a.status in ('provisioning', 'active', 'orphaned')`
  const accounts = db.selectFrom('resource as a').selectAll('a').limit(limit)
  // The orphans are looked for among all open accounts, in order of id.
  const walked = accounts.where('a.id', '>', after).orderBy('a.id')
  // The others are found by their date, which the planner would gladly forgo to spare a sort.
  const hidden = dialect.unindexed(sql.ref('a.id'))
  const dated = accounts.where(sql<boolean>`${hidden} > ${after}`).orderBy(hidden)
  const hiddenCredential = dialect.unindexed(sql.ref('c.id'))
  const credentials = db
    .selectFrom('credential as c')
    .innerJoin('resource as a', (join) =>
      join.onRef('a.tenant', '=', 'c.tenant').onRef('a.id', '=', 'c.account'),
    )
    .selectAll('c')
    .where(isOpen)
    .where(sql<boolean>`${hiddenCredential} > ${after}`)
    .orderBy(hiddenCredential)
    .limit(limit)
  const workOpen = sql<boolean>`exists (
    select 1 from operation as w
    where w.tenant = a.tenant and w.subject = a.id and w.subject_type = 'account'
      and w.status in (${open}))`
  const ownerGone = sql<boolean>`not exists (
    select 1 from resource as o
    where o.tenant = a.tenant and o.id = a.owner_id and o.type = 'person'
      and ((o.active = 1 and o.deleted_at is null) or o.held_by is not null))`

  // A group that was left empty; how long it may stay so is for the decision to say.
  const groupGone = sql<boolean>`not exists (
    select 1 from grp as g
    where g.tenant = a.tenant and g.id = a.owner_id
      and g.deleted_at is null and g.emptied_at is null)`
  const nobody = sql<boolean>`((a.owner_type = 'User' and ${ownerGone}) or (a.owner_type = 'Group' and ${groupGone}))`

  return {
    orphans: statement(
      walked
        .where(isOpen)
        .where(sql<boolean>`(a.disable_at <= ${arg('now')} or (${nobody} and not ${workOpen}))`),
    ),
    expired: statement(dated.where(isOpen).where('a.expires_at', '<=', arg('now'))),
    deletable: statement(
      dated
        .where(sql<boolean>`a.status in ('disabled', 'expired', 'retired')`)
        .where('a.delete_at', '<=', arg('now'))
        .where(sql<boolean>`not ${workOpen}`),
    ),
    rotationDue: statement(
      credentials
        .where(sql<boolean>`c.status = 'active'`)
        .where('c.rotate_after', '<=', arg('now')),
    ),
    expiredCredentials: statement(
      credentials
        .where(sql<boolean>`c.status in ('active', 'superseded')`)
        .where('c.expires_at', '<=', arg('now')),
    ),
  }
}

/** What the sweeps ask: each reads only what is open, over all tenants, in pages by id. */
export function sweepRoom(context: Sql, codec: DocumentCodec) {
  const s = statements(context)
  const accountsBy =
    (which: 'orphans' | 'expired' | 'deletable') =>
    async (
      query: Query,
      now: Instant,
      after: string | null,
      limit: number,
    ): Promise<readonly ServiceAccount[]> => {
      const rows = await query(s[which], { now, after: after ?? '', limit })
      return rows.map((row) => accountFromRow(row, codec))
    }
  const credentialsBy =
    (which: 'rotationDue' | 'expiredCredentials') =>
    async (
      query: Query,
      now: Instant,
      after: string | null,
      limit: number,
    ): Promise<readonly Credential[]> => {
      const rows = await query(s[which], { now, after: after ?? '', limit })
      return rows.map((row) => credentialFromRow(row))
    }
  return {
    orphans: accountsBy('orphans'),
    expired: accountsBy('expired'),
    deletable: accountsBy('deletable'),
    rotationDue: credentialsBy('rotationDue'),
    expiredCredentials: credentialsBy('expiredCredentials'),
  }
}
