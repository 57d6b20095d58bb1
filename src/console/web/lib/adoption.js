import { call } from './api.js'

/**
 * What somebody filled in for a thing that was found.
 * @typedef {{ readonly owner: string, readonly purpose: string, readonly userName: string, readonly environment: string, readonly expiresAt: string, readonly deliverTo: string }} Wish
 */

/**
 * What became of it. `later`: the provider asks for patience.
 * @typedef {{ readonly status: 'waiting' | 'sending' | 'adopted' | 'already' | 'later' | 'failed', readonly sentence: string | null, readonly account: string | null }} Outcome
 */

/** @type {Outcome} */
export const waiting = { status: 'waiting', sentence: null, account: null }

const triesMax = 5
const patienceMax = 60

/**
 * The wish that a plan begins with: the best guess who owns it.
 * @param {any} found @returns {Wish}
 */
export function wishOf(found) {
  const owner = found.owners.find((/** @type {any} */ o) => o.active)?.userName ?? ''
  // Paths begin with a slash; a userName that does reads badly everywhere else.
  const userName = String(found.name).replace(/^\/+(?=.)/, '')
  return { owner, purpose: '', userName, environment: '', expiresAt: '', deliverTo: '' }
}

/** What is still missing in a wish, in words; null when it can be sent. @param {Wish} wish */
export function missingIn(wish) {
  if (wish.owner.trim() === '') return 'an owner'
  if (wish.purpose.trim() === '') return 'a purpose'
  return null
}

/** @param {string} external @param {any} found @param {Wish} wish */
export function entryOf(external, found, wish) {
  const { environment, expiresAt, deliverTo } = wish
  return {
    external,
    owner: wish.owner.trim(),
    userName: wish.userName.trim() || wishOf(found).userName,
    purpose: wish.purpose.trim(),
    ...(environment.trim() === '' ? {} : { environment: environment.trim() }),
    ...(expiresAt === '' ? {} : { expiresAt: `${expiresAt}T00:00:00Z` }),
    ...(deliverTo.trim() === '' ? {} : { deliverTo: deliverTo.trim() }),
    ...(found.vendor ? { vendor: found.vendor } : {}),
  }
}

/**
 * Adopts one thing after the other, and waits as long as the provider asks for.
 * @param {string} provider
 * @param {readonly ReturnType<typeof entryOf>[]} entries
 * @param {(external: string, outcome: Outcome) => void} tell
 */
export async function adoptAll(provider, entries, tell) {
  for (const entry of entries) {
    tell(entry.external, { ...waiting, status: 'sending' })
    tell(entry.external, await adoptOne(provider, entry, tell))
  }
}

/**
 * @param {string} provider @param {ReturnType<typeof entryOf>} entry
 * @param {(external: string, outcome: Outcome) => void} tell
 * @returns {Promise<Outcome>}
 */
async function adoptOne(provider, entry, tell) {
  const route = `/api/v1/providers/${encodeURIComponent(provider)}/adopt`
  for (let attempt = 1; ; attempt += 1) {
    try {
      const body = { entries: [entry] }
      const { items } = await call('POST', route, body, { key: crypto.randomUUID() })
      const [{ status, error, account, retryAfter }] = items
      if (status !== 'later' || attempt === triesMax)
        return { status, account, sentence: error?.message ?? null }
      const seconds = Math.min(patienceMax, retryAfter ?? 5)
      const sentence = `The provider asks for patience: again in ${seconds} s.`
      tell(entry.external, { status: 'later', account: null, sentence })
      await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
    } catch (caught) {
      return { status: 'failed', account: null, sentence: /** @type {Error} */ (caught).message }
    }
  }
}

const pagesMax = 50

/**
 * Everything a provider holds, page after page.
 * @param {string} provider @param {AbortSignal} signal
 * @param {(soFar: Discovery) => void} tell
 * @returns {Promise<Discovery>}
 */
export async function discover(provider, signal, tell) {
  /** @type {Discovery} */
  let found = { items: [], isComplete: true, isCut: false }
  let cursor = ''
  for (let page = 0; page < pagesMax; page += 1) {
    const route = `/api/v1/providers/${encodeURIComponent(provider)}/discovery${cursor}`
    const answer = await call('GET', route, undefined, { signal })
    if (answer.retryAfter !== null) {
      await new Promise((resolve) => setTimeout(resolve, answer.retryAfter * 1_000))
      if (signal.aborted) return found
      continue
    }
    const items = [...found.items, ...answer.items]
    found = { items, isComplete: found.isComplete && answer.complete, isCut: false }
    tell(found)
    if (answer.cursor === null) return found
    cursor = `?cursor=${encodeURIComponent(answer.cursor)}`
  }
  return { ...found, isCut: true }
}

/** @typedef {{ readonly items: readonly any[], readonly isComplete: boolean, readonly isCut: boolean }} Discovery */
