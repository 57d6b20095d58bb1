import { signal } from './signal.js'

const place = 'custody-theme'
/** @typedef {'system' | 'light' | 'dark'} Theme */

/** @returns {Theme} */
function kept() {
  try {
    const value = window.localStorage.getItem(place)
    return value === 'light' || value === 'dark' ? value : 'system'
  } catch {
    return 'system'
  }
}

export const theme = signal(kept())

/** @param {Theme} next */
export function setTheme(next) {
  theme.set(next)
  try {
    window.localStorage.setItem(place, next)
  } catch {
    // A browser that keeps nothing forgets it with the page.
  }
  show(next)
}

/** @param {Theme} value */
function show(value) {
  document.documentElement.dataset['theme'] = value
}

show(theme.get())
