import { call, request } from './api.js'
import { cannotVerify, isConsistent, openCheckpoint, parseKey, verifyProof } from './proof.js'

/**
 * What this browser remembers of a log: the key it saw first, and the newest tree it has verified.
 * That is trust on first use: worth something only together with a key that somebody else keeps.
 * @typedef {{ readonly key: string, readonly since: string, readonly size: number, readonly root: string }} Pinned
 */

/** @param {string} tenant */
const placeOf = (tenant) => `custody-audit-key/${tenant}`

/** @param {string} tenant @returns {Pinned | null} */
export function pinnedOf(tenant) {
  try {
    const value = JSON.parse(window.localStorage.getItem(placeOf(tenant)) ?? 'null')
    return typeof value?.key === 'string' ? value : null
  } catch {
    return null
  }
}

/** @param {string} tenant @param {Pinned} pinned */
export function pin(tenant, pinned) {
  try {
    window.localStorage.setItem(placeOf(tenant), JSON.stringify(pinned))
  } catch {
    // A browser that keeps nothing sees every key for the first time, and says so.
  }
}

/**
 * What came of verifying the log. `differs`: it is not as it was signed, or not what this browser has
 * seen; `otherKey`: it is signed with another key than before; `nothing`: nothing is signed yet.
 * @typedef {{ readonly state: 'verified' | 'differs' | 'otherKey' | 'nothing' | 'cannot', readonly sentence: string, readonly key: string | null, readonly pinned: Pinned | null, readonly note: string | null, readonly size: number, readonly root: string | null, readonly steps: readonly import('./proof.js').Step[], readonly at: string }} Result
 */

/**
 * Verifies the log from here: the newest checkpoint, the path of the newest entry it covers, and that
 * the tree is the one this browser verified last, grown.
 * @param {string} tenant
 * @returns {Promise<Result>}
 */
export async function verifyLog(tenant) {
  const pinned = pinnedOf(tenant)
  /** @type {import('./proof.js').Step[]} */
  const steps = []
  const none = {
    key: null,
    pinned,
    note: null,
    size: 0,
    root: null,
    steps,
    at: new Date().toISOString(),
  }
  const reason = cannotVerify()
  if (reason !== null) return { ...none, state: 'cannot', sentence: reason }
  const answer = await request('GET', '/api/v1/audit/checkpoint', undefined, {}).catch(notSigned)
  if (answer === null) {
    const sentence =
      'Nothing is signed yet. The first checkpoint comes seconds after the first entry.'
    return { ...none, state: 'nothing', sentence }
  }
  const keyText = answer.headers.get('custody-audit-key') ?? ''
  const key = await parseKey(keyText)
  const some = { ...none, key: keyText, note: answer.text }
  if (key === null)
    return { ...some, state: 'differs', sentence: 'The server names no key that could be read.' }
  if (pinned !== null && pinned.key !== keyText) {
    const sentence =
      'The log is signed with another key than the one this browser remembers. Either the master key of this installation was changed on purpose, or this is not the log it was.'
    return { ...some, state: 'otherKey', sentence }
  }
  try {
    return await judged({ ...some, key: keyText }, key, tenant)
  } catch (error) {
    if (!(error instanceof DOMException) || error.name !== 'NotSupportedError') throw error
    const sentence = 'This browser does not know Ed25519 signatures; a newer one does.'
    return { ...some, state: 'cannot', sentence }
  }
}

/**
 * @param {Omit<Result, 'state' | 'sentence'> & { steps: import('./proof.js').Step[], key: string }} some
 * @param {import('./proof.js').VerifierKey} key
 * @param {string} tenant
 * @returns {Promise<Result>}
 */
async function judged(some, key, tenant) {
  const { pinned, steps, note } = some
  const differs = (/** @type {string} */ sentence) =>
    /** @type {Result} */ ({ ...some, state: 'differs', sentence })
  const opened = await openCheckpoint(note ?? '', key)
  if (typeof opened === 'string') return differs(`The newest checkpoint: ${opened}`)
  const { size, root } = opened
  if (size > 0) {
    const behind = size > 1 ? `&cursor=${size - 2}` : ''
    const last = await call('GET', `/api/v1/audit?order=seq&limit=1${behind}`)
    const id = last.items[0]?.id
    if (id === undefined) return differs('The newest entry that was signed is not there.')
    const verdict = await verifyProof(await call('GET', `/api/v1/audit/proof/${id}`), key)
    steps.push(...verdict.steps)
    if (!verdict.isGood) return differs('The newest entry does not lead to what was signed.')
  }
  if (pinned !== null && pinned.size > 0) {
    if (size < pinned.size) {
      return differs(
        `This browser has verified ${pinned.size} entries, and now there are ${size}: an older copy of the database was put in place, or entries were removed.`,
      )
    }
    const growth = await call('GET', `/api/v1/audit/consistency?from=${pinned.size}&to=${size}`)
    const from = { from: pinned.size, fromRoot: pinned.root }
    const isGood = await isConsistent({ ...from, to: size, toRoot: root, path: growth.path })
    steps.push({
      what: `It is the log of ${pinned.size} entries that this browser verified last, grown`,
      isGood,
      detail: `${growth.path.length} hashes from ${pinned.root}`,
    })
    if (!isGood) return differs('Entries that this browser has verified before are others now.')
  }
  const next = { key: some.key, since: pinned?.since ?? some.at, size, root }
  pin(tenant, next)
  const sentence = `Signed, and the newest entry leads to the signed root.`
  return { ...some, size, root, state: 'verified', sentence }
}

/** @param {any} error */
function notSigned(error) {
  if (error?.status === 404) return null
  throw error
}
