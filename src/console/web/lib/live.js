import { call } from './api.js'
import { loggedInAgain } from './session.js'
import { signal } from './signal.js'

/**
 * What happened, as the change feed says it.
 * @typedef {object} Change
 * @property {string} id
 * @property {number} seq
 * @property {string} at
 * @property {string} type
 * @property {{ type: string, id: string }} subject
 * @property {any} actor
 * @property {string | null} operation
 * @property {any} facts
 */

/**
 * `live`, `waiting` for the connection, or `off` while the page is not looked at.
 * @type {import('./signal.js').Signal<'live' | 'waiting' | 'off'>}
 */
export const liveState = signal('off')

/** @type {Set<(changes: readonly Change[]) => void>} */
const listeners = new Set()

/** @type {EventSource | null} */
let source = null

/** An empty list: something changed, and what is not known (or not to be told). */
function tell(/** @type {readonly Change[]} */ changes) {
  listeners.forEach((listener) => listener(changes))
}

function open() {
  if (source !== null || document.hidden) return
  liveState.set('waiting')
  const opened = new EventSource('/api/v1/stream')
  source = opened
  let wasOpen = false
  opened.addEventListener('open', () => {
    liveState.set('live')
    // What happened while it was away came with no event of this connection.
    if (wasOpen) tell([])
    wasOpen = true
  })
  opened.addEventListener('changes', (event) => tell(JSON.parse(event.data).items))
  opened.addEventListener('reset', () => tell([]))
  opened.addEventListener('over', () => {
    close()
    void again()
  })
  opened.addEventListener('error', () => {
    liveState.set('waiting')
    // Browsers try again by themselves, except after an answer that is no stream.
    if (opened.readyState === EventSource.CLOSED) {
      close()
      setTimeout(() => void again(), 5_000)
    }
  })
}

/** The session it was opened with has ended; it may have been renewed meanwhile, or is asked for. */
async function again() {
  try {
    const { client } = await call('GET', '/api/v1/session')
    if (client === null) await loggedInAgain()
    open()
    tell([])
  } catch {
    setTimeout(() => void again(), 5_000)
  }
}

function close() {
  source?.close()
  source = null
  liveState.set('off')
}

/** Starts with the session. A page in the background holds no connection: a browser has six. */
export function goLive() {
  open()
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) close()
    else {
      open()
      tell([])
    }
  })
}

/** @param {(changes: readonly Change[]) => void} listener */
export function onChanges(listener) {
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
  }
}
