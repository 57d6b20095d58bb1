import type { ConsumerReport, KeyProbe } from '../domain/consumer.ts'
import type { AccountId, CredentialId, TenantId } from '../domain/ids.ts'
import { mapping } from './mapping.ts'
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

type Work = () => Steps<Refusal | null>

const reports = mapping<ConsumerReport>({
  tenant: 'tenant',
  account: 'account',
  credential: 'credential',
  consumer: 'consumer',
  kind: 'kind',
  generation: 'generation',
  at: 'at',
  by: 'reported_by',
})
const reportKey = ['tenant', 'account', 'credential', 'consumer', 'kind'] as const

const probes = mapping<KeyProbe>({
  tenant: 'tenant',
  credential: 'credential',
  generation: 'generation',
  at: 'at',
})
const probeKey = ['tenant', 'credential', 'generation'] as const

function statements({ db }: Sql) {
  const report = db
    .selectFrom('consumer_report')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('account', '=', arg('account'))
  const probe = db
    .selectFrom('key_probe')
    .selectAll()
    .where('tenant', '=', arg('tenant'))
    .where('credential', '=', arg('credential'))
    .where('generation', '=', arg<number>('generation'))
  return {
    report: statement(
      report
        .where('credential', '=', arg('credential'))
        .where('consumer', '=', arg('consumer'))
        .where('kind', '=', arg('kind')),
    ),
    ofAccount: statement(report),
    putReport: statement(
      db
        .insertInto('consumer_report')
        .values(gaps(reports.columns))
        .onConflict((c) =>
          c.columns(reportKey).doUpdateSet(gaps(['generation', 'at', 'reported_by'])),
        ),
    ),
    probe: statement(probe),
    putProbe: statement(
      db
        .insertInto('key_probe')
        .values(gaps(probes.columns))
        .onConflict((c) => c.columns(probeKey).doUpdateSet(gaps(['at']))),
    ),
  }
}

/** What consumers reported, and which uses of a key were our own. */
export function consumerRoom(context: Sql) {
  const s = statements(context)
  return {
    report(said: ConsumerReport): Work {
      const row = reports.toRow(said)
      return function* report() {
        const before = yield* first(s.report, row)
        if (before !== null && Number(before['generation']) >= said.generation) return null
        yield* run(s.putReport, row)
        return null
      }
    },
    probe(tried: KeyProbe): Work {
      const row = probes.toRow(tried)
      return function* probe() {
        const before = yield* first(s.probe, row)
        if (before !== null && (before['at'] as string) >= tried.at) return null
        yield* run(s.putProbe, row)
        return null
      }
    },
    async ofAccount(query: Query, tenant: TenantId, account: AccountId) {
      return (await query(s.ofAccount, { tenant, account })).map((row) => reports.fromRow(row))
    },
    async probeOf(query: Query, tenant: TenantId, credential: CredentialId, generation: number) {
      const [row] = await query(s.probe, { tenant, credential, generation })
      return row === undefined ? null : probes.fromRow(row)
    },
  }
}
