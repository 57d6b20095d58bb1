import { useEffect, useState } from 'preact/hooks'

/**
 * A value that components follow.
 * @template T
 * @typedef {{ get(): T, set(value: T): void, follow(listener: (value: T) => void): () => void }} Signal
 */

/**
 * @template T
 * @param {T} first
 * @returns {Signal<T>}
 */
export function signal(first) {
  let value = first
  /** @type {Set<(value: T) => void>} */
  const listeners = new Set()
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return
      value = next
      listeners.forEach((listener) => listener(next))
    },
    follow(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/**
 * The value now; the component is drawn again when it changes.
 * @template T
 * @param {Signal<T>} followed
 * @returns {T}
 */
export function useSignal(followed) {
  const [value, setValue] = useState(() => followed.get())
  useEffect(() => {
    setValue(() => followed.get())
    return followed.follow((next) => setValue(() => next))
  }, [followed])
  return value
}
