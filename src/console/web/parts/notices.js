import { html, useEffect } from '../lib/html.js'
import { signal, useSignal } from '../lib/signal.js'

/** @typedef {{ readonly id: number, readonly text: any, readonly tone: 'good' | 'bad' }} Notice */

const notices = signal(/** @type {readonly Notice[]} */ ([]))
let last = 0

const showMs = 8_000

/**
 * Says what came of an act, where every reader hears it; a failure stays until it is put away.
 * @param {any} text
 * @param {'good' | 'bad'} [tone]
 */
export function notify(text, tone = 'good') {
  last += 1
  notices.set([...notices.get().slice(-3), { id: last, text, tone }])
}

/** @param {number} id */
function putAway(id) {
  notices.set(notices.get().filter((n) => n.id !== id))
}

export function Notices() {
  const shown = useSignal(notices)
  return html`<div class="notices" role="status" aria-live="polite">
    ${shown.map((notice) => html`<${Notice} key=${notice.id} notice=${notice} />`)}
  </div>`
}

/** @param {{ notice: Notice }} props */
function Notice({ notice }) {
  useEffect(() => {
    if (notice.tone === 'bad') return undefined
    const timer = setTimeout(() => putAway(notice.id), showMs)
    return () => clearTimeout(timer)
  }, [notice.id])
  return html`<div class="notice ${notice.tone}">
    <div>${notice.text}</div>
    <button type="button" class="plain" aria-label="Put away" onClick=${() => putAway(notice.id)}>
      ✕
    </button>
  </div>`
}
