import { signal, useSignal } from './signal.js'

export const base = '/console/'

/**
 * Where the reader is: everything a screen shows follows from it, so that an address can be kept,
 * sent to somebody, or gone back to.
 * @typedef {{ readonly screen: string, readonly rest: readonly string[], readonly query: URLSearchParams, readonly href: string }} Place
 */

/** @returns {Place} */
function here() {
  const { pathname, search } = window.location
  const [screen = '', ...rest] = pathname.slice(base.length).split('/').map(decoded)
  return { screen, rest, query: new URLSearchParams(search), href: pathname + search }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const place = signal(here())

window.addEventListener('popstate', () => place.set(here()))

export function usePlace() {
  return useSignal(place)
}

/**
 * @param {string} href below `/console/`
 * @param {{ replace?: boolean }} [options]
 */
export function go(href, { replace = false } = {}) {
  if (href === place.get().href) return
  window.history[replace ? 'replaceState' : 'pushState'](null, '', href)
  const before = place.get().screen
  place.set(here())
  // A new screen begins at its top, as a page would; a filter that changes keeps the place.
  if (place.get().screen !== before) window.scrollTo(0, 0)
}

/**
 * The address of a screen.
 * @param {readonly string[]} path
 * @param {Readonly<Record<string, string | null | undefined>>} [query] what is empty is left out
 */
export function link(path, query = {}) {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value)
  const text = parameters.toString()
  return base + path.map(encodeURIComponent).join('/') + (text === '' ? '' : `?${text}`)
}

/**
 * Changes parts of the query and keeps the others; null takes one away.
 * @param {Readonly<Record<string, string | null>>} changes
 */
export function setQuery(changes, { replace = false } = {}) {
  const query = new URLSearchParams(window.location.search)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') query.delete(name)
    else query.set(name, value)
  }
  const text = query.toString()
  go(window.location.pathname + (text === '' ? '' : `?${text}`), { replace })
}

// Links are links: they can be opened in a new tab, and copied. A plain click stays on the page.
document.addEventListener('click', (event) => {
  if (event.defaultPrevented || event.button !== 0) return
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
  const anchor = /** @type {Element} */ (event.target).closest?.('a[href]')
  if (!(anchor instanceof HTMLAnchorElement) || anchor.target || anchor.hasAttribute('download'))
    return
  const to = new URL(anchor.href)
  if (to.origin !== window.location.origin || !to.pathname.startsWith(base)) return
  if (to.hash !== '') return
  event.preventDefault()
  go(to.pathname + to.search)
})
