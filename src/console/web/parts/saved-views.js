import { html, useState } from '../lib/html.js'
import { usePlace } from '../lib/router.js'

const key = 'custody-views'

/** @typedef {{ readonly name: string, readonly href: string }} View */

/** @returns {readonly View[]} */
function kept() {
  try {
    const found = JSON.parse(window.localStorage.getItem(key) ?? '[]')
    return Array.isArray(found)
      ? found.filter((v) => typeof v?.name === 'string' && /^\/console\/[^/]/.test(v.href))
      : []
  } catch {
    return []
  }
}

/** A view is its address: whoever wants it under a name keeps it in this browser. */
export function SavedViews() {
  const { href } = usePlace()
  const [views, setViews] = useState(kept)
  const [name, setName] = useState(/** @type {string | null} */ (null))
  const keep = (/** @type {readonly View[]} */ next) => {
    setViews(next)
    try {
      window.localStorage.setItem(key, JSON.stringify(next))
    } catch {
      // Then it lasts as long as this page.
    }
  }
  return html`<div class="row saved-views" role="group" aria-label="Saved views">
    ${views.map(
      (view) =>
        html`<span class="view"
          ><a href=${view.href}>${view.name}</a>
          <button
            type="button"
            class="plain small-button"
            aria-label=${`Forget the view ${view.name}`}
            onClick=${() => keep(views.filter((v) => v !== view))}
          >
            ✕
          </button></span
        >`,
    )}
    ${
      name === null
        ? html`<button type="button" class="plain small-button" onClick=${() => setName('')}>
            Save this view…
          </button>`
        : html`<form
            class="row"
            onSubmit=${(/** @type {Event} */ event) => {
              event.preventDefault()
              if (name.trim() === '') return
              keep(
                [...views.filter((v) => v.name !== name.trim()), { name: name.trim(), href }].slice(
                  -20,
                ),
              )
              setName(null)
            }}
          >
            <label class="field"
              ><span class="hidden">Name of the view</span
              ><input
                maxlength="60"
                placeholder="Name of the view"
                value=${name}
                onInput=${(/** @type {any} */ e) => setName(e.target.value)}
            /></label>
            <button type="submit">Save</button>
            <button type="button" class="plain" onClick=${() => setName(null)}>Cancel</button>
          </form>`
    }
  </div>`
}
