import { Component } from 'preact'
import { html, useEffect, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { useKeys } from '../lib/keys.js'
import { go } from '../lib/router.js'

/**
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: any) => any} show markup or text
 * @property {(row: any) => unknown} [value] as plain data, for exports
 * @property {string} [className]
 * @property {boolean} [isMain] the cell that names the row
 */

/**
 * Rows as a table, and below 48 rem as cards with the names of the columns. `j` and `k` go through
 * the rows, Enter opens one, `x` picks it.
 * @param {object} props
 * @param {string} props.caption what it lists, for whoever does not see it
 * @param {readonly Column[]} props.columns
 * @param {readonly any[]} props.rows
 * @param {(row: any) => string} props.keyOf
 * @param {(row: any) => string | null} [props.hrefOf] where the row's name leads
 * @param {{ has(key: string): boolean, toggle: (key: string) => void, all(): void, none(): void, size: number }} [props.picked]
 * @param {(row: any) => any} [props.actionsOf] buttons at the end of a row
 */
export function Table({ caption, columns, rows, keyOf, hrefOf, picked, actionsOf }) {
  const [current, setCurrent] = useState(-1)
  const drawn = useDrawn(rows.length, current)
  const body = useRef(/** @type {HTMLTableSectionElement | null} */ (null))
  const move = (/** @type {number} */ by) =>
    setCurrent((n) => Math.max(0, Math.min(rows.length - 1, n + by)))
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    ...(picked && {
      x: () => rows[current] !== undefined && picked.toggle(keyOf(rows[current])),
    }),
  })
  useLayoutEffect(() => {
    if (current < 0) return
    const row = body.current?.rows[current]
    /** @type {HTMLElement | null | undefined} */
    const target = row?.querySelector('a[href], button')
    target?.focus()
    row?.scrollIntoView({ block: 'nearest' })
  }, [current])
  return html`<div class="table-frame" role="region" aria-label=${caption} tabindex="0">
    <table>
      <caption class="hidden">
        ${caption}
      </caption>
      <thead>
        <tr>
          ${
            picked
              ? html`<th scope="col" class="pick">
                  <input
                    type="checkbox"
                    aria-label="Pick all shown"
                    checked=${rows.length > 0 && rows.every((r) => picked.has(keyOf(r)))}
                    onChange=${() => (picked.size > 0 ? picked.none() : picked.all())}
                  />
                </th>`
              : null
          }
          ${columns.map((c) => html`<th scope="col" class=${c.className ?? ''}>${c.title}</th>`)}
          ${actionsOf ? html`<th scope="col"><span class="hidden">Actions</span></th>` : null}
        </tr>
      </thead>
      <tbody ref=${body}>
        ${rows
          .slice(0, drawn)
          .map(
            (row, index) =>
              html`<${Row}
                key=${keyOf(row)}
                row=${row}
                id=${keyOf(row)}
                columns=${columns}
                href=${hrefOf?.(row) ?? null}
                isCurrent=${index === current}
                isPicked=${picked?.has(keyOf(row)) ?? null}
                onPick=${picked?.toggle}
                actionsOf=${actionsOf}
              />`,
          )}
      </tbody>
    </table>
  </div>`
}

/** So many rows are drawn at once; 2 000 took 1.3 s, in which no key was answered. */
const atOnce = 100

/**
 * How many rows are drawn: the first at once, the others while nobody waits.
 * @param {number} total
 * @param {number} current a row that has to be there
 */
function useDrawn(total, current) {
  const [drawn, setDrawn] = useState(atOnce)
  useEffect(() => {
    if (drawn >= total) return undefined
    const more = () => setDrawn((n) => n + atOnce * 4)
    // Safari has no idle callbacks.
    if (typeof window.requestIdleCallback !== 'function') {
      const timer = setTimeout(more, 50)
      return () => clearTimeout(timer)
    }
    const idle = window.requestIdleCallback(more, { timeout: 500 })
    return () => window.cancelIdleCallback(idle)
  }, [drawn, total])
  return Math.max(drawn, current + 1)
}

/**
 * One row; it is drawn anew only when something about it is new.
 * @extends {Component<{ row: any, id: string, columns: readonly Column[], href: string | null, isCurrent: boolean, isPicked: boolean | null, onPick?: (id: string) => void, actionsOf?: (row: any) => any }>}
 */
class Row extends Component {
  /**
   * @override
   * @param {Readonly<Row['props']>} next
   */
  shouldComponentUpdate(next) {
    const { row, columns, href, isCurrent, isPicked } = this.props
    return (
      next.actionsOf !== undefined ||
      next.row !== row ||
      next.columns !== columns ||
      next.href !== href ||
      next.isCurrent !== isCurrent ||
      next.isPicked !== isPicked
    )
  }

  /** @override */
  render() {
    const { row, id, columns, href, isCurrent, isPicked, onPick, actionsOf } = this.props
    const main = Math.max(
      0,
      columns.findIndex((c) => c.isMain),
    )
    return html`<tr
      class=${isCurrent ? 'current' : ''}
      onClick=${(/** @type {MouseEvent} */ event) => {
        const on = /** @type {Element} */ (event.target)
        if (href === null || on.closest('a, button, input, label, select')) return
        if (window.getSelection()?.toString()) return
        go(href)
      }}
    >
      ${
        isPicked === null
          ? null
          : html`<td class="pick">
              <input
                type="checkbox"
                aria-label="Pick this row"
                checked=${isPicked}
                onChange=${() => onPick?.(id)}
              />
            </td>`
      }
      ${columns.map((column, i) =>
        i === main
          ? html`<th scope="row" class=${column.className ?? ''}>
              ${href === null ? column.show(row) : html`<a href=${href}>${column.show(row)}</a>`}
            </th>`
          : html`<td class=${column.className ?? ''} data-title=${column.title}>
              ${column.show(row)}
            </td>`,
      )}
      ${actionsOf ? html`<td class="actions">${actionsOf(row)}</td>` : null}
    </tr>`
  }
}

/** Rows that are picked, by key. @param {readonly any[]} rows @param {(row: any) => string} keyOf */
export function usePicked(rows, keyOf) {
  const [keys, setKeys] = useState(/** @type {ReadonlySet<string>} */ (new Set()))
  return {
    keys,
    size: keys.size,
    has: (/** @type {string} */ key) => keys.has(key),
    toggle: (/** @type {string} */ key) =>
      setKeys((before) => {
        const next = new Set(before)
        if (!next.delete(key)) next.add(key)
        return next
      }),
    all: () => setKeys(new Set(rows.map(keyOf))),
    none: () => setKeys(new Set()),
  }
}

/**
 * @param {{ list: { hasMore: boolean, isLoading: boolean, more: () => void }, shown: number, what: string }} props
 */
export function More({ list, shown, what }) {
  return html`<p class="more">
    <span>${shown} ${what} shown${list.hasMore ? ', there are more' : ''}</span>
    ${
      list.hasMore
        ? html`<button type="button" onClick=${list.more} aria-disabled=${list.isLoading}>
            ${list.isLoading ? 'Loading…' : 'Show more'}
          </button>`
        : null
    }
  </p>`
}
