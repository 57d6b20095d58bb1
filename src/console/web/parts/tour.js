import { html, useEffect, useState } from '../lib/html.js'
import { onChanges } from '../lib/live.js'
import { base, usePlace } from '../lib/router.js'
import { signal, useSignal } from '../lib/signal.js'
import { tourSteps } from '../lib/tour.js'

const place = 'custody-tour'

/** @returns {readonly string[]} */
function kept() {
  try {
    return (window.sessionStorage.getItem(place) ?? '').split(' ').filter(Boolean)
  } catch {
    return []
  }
}

const done = signal(kept())
const lastMark = signal(/** @type {string | null} */ (null))

/** A screen says what was seen on it, for the step that waits for that. @param {string} mark */
export function markSeen(mark) {
  lastMark.set(mark)
}

/** @param {(step: import('../lib/tour.js').TourStep) => boolean} isDone */
function tick(isDone) {
  const more = tourSteps.filter((s) => !done.get().includes(s.id) && isDone(s)).map((s) => s.id)
  if (more.length === 0) return
  done.set([...done.get(), ...more])
  try {
    window.sessionStorage.setItem(place, done.get().join(' '))
  } catch {
    // Then it is forgotten with the page.
  }
}

/** The steps, ticked by what really happens; for the demo alone. */
export function Tour() {
  const ticked = useSignal(done)
  const mark = useSignal(lastMark)
  const { screen, href } = usePlace()
  const [isHidden, setHidden] = useState(false)
  useEffect(() => {
    tick((step) => step.isDoneAt({ screen, query: window.location.search, mark }))
    if (mark !== null) lastMark.set(null)
  }, [href, mark])
  useEffect(
    () => onChanges((changes) => tick((step) => changes.some((change) => step.isDoneBy(change)))),
    [],
  )
  if (isHidden) return null
  const next = tourSteps.find((s) => !ticked.includes(s.id))
  return html`<aside class="tour" aria-label="Tour">
    <ol>
      ${tourSteps.map(
        (step) =>
          html`<li class=${ticked.includes(step.id) ? 'done' : step === next ? 'next' : ''}>
            <a href=${base + step.path}
              ><span aria-hidden="true">${ticked.includes(step.id) ? '✓' : '○'}</span>
              ${step.title}${
                ticked.includes(step.id) ? html`<span class="hidden"> (done)</span>` : null
              }</a
            >
          </li>`,
      )}
    </ol>
    <p role="status">
      ${next ? next.sentence : 'That was all of it. The same with your own data: custody init.'}
    </p>
    <button
      type="button"
      class="plain"
      aria-label="Put the tour away"
      onClick=${() => setHidden(true)}
    >
      ✕
    </button>
  </aside>`
}
