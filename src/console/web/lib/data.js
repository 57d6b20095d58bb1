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
 * What was read of the same list before: it stays while more of it, or anew, is read.
 * @template {{ data: any }} R
 * @param {string} route @param {R} read @returns {R}
 */
export function useKept(route, read) {
  const last = useRef({ route, data: /** @type {any} */ (null) })
  if (read.data !== null || last.current.route !== route) last.current = { route, data: read.data }
  return { ...read, data: last.current.data }
}

/** @param {string} route @param {string | null} cursor @param {number} limit @param {AbortSignal} signal */
function pageOf(route, cursor, limit, signal) {
  const more = `limit=${limit}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`
  const joint = route.includes('?') ? '&' : '?'
  return call('GET', `${route}${joint}${more}`, undefined, { signal })
}

/**
 * A paged list of which more can be fetched: pages stay as they are, and what changes is read anew
 * from the top, as many as were shown.
 * @param {string} route without cursor and limit
 * @param {{ concerns?: (change: import('./live.js').Change) => boolean, limit?: number, page?: typeof pageOf }} [options]
 *   `page` reads one page of a list that is asked for in another way
 */
export function useList(route, options = {}) {
  const { limit = 100, page: readPage = pageOf } = options
  const [asked, setAsked] = useState({ route, pages: 1 })
  const pages = asked.route === route ? asked.pages : 1
  const wanted = pages * limit
  const found = useRead(`${route}#${wanted}`, {
    ...(options.concerns ? { concerns: options.concerns } : {}),
    read: async (_key, signal) => {
      /** @type {any[]} */
      const items = []
      let cursor = null
      /** @type {any} */
      let page = {}
      do {
        page = await readPage(route, cursor, Math.min(200, wanted - items.length), signal)
        items.push(...page.items)
        cursor = page.cursor ?? null
      } while (cursor !== null && items.length < wanted)
      return { ...page, items, cursor }
    },
  })
  const read = useKept(route, found)
  return {
    ...read,
    /** @type {any[] | null} */
    items: read.data?.items ?? null,
    hasMore: read.data ? read.data.cursor !== null : false,
    more: () => {
      if (!found.isLoading) setAsked({ route, pages: pages + 1 })
    },
  }
}
