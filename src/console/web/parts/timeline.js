import { useList } from '../lib/data.js'
import { visible, words } from '../lib/format.js'
import { html } from '../lib/html.js'
import { link } from '../lib/router.js'
import { Empty, Problem } from './states.js'
import { Status } from './status.js'
import { More } from './table.js'
import { Text, Value, When } from './text.js'

/**
 * What happened to one thing, newest first: its operations and what the audit log says, merged.
 * @param {{ id: string }} props
 */
export function Timeline({ id }) {
  const concerns = (/** @type {import('../lib/live.js').Change} */ c) => c.subject.id === id
  const operations = useList(`/api/v1/operations?subject=${id}`, { concerns, limit: 50 })
  const audit = useList(`/api/v1/audit?target=${id}`, { concerns, limit: 50 })
  const error = operations.error ?? (audit.error && audit.items ? audit.error : null)
  const entries = [
    ...(operations.items ?? []).map((o) => ({
      at: o.createdAt,
      key: o.id,
      operation: o,
      row: null,
    })),
    ...(audit.items ?? []).map((r) => ({ at: r.at, key: r.id, operation: null, row: r })),
  ].toSorted((a, b) => (a.at < b.at ? 1 : a.at > b.at ? -1 : a.key < b.key ? 1 : -1))
  return html`${error ? html`<${Problem} error=${error} again=${operations.reload} />` : null}
  ${
    audit.error && !audit.items
      ? html`<p class="small">
          The audit log is not shown: <${Text} value=${audit.error.message} />
        </p>`
      : null
  }
  ${
    entries.length === 0
      ? html`<${Empty} title="Nothing has happened yet." />`
      : html`<ol class="timeline">
          ${entries.map((e) => (e.operation ? html`<${OperationEntry} key=${e.key} operation=${e.operation} />` : html`<${AuditEntry} key=${e.key} row=${e.row} />`))}
        </ol>`
  }
  ${audit.hasMore ? html`<${More} list=${audit} shown=${entries.length} what="entries" />` : null}`
}

/** @type {Readonly<Record<string, string>>} */
const tones = { succeeded: 'good', failed: 'bad', needsOperator: 'bad', waiting: 'warn' }

/** @param {{ operation: any }} props */
function OperationEntry({ operation: o }) {
  return html`<li class=${tones[o.status] ?? ''}>
    <p>
      <a href=${link(['operations', o.id])}>${words(o.kind)}</a>
      <${Status} value=${o.status} />
      ${o.step ? html` <span class="small">at ${words(o.step)}</span>` : null} ${' '}<span
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
