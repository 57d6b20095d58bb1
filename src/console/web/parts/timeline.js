import { call, Refusal } from '../lib/api.js'
import { useKept, useRead } from '../lib/data.js'
import { visible, words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { Empty, Shown } from './states.js'
import { Status } from './status.js'
import { More } from './table.js'
import { Text, Value, When } from './text.js'

const pageSize = 50

/**
 * One list of the several that a timeline is made of.
 * @typedef {{ route: string, isOperation: boolean, rows: any[], cursor: string | null, hasMore: boolean }} Source
 */

/** @typedef {{ at: string, key: string, operation: any, row: any }} Entry */

/** @param {Source} source @returns {readonly Entry[]} */
function entriesOf({ isOperation, rows }) {
  return rows.map((r) =>
    isOperation
      ? { at: r.createdAt, key: r.id, operation: r, row: null }
      : { at: r.at, key: r.id, operation: null, row: r },
  )
}

/** Where a list was read to; what is older than that may not be all there is. @param {Source} source */
function readTo(source) {
  return source.hasMore ? (entriesOf(source).at(-1)?.at ?? '') : ''
}

/**
 * The newest `wanted` of all of them. A list is read on only while it reaches less far back than
 * the others, so that nothing is left out between two entries.
 * @param {readonly Source[]} sources
 * @param {number} wanted
 * @param {AbortSignal} signal
 */
async function newestOf(sources, wanted, signal) {
  const readOn = async (/** @type {Source} */ source) => {
    const more = source.cursor === null ? '' : `&cursor=${encodeURIComponent(source.cursor)}`
    const route = `${source.route}&limit=${pageSize}${more}`
    const page = await call('GET', route, undefined, { signal })
    source.rows.push(...page.items)
    source.cursor = page.cursor ?? null
    source.hasMore = source.cursor !== null
  }
  await Promise.all(sources.map(readOn))
  for (;;) {
    const horizon = sources.map(readTo).reduce((a, b) => (a > b ? a : b), '')
    const entries = sources
      .flatMap(entriesOf)
      .filter((e) => e.at >= horizon)
      .toSorted((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.key < b.key ? 1 : -1))
    const behind = sources.filter((source) => source.hasMore && readTo(source) === horizon)
    if (entries.length >= wanted || behind.length === 0) {
      const hasMore = behind.length > 0 || entries.length > wanted
      return { entries: entries.slice(0, wanted), hasMore }
    }
    await Promise.all(behind.map(readOn))
  }
}

/**
 * What happened to an account and to its credentials, newest first: operations and what the audit
 * log says, merged.
 * @param {{ ids: readonly string[] }} props
 */
export function Timeline({ ids }) {
  const [pages, setPages] = useState(1)
  const route = ids.join(' ')
  const concerned = new Set(ids)
  const read = useRead(`timeline ${route} ${pages}`, {
    concerns: (c) => concerned.has(c.subject.id),
    read: async (_key, signal) => {
      const sources = (/** @type {boolean} */ isOperation) =>
        ids.map((id) => ({
          route: isOperation
            ? `/api/v1/operations?subject=${id}`
            : `/api/v1/audit?target=${id}&order=newest`,
          isOperation,
          rows: [],
          cursor: null,
          hasMore: true,
        }))
      const wanted = pages * pageSize
      const all = [...sources(true), ...sources(false)]
      try {
        return { ...(await newestOf(all, wanted, signal)), refused: null }
      } catch (error) {
        // Whoever may not read the audit log sees the operations still.
        if (!(error instanceof Refusal) || error.status !== 403) throw error
        return { ...(await newestOf(sources(true), wanted, signal)), refused: error.message }
      }
    },
  })
  const { data } = useKept(route, read)
  return html`<${Shown} read=${{ ...read, data }} what="Reading what happened">
    ${(
      /** @type {{ entries: readonly Entry[], hasMore: boolean, refused: string | null }} */ found,
    ) =>
      html`${
        found.refused
          ? html`<p class="small">
              The audit log is not shown: <${Text} value=${found.refused} />
            </p>`
          : null
      }
      ${
        found.entries.length === 0
          ? html`<${Empty} title="Nothing has happened yet." />`
          : html`<ol class="timeline">
              ${found.entries.map((e) => (e.operation ? html`<${OperationEntry} key=${e.key} operation=${e.operation} />` : html`<${AuditEntry} key=${e.key} row=${e.row} />`))}
            </ol>`
      }
      ${
        found.hasMore
          ? html`<${More}
              list=${{ hasMore: true, isLoading: read.isLoading, more: () => setPages(pages + 1) }}
              shown=${found.entries.length}
              what="entries"
            />`
          : null
      }`}
  <//>`
}

/** @type {Readonly<Record<string, string>>} */
const tones = { succeeded: 'good', failed: 'bad', needsOperator: 'bad', waiting: 'warn' }

/** @param {{ operation: any }} props */
function OperationEntry({ operation: o }) {
  return html`<li class=${tones[o.status] ?? ''}>
    <p>
      <a href=${link(['operations', o.id])}>${words(o.kind)}</a>
      <${Status} value=${o.status} />
      ${o.step ? html` <span class="small">at ${words(o.step)},</span>` : null} ${' '}<span
        class="small"
        ><${When} at=${o.createdAt}
      /></span>
    </p>
    ${o.failure ? html`<p class="small"><${Text} value=${o.failure.message} /></p>` : null}
  </li>`
}

/** @param {{ row: any }} props */
function AuditEntry({ row }) {
  const facts = Object.entries(row.facts ?? {}).filter(([, v]) => v !== null && v !== '')
  return html`<li>
    <p>
      <strong>${words(row.action)}</strong>
      <span class="small">
        by <${Text} value=${actorName(row.actor)} />, <${When} at=${row.at}
      /></span>
    </p>
    ${
      facts.length > 0
        ? html`<details>
            <summary>Facts</summary>
            <dl class="facts">
              ${facts.map(
                ([name, value]) =>
                  html`<div>
                    <dt>${visible(words(name))}</dt>
                    <dd><${Value} value=${value} /></dd>
                  </div>`,
              )}
            </dl>
          </details>`
        : null
    }
  </li>`
}

/** Who did it, in a word. @param {any} actor */
export function actorName(actor) {
  if (actor === null || actor === undefined) return 'Custody'
  if (typeof actor === 'string') return actor
  return actor.name ?? actor.id ?? actor.type ?? 'Custody'
}
