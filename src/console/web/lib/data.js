import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { call } from './api.js'
import { onChanges } from './live.js'

/**
 * What a screen reads, and what became of it.
 * @template T
 * @typedef {{ data: T | null, error: Error | null, isLoading: boolean, isOld: boolean, reload: () => void }} Read
 */

/** What was read last, so that going back shows at once what was there. @type {Map<string, any>} */
const known = new Map()
const knownMax = 60

const settleMs = 250

/**
 * Reads a route, and again whenever something it `concerns` has changed. An answer that fails later
 * leaves what is shown, with the reason beside it.
 * @param {string | null} route null: nothing yet
 * @param {{ concerns?: (change: import('./live.js').Change) => boolean, everyMs?: number, read?: (route: string, signal: AbortSignal) => Promise<any> }} [options]
 *   without `concerns` every change is one
 * @returns {Read<any>}
 */
export function useRead(route, options = {}) {
  const [state, setState] = useState({
    route,
    data: route === null ? null : (known.get(route) ?? null),
    error: /** @type {Error | null} */ (null),
    isLoading: route !== null,
  })
  const [turn, setTurn] = useState(0)
  const reload = useCallback(() => setTurn((n) => n + 1), [])
  const latest = useRef(options)
  latest.current = options

  useEffect(() => {
    if (route === null) return undefined
    const ending = new AbortController()
    setState((s) =>
      s.route === route
        ? { ...s, isLoading: true }
        : { route, data: known.get(route) ?? null, error: null, isLoading: true },
    )
    const read = latest.current.read ?? ((r, signal) => call('GET', r, undefined, { signal }))
    read(route, ending.signal).then(
      (data) => {
        if (ending.signal.aborted) return
        remember(route, data)
        setState({ route, data, error: null, isLoading: false })
      },
      (error) => {
        if (ending.signal.aborted) return
        setState((s) => ({ ...s, error, isLoading: false }))
      },
    )
    return () => ending.abort()
  }, [route, turn])

  useEffect(() => {
    if (route === null) return undefined
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let soon
    const end = onChanges((changes) => {
      const { concerns } = latest.current
      if (changes.length > 0 && concerns && !changes.some(concerns)) return
      // A burst of changes is one reason to look.
      soon ??= setTimeout(() => {
        soon = undefined
        reload()
      }, settleMs)
    })
    return () => {
      clearTimeout(soon)
      end()
    }
  }, [route])

  const { everyMs } = options
  useEffect(() => {
    if (everyMs === undefined) return undefined
    const timer = setInterval(() => {
      if (!document.hidden) reload()
    }, everyMs)
    return () => clearInterval(timer)
  }, [everyMs])

  const isCurrent = state.route === route
  const data = isCurrent ? state.data : route === null ? null : (known.get(route) ?? null)
  return {
    data,
    error: isCurrent ? state.error : null,
    isLoading: isCurrent ? state.isLoading : route !== null,
    isOld: isCurrent && state.error !== null && state.data !== null,
    reload,
  }
}

/** @param {string} route @param {any} data */
function remember(route, data) {
  known.delete(route)
  known.set(route, data)
  const oldest = known.keys().next().value
  if (known.size > knownMax && oldest !== undefined) known.delete(oldest)
}

/**
 * A paged list of which more can be fetched: pages stay as they are, and what changes is read anew
 * from the top, as many as were shown.
 * @param {string} route without cursor and limit
 * @param {{ concerns?: (change: import('./live.js').Change) => boolean, limit?: number, most?: number }} [options]
 */
export function useList(route, options = {}) {
  const { limit = 100 } = options
  const [pages, setPages] = useState(1)
  useEffect(() => setPages(1), [route])
  const read = useRead(`${route}#${pages * limit}`, {
    ...(options.concerns ? { concerns: options.concerns } : {}),
    read: async (_key, signal) => {
      /** @type {any[]} */
      const items = []
      let cursor = null
      /** @type {any} */
      let page = {}
      do {
        const left = pages * limit - items.length
        const more = `limit=${Math.min(200, left)}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
        page = await call('GET', `${route}${route.includes('?') ? '&' : '?'}${more}`, undefined, {
          signal,
        })
        items.push(...page.items)
        cursor = page.cursor ?? null
      } while (cursor !== null && items.length < pages * limit)
      return { ...page, items, cursor }
    },
  })
  return {
    ...read,
    /** @type {any[] | null} */
    items: read.data?.items ?? null,
    hasMore: read.data ? read.data.cursor !== null : false,
    more: () => setPages((n) => n + 1),
  }
}
