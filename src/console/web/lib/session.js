import { signal } from './signal.js'

/**
 * Who is logged in, as `GET /api/v1/session` says it.
 * @typedef {object} Session
 * @property {{ id: string, name: string, role: string, person: string | null }} client
 * @property {string} tenant
 * @property {string | null} expiresAt
 * @property {string} now
 * @property {string | null} version
 * @property {boolean} demo
 */

/** undefined: not asked yet; null: nobody is logged in. */
export const session = signal(/** @type {Session | null | undefined} */ (undefined))

/** The session ended while somebody was at work: the page stays as it is below the question. */
export const isOver = signal(false)

/** @type {(() => void)[]} */
let waiting = []

/** Resolves once somebody has logged in again. @returns {Promise<void>} */
export function loggedInAgain() {
  isOver.set(true)
  return new Promise((resolve) => waiting.push(resolve))
}

/** @param {Session} next */
export function loggedIn(next) {
  const before = session.get()
  // Another person must not go on with what the one before had open.
  if (isOver.get() && before && before.client.id !== next.client.id) {
    window.location.reload()
    return
  }
  session.set(next)
  isOver.set(false)
  for (const resolve of waiting.splice(0)) resolve()
}

/** Whether whoever is logged in sees the whole tenant; owners and requesters see what is theirs. */
export function mayLook() {
  return mayAct() || session.get()?.client.role === 'auditor'
}

/** Whether whoever is logged in may be a new owner's word; the server says so in each case. */
export function mayAnswer() {
  return mayAct() || ['owner', 'requester'].includes(session.get()?.client.role ?? '')
}

/** Whether whoever is logged in may decide things at all; the server says so in each case. */
export function mayAct() {
  const role = session.get()?.client.role
  return role === 'admin' || role === 'security'
}
