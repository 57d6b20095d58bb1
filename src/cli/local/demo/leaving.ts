import { setTimeout as sleep } from 'node:timers/promises'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Body } from './api.ts'
import type { Account, Person } from './company.ts'
import { judge, leavers, patchUrn } from './company.ts'
import { startConsumer } from './consumer.ts'
import { DemoFailure, must } from './failure.ts'
import type { ForeignKey } from './foreign.ts'
import type { Held, Verdict } from './judge.ts'
import { hold } from './judge.ts'
import { consumerPause, mustNotFail, shortenOverlap } from './rotation.ts'
import { after } from './show.ts'
import type { Stage } from './stage.ts'

/** One credential a leaver knew, from the request that said so to the answer that proves it dead. */
export interface Death {
  readonly leaver: Person
  readonly held: Held
  /** When the directory's request was sent. */
  readonly receivedAt: Date
  readonly offSeconds: number
  readonly deadSeconds: number
  readonly verdict: Verdict
}

const kindNames = {
  'access-key': 'access key',
  'deploy-key': 'deploy key',
  'app-token': 'app token',
  'api-token': 'token',
  password: 'login',
}

export async function ownersLeave(
  stage: Stage,
  people: readonly Person[],
  accounts: readonly Account[],
) {
  const { show } = stage
  const heir = people[leavers.backup]!
  const withBackup = people[leavers.withBackup]!
  const leaving = [...leavers.alone.map((i) => people[i]!), withBackup]
  const owned = (p: Person) => accounts.filter((a) => a.owner.id === p.id)
  const kept = owned(withBackup)
  await Promise.all(kept.map((account) => shortenOverlap(stage, account)))
  // What the leavers could have copied: held from now on, and tried at the end.
  const copies = await Promise.all(
    leaving.map((leaver) => Promise.all(owned(leaver).map((account) => hold(stage, account)))),
  )
  for (const held of copies.flat()) {
    const verdict = await held.verdict()
    must(verdict === 'alive', `${held.account.userName} is ${verdict} before anybody left`)
  }

  const impact = await impactOf(stage, leaving)
  show.line('  What would be decided, asked before anything is done:')
  show.rows(impactColumns, impact)

  const keptKey = kept.find((a) => a.kind === 'access-key')
  must(keptKey !== undefined, `${withBackup.name} owns no access key`)
  const consumer = await startConsumer(stage, keptKey, consumerPause)
  show.line('')
  for (const leaver of leaving) {
    show.fact('leaving', `${leaver.name}${leaver === withBackup ? `; backup ${heir.name}` : ''}`)
  }
  const deaths = await Promise.all(
    leaving.map(async (leaver, i) => {
      const receivedAt = new Date()
      const since = performance.now()
      await stage.directory.call(200, 'PATCH', `/scim/v2/Users/${leaver.id}`, {
        schemas: [patchUrn],
        Operations: [{ op: 'replace', value: { active: false } }],
      })
      return Promise.all(
        copies[i]!.map(async (held): Promise<Death> => {
          const death = await watchDying(stage, held, since)
          show.line(`  ${dying(leaver, held, death)}`)
          return { leaver, held, receivedAt, ...death }
        }),
      )
    }),
  ).then((perLeaver) => perLeaver.flat())
  await stage.until(
    'the consumer on a new key',
    () => consumer.keyId,
    (id) => copies.flat().every((held) => held.keyId !== id),
  )
  await consumer.stop()
  mustNotFail(consumer)
  await Promise.all(kept.map((account) => mustBeOffered(stage, account, heir)))
  const stillUp = await judge(stage, kept)
  const renewed = stillUp.keyIds.filter((id) => copies.flat().every((held) => held.keyId !== id))
  must(renewed.length === kept.length, 'an account that stays up still has the leaver’s credential')
  must(stillUp.alive === kept.length, `only ${stillUp.alive} of ${kept.length} kept accounts work`)
  show.fact(
    'kept up',
    `${kept.length} accounts, offered to ${heir.name}; their new credentials: ${stillUp.alive} of ${kept.length} alive`,
  )
  show.fact('', `${consumer.calls} calls of a consumer meanwhile, ${consumer.failed} failed`)
  return {
    leaving,
    deaths,
    facts: {
      impact,
      leavers: leaving.length,
      backup: heir.userName,
      credentials: deaths.map(deathFacts),
      keptUp: { accounts: kept.length, alive: stillUp.alive },
      consumer: { calls: consumer.calls, failed: consumer.failed },
    },
  }
}

function dying(
  leaver: Person,
  held: Held,
  { offSeconds, deadSeconds, verdict }: Pick<Death, 'offSeconds' | 'deadSeconds' | 'verdict'>,
): string {
  const { userName, kind } = held.account
  const who = `${leaver.name.padEnd(14)}${userName.padEnd(14)}${kindNames[kind].padEnd(12)}`
  return `${who}off ${after(offSeconds)}  ${ending(verdict, deadSeconds)}`
}

function ending(verdict: Verdict, at: number): string {
  return verdict === 'refused' ? `tried and refused ${after(at)}  DEAD` : `absent ${after(at)}`
}

const impactColumns = ['account', 'credential', 'last used', 'decision', 'rule'].map((title) => ({
  title,
  value: (row: Readonly<Record<string, unknown>>) => row[title],
}))

async function impactOf(stage: Stage, leaving: readonly Person[]) {
  const now = Date.now()
  const answers = await Promise.all(
    leaving.map((p) => stage.admin.call(200, 'GET', `/api/v1/owners/${p.id}/impact`)),
  )
  return answers.flatMap((answer) =>
    (answer.items as readonly Body[]).flatMap((item) =>
      (item.credentials as readonly Body[]).map((credential) => ({
        account: String(item.userName),
        credential: `${credential.provider} ${credential.kind}`,
        'last used': credential.lastUsedAt
          ? `${Math.max(0, Math.round((now - Date.parse(String(credential.lastUsedAt))) / 1_000))} s ago`
          : 'not known',
        decision: String(item.decision),
        rule: String(item.rule),
      })),
    ),
  )
}

async function mustBeOffered(stage: Stage, account: Account, heir: Person): Promise<void> {
  const { status, pendingOwner } = await stage.admin.call(
    200,
    'GET',
    `/api/v1/accounts/${account.id}`,
  )
  must(
    status === 'orphaned' && pendingOwner?.id === heir.id,
    `${account.userName} is ${status} and not offered to ${heir.name}`,
  )
}

async function watchDying(stage: Stage, held: Held, since: number) {
  const elapsed = () => (performance.now() - since) / 1_000
  const label = held.account.userName
  const off = await stage
    .until(
      `${label} switched off`,
      async () => {
        const isOff = await held.isOff()
        stage.show.progress(`waiting for ${label} to die ${after(elapsed())}`)
        return isOff
      },
      (isOff) => isOff,
    )
    .then(elapsed)
  const verdict = await stage.until(
    `${label} refused`,
    () => held.verdict(),
    (v) => v !== 'alive',
  )
  return { offSeconds: off, deadSeconds: elapsed(), verdict }
}

function deathFacts({ leaver, held, receivedAt, offSeconds, deadSeconds, verdict }: Death) {
  return {
    leaver: leaver.userName,
    account: held.account.userName,
    kind: held.account.kind,
    keyId: held.keyId,
    receivedAt: receivedAt.toISOString(),
    switchedOffSeconds: offSeconds,
    provenDeadSeconds: deadSeconds,
    outcome: verdict,
  }
}

/** The books against the world: reports, audit, and every credential tried once more. */
export async function showEvidence(
  stage: Stage,
  company: { readonly people: readonly Person[]; readonly accounts: readonly Account[] },
  leaving: readonly Person[],
  deaths: readonly Death[],
  foreign: readonly ForeignKey[],
) {
  const { show } = stage
  const reports = await Promise.all(leaving.map((p) => reportOf(stage, p, deaths)))
  const rows = await countAudit(stage)
  show.fact('audit', `${rows} rows`)
  show.fact('reports', `${reports.length} written, each agrees with what AWS, GitHub and`)
  show.fact('', 'introspection answered here:')
  for (const { file } of reports) show.fact('', stage.nameOf(file))

  const finals = await Promise.all(
    deaths.map(async ({ held }) => ({ off: await held.isOff(), verdict: await held.verdict() })),
  )
  const others = company.accounts.filter(
    (a) => !leavers.alone.some((i) => company.people[i]!.id === a.owner.id),
  )
  const rest = await judge(stage, others)
  const touched = foreign.filter((key) => !key.isUntouched())
  must(
    rest.alive === others.length,
    `${others.length - rest.alive} credentials of people who stayed are dead`,
  )
  must(touched.length === 0, `foreign keys were touched: ${touched.map((k) => k.id).join(', ')}`)

  show.line('')
  show.rows(
    ['leaver', 'credential', 'received UTC', 'switched off', 'proven dead', 'outcome'].map(column),
    deaths.map((d, i) => ({
      leaver: d.leaver.name,
      credential: `${d.held.account.userName} ${kindNames[d.held.account.kind]}`,
      'received UTC': d.receivedAt.toISOString().slice(11, 23),
      'switched off': after(d.offSeconds),
      'proven dead': after(d.deadSeconds),
      outcome: finals[i]!.verdict,
    })),
  )
  show.line('')
  const closing = leaving.map((leaver) => summary(leaver, deaths, finals))
  show.rows(
    ['leaver', 'credentials', 'switched off', 'proven dead', 'slowest', 'still alive'].map(column),
    closing.map((c) => ({
      leaver: c.leaver,
      credentials: c.credentials,
      'switched off': c.switchedOff,
      'proven dead': c.provenDead,
      slowest: after(c.slowestSeconds),
      'still alive': c.stillAlive,
    })),
  )
  const alive = finals.filter(({ verdict }) => verdict === 'alive').length
  must(alive === 0, `${alive} credentials of leavers still work`)

  const tried = deaths.filter((d) => d.held.account.kind !== 'deploy-key').length
  const refused = finals.filter(({ verdict }) => verdict === 'refused').length
  const absent = finals.filter(({ verdict }) => verdict === 'absent').length
  must(tried === refused, `${tried} credentials of leavers tried, only ${refused} refused`)
  show.line('')
  show.line(
    `  ${tried} credentials of leavers tried, ${refused} refused. Foreign keys touched: ${touched.length}.`,
  )
  show.line(
    `  ${absent} deploy keys cannot be tried from here: absent from GitHub's complete list.`,
  )
  show.line(`  Everybody else: ${rest.alive} of ${others.length} credentials alive.`)
  return {
    auditRows: rows,
    reports: reports.map(({ file, verdict }) => ({ file, verdict })),
    leavers: closing,
    tried,
    refused,
    absent,
    stillAlive: alive,
    foreignKeys: foreign.length,
    foreignKeysTouched: touched.length,
    others: { credentials: others.length, alive: rest.alive },
  }
}

const column = (title: string) => ({
  title,
  value: (row: Readonly<Record<string, unknown>>) => row[title],
})

function summary(
  leaver: Person,
  deaths: readonly Death[],
  finals: readonly { readonly off: boolean; readonly verdict: Verdict }[],
) {
  const own = deaths.flatMap((death, i) =>
    death.leaver === leaver ? [{ death, final: finals[i]! }] : [],
  )
  return {
    leaver: leaver.name,
    credentials: own.length,
    switchedOff: own.filter(({ final }) => final.off).length,
    provenDead: own.filter(({ final }) => final.verdict !== 'alive').length,
    slowestSeconds: Math.max(...own.map(({ death }) => death.deadSeconds)),
    stillAlive: own.filter(({ final }) => final.verdict === 'alive').length,
  }
}

/** Custody's own account of a leaving; it must say of each key what the world said of it. */
async function reportOf(stage: Stage, leaver: Person, deaths: readonly Death[]) {
  const report = await stage.until(
    `the report on ${leaver.userName} complete`,
    () => stage.admin.call(200, 'GET', `/api/v1/reports/offboarding/${leaver.id}`),
    (r: Body) => r.verdict === 'complete',
  )
  for (const { held, verdict } of deaths.filter((d) => d.leaver === leaver)) {
    const row = (report.keys as readonly Body[]).find((k) => k.keyId === held.keyId)
    if (row?.outcome === verdict) continue
    throw new DemoFailure(
      `Custody reports ${row?.outcome ?? 'nothing'} of ${held.keyId}, but it is ${verdict}`,
    )
  }
  const file = path.join(stage.evidence, `offboarding-${leaver.userName.split('@')[0]}.json`)
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`, { mode: 0o600 })
  return { file, verdict: String(report.verdict) }
}

async function countAudit(stage: Stage): Promise<number> {
  let rows = 0
  let cursor: string | null = null
  do {
    const after: string = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`
    const page: Body = await stage.admin.call(200, 'GET', `/api/v1/audit?limit=200${after}`)
    rows += page.items.length
    cursor = page.cursor
    stage.show.progress(`reading the audit: ${rows} rows`)
    if (cursor !== null) await sleep(0, undefined, { signal: stage.signal })
  } while (cursor !== null)
  return rows
}
