import { useLayoutEffect, useRef } from 'preact/hooks'

/**
 * Keys of a screen, while nobody is typing and no dialog is open.
 * @typedef {Readonly<Record<string, (event: KeyboardEvent) => void>>} Keys
 */

/** @param {Keys} keys by `event.key` */
export function useKeys(keys) {
  const latest = useRef(keys)
  latest.current = keys
  // With the drawing, not after it: on a busy machine a key comes between the two.
  useLayoutEffect(() => {
    /** @param {KeyboardEvent} event */
    const onKey = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
      const target = /** @type {HTMLElement} */ (event.target)
      if (target.matches?.('input, textarea, select, [contenteditable]')) return
      if (document.querySelector('dialog[open]') !== null && event.key !== '?') return
      const act = latest.current[event.key]
      if (act === undefined) return
      event.preventDefault()
      act(event)
    }
    document.addEventListener('keydown', onKey)
    return () => document.removeEventListener('keydown', onKey)
  }, [])
}
