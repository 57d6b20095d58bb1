/**
 * Acts that were not done, gathered by account: what it would be by now.
 * @param {readonly any[]} items the newest first
 * @returns {readonly { account: string, userName: string, owner: string, wouldBe: string | null, acts: readonly { act: string, rule: string, times: number }[], total: number, lastAt: string }[]}
 */
export function perAccount(items) {
  /** @type {Map<string, any>} */
  const found = new Map()
  for (const item of items) {
    const row = found.get(item.account) ?? {
      account: item.account,
      userName: item.userName,
      owner: item.owner,
      wouldBe: null,
      acts: new Map(),
      total: 0,
      lastAt: item.at,
    }
    const key = `${item.act} ${item.rule}`
    const act = row.acts.get(key) ?? { act: item.act, rule: item.rule, times: 0 }
    act.times += 1
    row.acts.set(key, act)
    row.total += 1
    // The newest act on the account itself says where it would stand.
    row.wouldBe ??= states[item.act] ?? null
    found.set(item.account, row)
  }
  return [...found.values()].map((row) => ({ ...row, acts: [...row.acts.values()] }))
}

/** @type {Readonly<Record<string, string>>} */
const states = { disable: 'disabled', delete: 'retired', offer: 'orphaned' }

const dayMs = 86_400_000

/**
 * How many acts of each kind a day, empty days too; UTC.
 * @param {readonly any[]} items @param {string} from @param {string} until
 * @returns {readonly { day: string, total: number, acts: Readonly<Record<string, number>> }[]}
 */
export function perDay(items, from, until) {
  /** @type {Map<string, Record<string, number>>} */
  const byDay = new Map()
  for (const { at, act } of items) {
    const day = at.slice(0, 10)
    const acts = byDay.get(day) ?? {}
    acts[act] = (acts[act] ?? 0) + 1
    byDay.set(day, acts)
  }
  const days = []
  const end = Date.parse(until.slice(0, 10))
  for (let at = Date.parse(from.slice(0, 10)); at <= end; at += dayMs) {
    const day = new Date(at).toISOString().slice(0, 10)
    const acts = byDay.get(day) ?? {}
    days.push({ day, acts, total: Object.values(acts).reduce((sum, n) => sum + n, 0) })
  }
  return days
}
