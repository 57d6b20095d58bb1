import type { Finding, FindingKind } from '../domain/finding.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Caller, Lifecycle } from './context.ts'
import type { Posture } from './posture.ts'
import { postureReport } from './posture.ts'

/** A figure of this moment, where it comes from, and whether it speaks against the claim. */
export interface Measure {
  readonly value: number | string | null
  /** How to get it again. */
  readonly query: string
  /** What speaks against the claim; null = nothing does. */
  readonly exception: string | null
}

export const measureNames = [
  'openAccounts',
  'ownerCoverage',
  'orphaned',
  'pastTheirEnd',
  'leaversOpen',
  'leaversComplete',
  'revocations',
  'revocationP95Seconds',
  'revocationWorstSeconds',
  'rotationsOverdue',
  'oldestKeyDays',
  'overageKeys',
  'foreignKeys',
  'unmanaged',
  'reactivatedKeys',
  'rightsDrift',
  'staleStores',
  'acceptedFindings',
  'vendors',
  'watched',
  'needsOperator',
  'approvalsWaiting',
  'brakesOn',
  'restored',
  'auditRows',
  'auditSigned',
  'policyVersion',
  'authorisationVersion',
] as const
export type MeasureName = (typeof measureNames)[number]
export type Measures = Readonly<Record<MeasureName, Measure>>

/** Findings that are counted, of each status: as many open ones are an alarm at any number. */
const findingsMax = 1_000
const vendorsMax = 200

/** Everything that any control is judged by, measured once. @throws forbidden */
export async function measure(
  life: Lifecycle,
  caller: Caller,
): Promise<{ readonly measures: Measures; readonly posture: Posture }> {
  const posture = await postureReport(life, caller)
  const { tenant } = caller
  const { read } = life.store
  const [open, accepted, vendors, head, checkpoint] = await Promise.all([
    read.findings({ tenant, status: 'open', after: null, limit: findingsMax }),
    read.findings({ tenant, status: 'accepted', after: null, limit: findingsMax }),
    read.vendors(tenant, null, vendorsMax),
    read.auditHead(tenant),
    read.checkpoint(tenant, null),
  ])
  const { accounts, operations, revocations } = posture
  const revoked = revocations.filter(({ count }) => count > 0)
  const worstOf = (of: 'p95Seconds' | 'worstSeconds') =>
    revoked.length === 0 ? null : Math.max(...revoked.map((day) => day[of] ?? 0))
  const maxAgeDays =
    life.policy().termsFor({
      environment: null,
      labels: [],
      imported: false,
    }).rotation.maxAge / 86_400
  const oldest = posture.oldestActiveKeys[0]?.ageDays ?? null
  const signed = head?.signedSize ?? 0
  const rows = head?.frontier.size ?? 0
  const expired = accepted.filter((f) => (f.acceptance?.until ?? '') < posture.at).length

  const said = 'GET /api/v1/reports/posture'
  const fact = (value: Measure['value'], query: string): Measure => ({
    value,
    query,
    exception: null,
  })
  /** A number that should be none. */
  const none = (value: number, query: string, what: string): Measure => ({
    value,
    query,
    exception: value === 0 ? null : `${value} ${what}`,
  })
  const finding = (kind: FindingKind, what: string): Measure =>
    none(of(open, kind), `GET /api/v1/findings?kind=${kind}&status=open`, what)
  const measures: Measures = {
    openAccounts: fact(accounts.open, `${said} .accounts.open`),
    ownerCoverage: {
      value: posture.coverage,
      query: `${said} .coverage`,
      exception:
        posture.coverage === null || posture.coverage === 1
          ? null
          : `${accounts.open - accounts.withActiveOwner} open accounts have no active owner`,
    },
    orphaned: none(accounts.orphaned, `${said} .accounts.orphaned`, 'accounts wait for an heir'),
    pastTheirEnd: none(
      posture.expiredStillUp.accounts,
      `${said} .expiredStillUp.accounts`,
      'accounts are past their end and still up',
    ),
    leaversOpen: none(posture.leavers.open, `${said} .leavers.open`, 'leavings have work left'),
    leaversComplete: fact(posture.leavers.complete, `${said} .leavers.complete`),
    revocations: fact(
      revoked.reduce((n, { count }) => n + count, 0),
      `${said} .revocations[].count`,
    ),
    revocationP95Seconds: fact(worstOf('p95Seconds'), `${said} .revocations[].p95Seconds`),
    revocationWorstSeconds: fact(worstOf('worstSeconds'), `${said} .revocations[].worstSeconds`),
    rotationsOverdue: none(
      posture.rotationsOverdue.count,
      `${said} .rotationsOverdue.count`,
      'rotations are overdue',
    ),
    oldestKeyDays: {
      value: oldest,
      query: `${said} .oldestActiveKeys[0].ageDays`,
      exception:
        oldest !== null && oldest > maxAgeDays
          ? `the oldest active key is ${oldest} days old; the policy's maximum is ${maxAgeDays}`
          : null,
    },
    overageKeys: finding('overage', 'keys are older than the policy allows'),
    foreignKeys: finding('foreign', 'keys at providers are in no journal'),
    unmanaged: finding('unmanaged', 'identities at providers have no account here'),
    reactivatedKeys: finding('reactivated', 'keys that were ended work again'),
    rightsDrift: finding('entitlement-drift', 'keys may do other than was granted'),
    staleStores: finding('stale-store', 'stores serve another key than the newest'),
    acceptedFindings: {
      value: accepted.length,
      query: 'GET /api/v1/findings?status=accepted',
      exception: expired === 0 ? null : `${expired} accepted findings are past their date`,
    },
    vendors: fact(vendors.length, 'GET /api/v1/vendors'),
    watched: none(accounts.watched, `${said} .accounts.watched`, 'accounts are only watched'),
    needsOperator: none(
      operations.needsOperator,
      `${said} .operations.needsOperator`,
      'operations need an operator',
    ),
    approvalsWaiting: none(
      posture.approvalsWaiting,
      `${said} .approvalsWaiting`,
      'held batches wait for a decision',
    ),
    brakesOn: none(posture.brakes.length, `${said} .brakes`, 'brakes are on'),
    restored: none(Number(posture.restored), `${said} .restored`, 'restored mode is on'),
    auditRows: fact(rows, 'GET /api/v1/audit/checkpoint'),
    auditSigned: {
      value: signed,
      query: 'GET /api/v1/audit/checkpoint',
      exception:
        checkpoint === null && rows > 0 ? 'no checkpoint of the audit log is signed' : null,
    },
    policyVersion: fact(life.policy().version, 'custody policy check'),
    authorisationVersion: fact(life.authoriser().version, 'custody policy check'),
  }
  return { measures, posture }
}

function of(findings: readonly Finding[], kind: FindingKind): number {
  return findings.filter((f) => f.kind === kind).length
}

/** Which rows of the audit log an auditor has to ask for. */
export async function auditRange(life: Lifecycle, { tenant }: Caller): Promise<JsonObject> {
  const [head, checkpoint] = await Promise.all([
    life.store.read.auditHead(tenant),
    life.store.read.checkpoint(tenant, null),
  ])
  return {
    rows: head?.frontier.size ?? 0,
    signedSize: checkpoint?.size ?? 0,
    root: checkpoint?.root ?? null,
    signedAt: checkpoint?.at ?? null,
  }
}
