import type { Body } from './api.ts'
import type { Account, Person } from './company.ts'
import { judge, leavers, patchUrn } from './company.ts'
import { must } from './failure.ts'
import type { Held } from './judge.ts'
import { hold } from './judge.ts'
import { after, seconds } from './show.ts'
import type { Stage } from './stage.ts'

const victims = 12
/** Kinds whose keys can be switched off and on again: the same ones come back. */
const switchable: ReadonlySet<Account['kind']> = new Set(['access-key', 'api-token'])

/** A directory deactivates people it should not; what the brake let through is taken back. */
export async function directoryGoesMad(
  stage: Stage,
  people: readonly Person[],
  accounts: readonly Account[],
) {
  const { show } = stage
  const owned = (person: Person) => accounts.filter((account) => account.owner.id === person.id)
  const gone: ReadonlySet<number> = new Set([...leavers.alone, leavers.withBackup, leavers.backup])
  const others = people.filter((_, i) => !gone.has(i))
  // First those whose keys would come back the same: the brake lets the first through.
  const isSimple = (person: Person) => owned(person).every(({ kind }) => switchable.has(kind))
  const chosen = [...others.filter(isSimple), ...others.filter((p) => !isSimple(p))]
  const deactivated = chosen.slice(0, victims)
  const copies = new Map<string, readonly Held[]>()
  for (const person of deactivated) {
    copies.set(person.id, await Promise.all(owned(person).map((account) => hold(stage, account))))
  }

  const since = performance.now()
  const elapsed = () => (performance.now() - since) / 1_000
  for (const person of deactivated) await say(stage, person, false)
  show.fact('deactivated', `${victims} people in ${seconds(elapsed())}, by mistake`)

  const { items } = await stage.admin.call(200, 'GET', '/api/v1/approvals')
  const batch = (items as readonly Body[])[0]
  must(batch !== undefined, 'nothing was held although twelve people left at once')
  const shown = await stage.admin.call(200, 'GET', `/api/v1/approvals/${batch.id}`)
  const held = new Set((shown.items as readonly Body[]).map((item) => String(item.subject)))
  const through = deactivated.filter((person) => !held.has(person.id))
  must(through.length > 0 && held.size > 0, `${held.size} of ${victims} were held`)
  const off = through.flatMap((person) => copies.get(person.id)!)
  show.fact(
    'HELD',
    `${held.size} of ${victims}; the allowance of this hour let ${through.length} go:`,
  )
  show.fact('', through.map((person) => person.name).join(', '))
  await stage.until(
    `${off.length} keys refused`,
    async () => Promise.all(off.map((one) => one.verdict())),
    (verdicts) => verdicts.every((verdict) => verdict !== 'alive'),
  )
  const offAfter = elapsed()
  show.fact('', `their ${off.length} keys are off and refused ${after(offAfter)}`)
  const untouched = deactivated.filter((person) => held.has(person.id)).flatMap(owned)
  const kept = await judge(stage, untouched)
  must(kept.alive === untouched.length, `${untouched.length - kept.alive} keys of held people died`)
  show.fact('', `of those held: ${kept.alive} of ${untouched.length} credentials alive`)
  show.fact(
    'operator',
    `custody approval show ${String(batch.id).slice(0, 8)}…, then approve or deny`,
  )

  for (const person of deactivated) await say(stage, person, true)
  const calm = await stage.admin.call(200, 'GET', '/api/v1/brakes')
  must(calm.items.length === 0, 'the brake is on although everybody is back')
  show.fact('corrected', 'the directory says active again: the batch closes by itself')

  const undone = performance.now()
  for (const person of through) await undo(stage, person)
  const back = off.filter((one) => switchable.has(one.account.kind))
  await stage.until(
    `${back.length} keys back`,
    async () => {
      stage.show.progress(`waiting for ${back.length} keys to work again`)
      return Promise.all(back.map((one) => one.verdict()))
    },
    (verdicts) => verdicts.every((verdict) => verdict === 'alive'),
  )
  const backAfter = (performance.now() - undone) / 1_000
  await stage.until(
    'the accounts up again',
    async () => statusesOf(stage, through.flatMap(owned)),
    (statuses) => statuses.every((status) => status === 'active'),
  )
  show.fact(
    'undone',
    `${through.length} leavings: ${back.length} of ${off.length} keys are back ${after(backAfter)}, same key ids`,
  )
  const renewed = off.length - back.length
  if (renewed > 0) show.fact('', `${renewed} could not be switched off, so they were made anew`)
  for (const one of [...copies.values()].flat()) one.close()
  return {
    facts: {
      deactivated: victims,
      held: held.size,
      letGo: through.map((person) => person.userName),
      switchedOff: off.length,
      switchedOffSeconds: offAfter,
      heldAlive: kept.alive,
      undone: through.length,
      sameKeys: back.length,
      newKeys: renewed,
      backSeconds: backAfter,
    },
  }
}

async function say(stage: Stage, person: Person, active: boolean): Promise<void> {
  await stage.directory.call(200, 'PATCH', `/scim/v2/Users/${person.id}`, {
    schemas: [patchUrn],
    Operations: [{ op: 'replace', value: { active } }],
  })
}

async function undo(stage: Stage, person: Person): Promise<void> {
  const { items } = await stage.admin.call(200, 'GET', `/api/v1/operations?subject=${person.id}`)
  const leave = (items as readonly Body[]).find((operation) => operation.kind === 'leave')
  must(leave !== undefined, `no leaving of ${person.name} is known`)
  const answer = await stage.admin.call(202, 'POST', `/api/v1/events/${leave.id}/undo`, {
    reason: 'the directory was wrong',
  })
  must(
    answer.cannot.length === 0,
    `${answer.cannot.length} accounts of ${person.name} cannot come back`,
  )
}

async function statusesOf(stage: Stage, accounts: readonly Account[]): Promise<readonly string[]> {
  const rows = await Promise.all(
    accounts.map(({ id }) => stage.admin.call(200, 'GET', `/api/v1/accounts/${id}`)),
  )
  return rows.map((row) => String(row.status))
}
