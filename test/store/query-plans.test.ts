import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultTenant as tenant } from '../../src/domain/ids.ts'
import { seconds } from '../../src/domain/time.ts'
import type { BoundNode } from '../../src/scim/filter.ts'
import { emptyFrontier } from '../../src/domain/merkle.ts'
import { auditRoom } from '../../src/store/audit.ts'
import { auditTreeRoom } from '../../src/store/audit-tree.ts'
import { approvalRoom } from '../../src/store/approvals.ts'
import { sqliteDialect } from '../../src/store/dialect.ts'
import { clientRoom } from '../../src/store/clients.ts'
import { documentRoom } from '../../src/store/documents.ts'
import { findingRoom } from '../../src/store/findings.ts'
import { entitlementRoom } from '../../src/store/entitlements.ts'
import { groupRoom } from '../../src/store/groups.ts'
import { importRoom } from '../../src/store/imports.ts'
import { journalRoom } from '../../src/store/journal.ts'
import { listingRoom } from '../../src/store/listings.ts'
import { reportRoom } from '../../src/store/reports.ts'
import { sealedRoom } from '../../src/store/sealed.ts'
import { openStore } from '../../src/store/open.ts'
import type { Query, Run, Sql, Statement } from '../../src/store/sql.ts'
import { SqliteDatabase } from '../../src/store/sqlite.ts'
import type { ListQuery } from '../../src/store/store.ts'
import { departureRoom } from '../../src/store/departures.ts'
import { sweepRoom } from '../../src/store/sweeps.ts'
import { shadowRoom } from '../../src/store/shadows.ts'
import { taskRoom } from '../../src/store/tasks.ts'
import { vitalsRoom } from '../../src/store/vitals.ts'
import { attribute, bound, compare } from '../conformance/store-filters.ts'
import { makeAccount, makeId, t0 } from '../support/entities.ts'
import { jsonCodec, nhi } from '../support/json-codec.ts'

const sql: Sql = { db: sqliteDialect.compiler(), dialect: sqliteDialect }
let directory: string
let database: SqliteDatabase
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'custody-plans-'))
  const path = join(directory, 'custody.db')
  const store = await openStore({ url: `sqlite:${path}`, codec: jsonCodec })
  await store.commit([{ type: 'account', account: makeAccount(), expectedVersion: null }])
  await store.close()
  database = await SqliteDatabase.open(path, { readonly: true })
})
afterAll(async () => {
  await database.close()
  rmSync(directory, { recursive: true, force: true })
})

/** What SQLite says it would do; gaps of prepared statements may stay empty, plans ignore values. */
async function explain({ text, parameters }: Statement): Promise<string> {
  const values = parameters.map((p) => (typeof p === 'object' ? null : p))
  const rows = await database.query({ text: `explain query plan ${text}`, parameters: values })
  return rows.map((row) => row['detail']).join('\n')
}

/** Plans of all statements that a read would run; a page of one comes back full, so it is counted. */
async function plansOf(read: (query: Query) => Promise<unknown>): Promise<string> {
  const plans: string[] = []
  await read(async (statement) => {
    plans.push(await explain(statement))
    return statement.text.includes(' as total')
      ? [{ total: 1 }]
      : statement.text.includes('offset')
        ? [{}, {}]
        : []
  })
  return plans.join('\n--\n')
}

function list(root: BoundNode): ListQuery {
  const everything = { people: 'all', accounts: 'all' } as const
  return { tenant, visibility: everything, filter: bound(root), startIndex: 1, count: 1 }
}

const exact = { caseExact: true } as const
const date = { type: 'dateTime' } as const
const id = makeId()

describe('query plans', () => {
  it.each([
    ['userName eq', compare('userName', 'eq', 'a'), 'resource_user_name'],
    ['userName sw', compare('userName', 'sw', 'a'), 'resource_user_name'],
    [
      'userName eq in exact case',
      compare(attribute('userName', exact), 'eq', 'a'),
      'resource_user_name',
    ],
    ['externalId eq', compare(attribute('externalId', exact), 'eq', 'a'), 'resource_external_id'],
    ['id eq', compare('id', 'eq', id), '(tenant=? AND id=?)'],
    [
      'active eq',
      compare(attribute('active', { type: 'boolean' }), 'eq', false),
      'resource_active',
    ],
    ['owner eq', compare(attribute(`${nhi} owner value`, exact), 'eq', id), 'resource_owner'],
    ['expiresAt lt', compare(attribute(`${nhi} expiresAt`, date), 'lt', t0), 'resource_expires'],
    ['status eq', compare(`${nhi} status`, 'eq', 'orphaned'), 'resource_status'],
  ])('finds users by %s through an index', async (_, root, index) => {
    const plan = await plansOf((query) => documentRoom(sql).listUsers(query, list(root)))

    for (const part of plan.split('\n--\n')) expect(part).toContain(index)
    expect(plan).not.toContain('SCAN resource')
  })

  it('finds users by a disjunction through the index of each part', async () => {
    const either: BoundNode = {
      op: 'or',
      nodes: [compare('userName', 'eq', 'a'), compare(attribute('externalId', exact), 'eq', 'b')],
    }
    const plan = await plansOf((query) => documentRoom(sql).listUsers(query, list(either)))

    expect(plan).toContain('resource_user_name')
    expect(plan).toContain('resource_external_id')
  })

  it('pages and counts users through the narrow index, whatever the role', async () => {
    const visibilities = [
      { people: 'all', accounts: 'all' },
      { people: { directory: 'default' }, accounts: 'none' },
      { people: 'none', accounts: { client: 'c', owners: ['p'] } },
    ] as unknown as ListQuery['visibility'][]
    for (const visibility of visibilities) {
      const plan = await plansOf((query) =>
        documentRoom(sql).listUsers(query, {
          tenant,
          visibility,
          filter: null,
          startIndex: 1,
          count: 1,
        }),
      )
      const [page, total] = plan.split('\n--\n')
      expect(total).toMatch(/USING COVERING INDEX|SEARCH counter USING INDEX/)
      expect(page).toContain('USING COVERING INDEX resource_list')
      expect(page).not.toContain('TEMP B-TREE FOR ORDER BY')
    }
  })

  it.each([
    ['serviceAccount', compare('serviceAccount value', 'eq', id), 'credential_account'],
    ['provider', compare('provider', 'eq', 'a'), 'credential_provider'],
    [
      'provider in exact case',
      compare(attribute('provider', exact), 'eq', 'a'),
      'credential_provider',
    ],
    ['kind', compare('kind', 'eq', 'api-token'), 'credential_kind'],
    ['status', compare('status', 'eq', 'active'), 'credential_status'],
  ])('finds credentials by %s through an index', async (_, root, index) => {
    const plan = await plansOf((query) => documentRoom(sql).listCredentials(query, list(root)))

    for (const part of plan.split('\n--\n')) expect(part).toContain(index)
    expect(plan).not.toContain('SCAN credential')
  })

  it.each([
    ['displayName', compare('displayName', 'eq', 'a'), 'grp_name'],
    ['externalId', compare(attribute('externalId', exact), 'eq', 'a'), 'grp_external_id'],
    ['id', compare('id', 'eq', id), '(tenant=? AND id=?)'],
    [
      'id and members',
      {
        op: 'and',
        nodes: [compare('id', 'eq', id), compare(attribute('members[] value', exact), 'eq', 'a')],
      } satisfies BoundNode,
      'SEARCH e1 USING COVERING INDEX sqlite_autoindex_member_1 (tenant=? AND group_id=? AND member_id=?)',
    ],
  ])('finds groups by %s through an index', async (_, root, index) => {
    const rooms = documentRoom(sql)
    const plan = await plansOf((q) => rooms.listGroups(q, { ...list(root), members: false }))

    for (const part of plan.split('\n--\n')) expect(part).toContain(index)
    expect(plan).not.toMatch(/SCAN (grp|member|e1)\b/)
  })

  it('looks for an active member in one look, however many have left', async () => {
    const rooms = groupRoom(sql, jsonCodec)
    const change = rooms.memberSwitched({
      type: 'memberSwitched',
      tenant,
      member: id,
      gone: true,
      at: t0,
    })
    const plans = [await plansOf((q) => rooms.groupState(q, tenant, id))]
    const steps = change()
    for (let step = steps.next(); step.done !== true;) {
      plans.push(await explain(step.value.statement))
      step = steps.next({ rows: [], changes: 0 })
    }

    expect(plans.join('\n')).toContain(
      'SEARCH m USING COVERING INDEX member_live (tenant=? AND group_id=?)',
    )
    expect(plans.join('\n')).not.toMatch(/SCAN (grp|member|resource|m|n|c|g|p)\b/)
  })

  it('joins the groups of a person by the person', async () => {
    const plans = [
      await plansOf((q) => documentRoom(sql).userDocument(q, tenant, id)),
      await plansOf((q) => groupRoom(sql, jsonCodec).groupsOf(q, tenant, id)),
      await plansOf((q) =>
        documentRoom(sql).listUsers(q, list(compare(attribute('groups[] value', exact), 'eq', id))),
      ),
    ]

    for (const plan of plans) {
      expect(plan).toMatch(/SEARCH (m|e1) USING COVERING INDEX \w+ \(tenant=\? AND .*member_id=\?/)
      expect(plan).toMatch(
        /SEARCH (g|e1g) USING INDEX sqlite_autoindex_grp_1 \(tenant=\? AND id=\?\)/,
      )
    }
  })

  it('sweeps and claims over what is open only', async () => {
    const sweeps = sweepRoom(sql)
    const departures = departureRoom(sql)
    const journal = journalRoom(sql)
    const claim = journal.claim('w', t0, seconds(60), 10, 10)
    const found = { rows: [{ id: 'due' }], changes: 0 }
    const nothing = { rows: [], changes: 0 }
    const [lookUrgent, urgent, lookOthers, others] = [
      claim.next().value,
      claim.next(found).value,
      claim.next(nothing).value,
      claim.next(found).value,
    ]

    const soon = { warned: 30, from: t0, until: t0 } as const
    const range = { from: t0, until: t0 }
    const stretch = { last: id, looked: 1 }
    for (const [read, ...indexes] of [
      [(q) => sweeps.orphans(q, t0, null, 10), 'resource_open ', 'open_subject'],
      [(q) => sweeps.overdue(q, t0, null, 10), 'resource_overdue'],
      [(q) => sweeps.gone(q, 'people', range, null, 10), 'COVERING INDEX resource_gone'],
      [(q) => sweeps.gone(q, 'groups', range, null, 10), 'COVERING INDEX grp_gone'],
      [(q) => sweeps.leaving(q, t0, null, 10), 'resource_leaving'],
      [(q) => departures.due(q, t0, null, 10), 'departure_due'],
      [(q) => departures.movedFrom(q, tenant, id, t0), 'departure_from', 'member_of'],
      [(q) => departures.readBy(q, tenant, id, '', 10), 'credential_readers'],
      [(q) => sweeps.accountsOf(q, 'ownedBy', tenant, [id], null, 9), 'resource_open_owner'],
      [(q) => sweeps.accountsOf(q, 'waitingFor', tenant, [id], null, 9), 'resource_pending'],
      [(q) => sweeps.expired(q, t0, null, 10), 'COVERING INDEX resource_open_expires'],
      [(q) => sweeps.deletable(q, t0, null, 10), 'resource_deletable'],
      [(q) => sweeps.expiredCredentials(q, t0, null, 10), 'credential_expires'],
      [(q) => sweeps.rotationDue(q, t0, null, 10), 'credential_rotation'],
      [(q) => sweeps.leftBehind(q, t0, null, 10), 'COVERING INDEX issued_key_superseded'],
      [(q) => sweeps.planned(q, null, 10), 'COVERING INDEX credential_planned'],
      [
        (q) => sweeps.expiring(q, { of: 'account', ...soon }, null, 10),
        'COVERING INDEX resource_warning',
      ],
      [(q) => sweeps.expiring(q, { of: 'credential', ...soon }, null, 10), 'credential_warning'],
      [(q) => sweeps.lastSlot(q, 'orphans'), 'sqlite_autoindex_slot_1'],
    ] as [(q: Query) => Promise<unknown>, ...string[]][]) {
      const plans: string[] = []
      await read(async (statement) => {
        plans.push(await explain(statement))
        return statement.text.includes('looked') ? [stretch] : []
      })
      const plan = plans.join('\n')
      for (const index of indexes) expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN (?!stretch|e\b)\w+(?! USING COVERING)/)
      expect(plan).not.toMatch(/TEMP B-TREE FOR (?!LAST)/)
    }
    const planOf = (run: unknown) => explain((run as { statement: Statement }).statement)
    for (const [look, claimed, index] of [
      [lookUrgent, urgent, 'operation_due_urgent'],
      [lookOthers, others, 'operation_due '],
    ] as const) {
      expect(await planOf(look)).toMatch(new RegExp(`USING (COVERING )?INDEX ${index}`))
      const plan = await planOf(claimed)
      expect(plan).toContain(`USING INDEX ${index}`)
      expect(plan).toContain('operation_open_account')
      expect(plan).not.toContain('SCAN')
    }
    expect(await plansOf((q) => journal.nextRunAt(q))).toContain('operation_due')
  })

  it('sequences, proves and lists the audit log without reading it through', async () => {
    const tree = auditTreeRoom(sql)
    const audit = auditRoom(sql)
    const page = { after: id, limit: 10 }
    const steps = tree.sequenced({
      type: 'auditSequenced',
      tenant,
      after: emptyFrontier,
      ids: [],
      frontier: emptyFrontier,
      nodes: [],
    })()
    steps.next()
    const place = steps.next({ rows: [], changes: 1 }).value as { statement: Statement }
    const of = async (index: string, plan: string) => {
      expect(plan).toMatch(new RegExp(`SEARCH \\w+ USING (COVERING )?INDEX ${index}`))
      expect(plan).not.toContain('TEMP B-TREE')
    }

    await of('audit_unsequenced', await plansOf((q) => tree.pending(q, null)))
    await of('audit_unsequenced', await plansOf((q) => tree.unsequenced(q, tenant, 10)))
    await of('audit_seq', await plansOf((q) => audit.from(q, tenant, 5, 10)))
    await of('audit_seq', await plansOf((q) => tree.nodes(q, tenant, 0, 0, 256)))
    await of('sqlite_autoindex_audit_node_1', await plansOf((q) => tree.nodes(q, tenant, 8, 0, 9)))
    await of(
      'audit_action',
      await plansOf((q) => audit.entries(q, tenant, { ...page, action: 'a' })),
    )
    for (const want of [{ target: 'a' }, { action: 'a' }, { operation: 'a' }]) {
      const newest = { ...page, ...want, newestFirst: true }
      await of(
        `audit_${Object.keys(want)[0]}`,
        await plansOf((q) => audit.entries(q, tenant, newest)),
      )
    }
    await of(
      'sqlite_autoindex_audit_1',
      await plansOf((q) => audit.entries(q, tenant, { ...page, newestFirst: true })),
    )
    for (const size of [null, 5]) {
      await of(
        'sqlite_autoindex_audit_checkpoint_1',
        await plansOf((q) => tree.checkpoint(q, tenant, size)),
      )
    }
    const placing = await explain(place.statement)
    expect(placing).toMatch(/SEARCH audit USING (COVERING )?INDEX \w+ \(tenant=\? AND id=\?\)/)
    expect(placing).not.toContain('SCAN audit')
  })

  it('finds what hangs on a group, and the groups around somebody, without reading all of either', async () => {
    const room = entitlementRoom(sql)
    const through = await plansOf((query) => room.grantedThrough(query, tenant, [id], null, 1))
    const holding = await plansOf((query) => room.groupsHolding(query, tenant, id))
    const all = await plansOf((query) => room.groupGranted(query, null, 1))

    expect(through).toMatch(/SEARCH credential_group USING .*\(tenant=\? AND group_id=\?/)
    expect(all).toContain('credential_group_credential')
    for (const plan of [through, holding]) {
      expect(plan).not.toMatch(/SCAN (credential_group|grp|member|resource)\b/)
    }
  })

  it('asks how the journal does over narrow indexes', async () => {
    const plan = await plansOf(async (query) => {
      await vitalsRoom(sql)(
        async (...asked) => {
          await query(...asked)
          return [{ total: 0, issued_at: t0 }]
        },
        t0,
        ['aws'],
      )
    })

    for (const index of [
      'operation_due',
      'operation_revoking',
      'operation_stuck',
      'audit_unsequenced',
      'resource_status (tenant=? AND status=?)',
      'credential_rotation (rotate_after>? AND rotate_after<?)',
      'approval_status (tenant=? AND status=?)',
      'issued_key_age (provider=?)',
    ]) {
      expect(plan).toContain(index)
    }
    expect(plan).not.toMatch(/SCAN (operation|resource|credential|issued_key)(\n|$)/)
  })

  it('asks who left lately and what is held through indexes', async () => {
    const held = approvalRoom(sql)
    const who = { person: id, hourAgo: t0, dayAgo: t0 }
    const counts = await plansOf(async (query) => {
      await held.counts((statement) => query(statement).then(() => [{}]), tenant, 'default', who)
    })

    expect(counts).toContain('leaving_at (tenant=? AND directory=? AND at>?)')
    expect(counts).toContain('SEARCH counter USING')
    expect(counts).not.toContain('SCAN leaving')
    expect(await plansOf((q) => held.forming(q, tenant, 'leavers', 'default'))).toMatch(
      /USING INDEX approval_(forming|subject) \(tenant=\? AND kind=\? AND subject=\?/,
    )
    const page = { after: null, limit: 10 }
    expect(await plansOf((q) => held.list(q, tenant, { ...page, status: 'waiting' }))).toContain(
      'approval_status (tenant=? AND status=? AND id>?)',
    )
    expect(await plansOf((q) => held.list(q, tenant, { ...page, status: null }))).toContain(
      'sqlite_autoindex_approval_1 (tenant=? AND id>?)',
    )
    expect(await plansOf((q) => held.items(q, tenant, id, null, 10))).toContain(
      'sqlite_autoindex_approval_item_1 (tenant=? AND approval=? AND subject>?)',
    )
  })

  it('compares an inventory with the journal through indexes', async () => {
    const rooms = findingRoom(sql)
    const plans: readonly (readonly [read: (q: Query) => Promise<unknown>, index: string])[] = [
      [(q) => rooms.unresolved(q, 'p', ['a', 'b']), 'finding_unresolved '],
      [(q) => rooms.notSeen(q, 'p', 'run', null, 10), 'finding_unresolved_provider '],
      [(q) => rooms.keysById(q, 'p', ['a', 'b']), 'issued_key_provider '],
      [(q) => rooms.keysByFingerprint(q, 'p', ['a']), 'issued_key_provider (provider=?)'],
      [(q) => rooms.principalsByExternal(q, 'p', ['a']), 'principal_external '],
      [(q) => rooms.liveKeys(q, 'p', null, 10), 'issued_key_live '],
      [(q) => rooms.tally(q, 'p', 'run', t0, []), 'issued_key_live '],
      [(q) => rooms.tally(q, 'p', 'run', t0, ['app-token']), 'issued_key_live '],
      [(q) => rooms.deletedSince(q, 'p', t0), 'issued_key_deleted '],
      [
        (q) => clientRoom(sql, jsonCodec).issuedTokensAfter(q, 'p', null, 10),
        'issued_token_provider ',
      ],
      ...(['kind', 'provider', 'status'] as const).map(
        (by) =>
          [
            (q: Query) => rooms.list(q, { tenant, [by]: 'open', after: null, limit: 1 }),
            `finding_${by} `,
          ] as const,
      ),
    ]
    for (const [read, index] of plans) {
      const plan = await plansOf(read)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
    }
  })

  it('finds sealed secrets by their key, in pages and by their end through indexes', async () => {
    const room = sealedRoom(sql)
    const credential = makeId<Parameters<typeof room.one>[2]>()
    const row = { tenant, credential, keyId: 'k', envelope: 'e', expiresAt: t0 }
    const swept = room.sweep(t0)().next().value as Run
    const plans: readonly (readonly [plan: string, index: string])[] = [
      [await plansOf((ask) => room.one(ask, tenant, credential, 'k')), 'key_id=?'],
      [await plansOf((ask) => room.page(ask, row, 10)), '(tenant,credential,key_id)>'],
      [await explain(swept.statement), 'sealed_expiry '],
    ]
    for (const [plan, index] of plans) {
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
    }
  })

  it('finds shadows, what they would have done and first words through indexes', async () => {
    const room = shadowRoom(sql)
    const account = makeId<Parameters<typeof room.one>[2]>()
    const want = { tenant, from: t0, until: t0, after: null, limit: 10 }
    const plans: readonly (readonly [read: (q: Query) => Promise<unknown>, index: string])[] = [
      [(q) => room.one(q, tenant, account), 'account=?'],
      [(q) => room.due(q, t0, null, 10), 'shadow_due '],
      [(q) => room.acts(q, want), 'shadow_act_at '],
      [(q) => room.counts(q, tenant, t0, t0), 'shadow_act_at '],
      [(q) => room.waiting(q, tenant, account, 'disable'), 'act=?'],
    ]
    for (const [read, index] of plans) {
      const plan = await plansOf(read)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN/)
    }
    expect(await plansOf((q) => room.acts(q, want))).not.toContain('TEMP B-TREE')
  })

  it('finds tasks, people by their names and the accounts of a vendor through indexes', async () => {
    const tasks = taskRoom(sql)
    const imports = importRoom(sql, jsonCodec)
    const account = makeId<Parameters<typeof tasks.ofAccount>[2]>()
    const plans: readonly (readonly [read: (q: Query) => Promise<unknown>, index: string])[] = [
      [(q) => tasks.ofAccount(q, tenant, account), 'task_account '],
      [(q) => tasks.atProvider(q, 'p', null, 10), 'task_provider '],
      ...(['status', 'assignee', 'account'] as const).map(
        (by) =>
          [
            (q: Query) => tasks.list(q, { tenant, [by]: 'open', after: null, limit: 1 }),
            `task_${by} `,
          ] as const,
      ),
      [(q) => imports.peopleNamed(q, tenant, ['a', 'b']), 'resource_email '],
      [(q) => imports.peopleNamed(q, tenant, ['a', 'b']), 'external_id=?'],
      [(q) => imports.peopleNamed(q, tenant, ['a', 'b']), 'user_name_norm=?'],
      [(q) => imports.peopleAtLogin(q, tenant, 'a', 3), 'user_name_norm>?'],
      [(q) => imports.accountsOfVendor(q, tenant, 'v', null, 10), 'resource_vendor '],
      [(q) => imports.vendors(q, tenant, null, 10), 'resource_vendor '],
    ]
    for (const [read, index] of plans) {
      const plan = await plansOf(read)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN|TEMP B-TREE/)
    }
  })

  it('counts what reports show, and finds what they name, through indexes', async () => {
    const room = reportRoom(sql, jsonCodec)
    const counts = await plansOf((q) => room.counts(q, tenant, t0, t0))
    for (const index of [
      'COVERING INDEX resource_gone',
      'grp_gone',
      'resource_open_owner (tenant=? AND owner_id=?)',
      'credential_expires (expires_at<?)',
      'credential_rotation (rotate_after>? AND rotate_after<?)',
      'COVERING INDEX operation_status (tenant=? AND status=?)',
      'approval_status (tenant=? AND status=?)',
    ]) {
      expect(counts).toContain(index)
    }
    expect(counts).toMatch(/resource_(ends|open_expires) /)
    const plans: readonly (readonly [read: (q: Query) => Promise<unknown>, index: string])[] = [
      [(q) => room.states(q, tenant), 'SEARCH counter USING'],
      [(q) => room.endsByDay(q, tenant, 'a', 'b'), 'directory>? AND directory<?'],
      [(q) => room.oldestKeys(q, tenant, ['p'], 9), 'issued_key_age (provider=?)'],
      [(q) => room.overdue(q, tenant, t0, 9), 'credential_rotation'],
      [
        (q) => room.revokedSince(q, tenant, t0, 9),
        'issued_key_refused (tenant=? AND refused_at>?)',
      ],
      [(q) => room.revokedSince(q, tenant, t0, 9), 'operation_subject (tenant=? AND subject=?'],
      [(q) => room.leavingsSince(q, tenant, t0), 'operation_leaves (tenant=?)'],
      [(q) => room.leavingsSince(q, tenant, t0), 'operation_cause (tenant=? AND cause=?)'],
      [(q) => room.openAccounts(q, tenant, 'imported', null, 9), 'resource_imported (tenant=?'],
    ]
    for (const [read, index] of plans) {
      const plan = await plansOf(read)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN (operation|resource|credential|issued_key|counter)(\n|$)/)
    }
  })

  it('pages the lists of the console through an index each, in its order', async () => {
    const room = listingRoom(sql, jsonCodec)
    const page = { tenant, after: null, limit: 9 }
    const seenBy = { client: 'c', owners: ['p'], nominated: false }
    const plans: readonly (readonly [read: (q: Query) => Promise<unknown>, index: string])[] = [
      [(q) => room.accounts(q, page), 'resource_type (tenant=? AND type=?)'],
      [(q) => room.accounts(q, { ...page, owner: id }), 'resource_owner (tenant=? AND owner_id=?)'],
      [(q) => room.accounts(q, { ...page, status: 'failed' }), 'resource_status (tenant=? AND'],
      [(q) => room.accounts(q, { ...page, prefix: 'a' }), 'user_name_norm>? AND user_name_norm<?'],
      [
        (q) => room.accounts(q, { ...page, expiresFrom: t0, expiresBefore: t0 }),
        'resource_ends (tenant=? AND expires_at>? AND expires_at<?)',
      ],
      [(q) => room.accounts(q, { ...page, transfers: true }), 'resource_transfer (tenant=?'],
      [(q) => room.accounts(q, { ...page, seenBy }), 'resource_client (tenant=? AND client=?)'],
      [(q) => room.accounts(q, { ...page, seenBy }), 'resource_owner (tenant=? AND owner_id=?)'],
      [(q) => room.credentials(q, { ...page, account: id }), 'credential_account'],
      [(q) => room.credentials(q, { ...page, status: 'failed' }), 'credential_status'],
      [(q) => room.people(q, page), 'resource_type (tenant=? AND type=?)'],
      [(q) => room.people(q, { ...page, prefix: 'a' }), 'display_norm>? AND display_norm<?'],
      [
        (q) => journalRoom(sql).list(q, { ...page, status: 'failed' }),
        'operation_status (tenant=? AND status=?',
      ],
    ]
    for (const [read, index] of plans) {
      const plan = await plansOf(read)
      expect(plan).toContain(index)
      expect(plan).not.toMatch(/SCAN (operation|resource|credential)(\n|$)/)
    }
    for (const want of [{}, { owner: id }, { status: 'failed' as const }]) {
      const plan = await plansOf((q) => room.accounts(q, { ...page, ...want }))
      expect(plan.split('LIST SUBQUERY')[1]).not.toContain('TEMP B-TREE')
    }
  })
})
