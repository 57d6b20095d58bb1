import { useList, useRead } from '../lib/data.js'
import { csv, download } from '../lib/files.js'
import { html, useEffect, useState } from '../lib/html.js'
import { idOf, isUuid } from '../lib/names.js'
import { link, setQuery } from '../lib/router.js'
import { AuditEntry } from '../parts/audit-entry.js'
import { Commands } from '../parts/commands.js'
import { Diff } from '../parts/diff.js'
import { LogVerdict } from '../parts/log-verdict.js'
import { Named } from '../parts/named.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Problem, Shown } from '../parts/states.js'
import { More, Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'

/** @param {{ place: import('../lib/router.js').Place }} props */
export function AuditScreen({ place }) {
  const { query } = place
  const [target, action, operation] = ['target', 'action', 'operation'].map((n) => query.get(n))
  const parameters = new URLSearchParams({ order: 'newest' })
  for (const name of ['target', 'action', 'operation']) {
    const value = query.get(name)
    if (value) parameters.set(name, value)
  }
  const list = useList(`/api/v1/audit?${parameters}`, { limit: 50 })
  const isNarrowed = Boolean(target || action || operation)
  const rows = list.items ?? []
  const chosen = query.get('entry')
  return html`<${Page}
    title="Audit"
    lead="Everything Custody did or asked a provider for, in a log that shows when it is changed afterwards."
    actions=${html`<button type="button" onClick=${() => saveCsv(rows)}>Export CSV</button>
      <button type="button" onClick=${() => saveJson(rows)}>Export JSON</button>`}
  >
    <${LogVerdict} />
    <${Filter} key=${parameters.toString()} query=${query} actions=${actionsOf(rows)} />
    <${Shown} read=${list} what="Reading the log">
      ${() =>
        rows.length === 0
          ? html`<${Empty} title=${isNarrowed ? 'No entry matches.' : 'Nothing has happened yet.'}>
              ${
                isNarrowed
                  ? html`The log itself is not empty:
                      <a href=${link(['audit'])}>show all of it</a>.`
                  : 'The first request of a client makes the first entry.'
              }
            <//>`
          : html`<${Table}
                caption="Audit log, the newest entry first"
                columns=${columns}
                rows=${rows}
                keyOf=${(/** @type {any} */ row) => row.id}
                hrefOf=${(/** @type {any} */ row) => entryHref(place, row.id)}
              />
              <${More} list=${list} shown=${rows.length} what="entries" />`}
    <//>
    <${TakeAway} />
    ${
      chosen
        ? html`<${ChosenEntry}
            key=${chosen}
            id=${chosen}
            known=${rows.find((r) => r.id === chosen)}
          />`
        : null
    }
  <//>`
}

/** @param {import('../lib/router.js').Place} place @param {string} id */
function entryHref(place, id) {
  return link(['audit'], { ...Object.fromEntries(place.query), entry: id })
}

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  {
    title: 'When',
    className: 'nowrap',
    show: (row) => html`<${When} at=${row.at} />`,
    value: (row) => row.at,
  },
  {
    title: 'What',
    isMain: true,
    show: (row) => html`<span class="action-name">${row.action}</span>`,
    value: (row) => row.action,
  },
  {
    title: 'Target',
    show: (row) =>
      html`<span class="soft">${row.targetType}</span>${' '}<${Named}
          type=${row.targetType}
          id=${row.target}
        />`,
    value: (row) => `${row.targetType} ${row.target}`,
  },
  {
    title: 'Who',
    show: (row) => html`<${Text} value=${row.actor?.name} />`,
    value: (row) => row.actor?.name,
  },
  {
    title: 'Changed',
    className: 'widest',
    show: (row) => html`<${Diff} facts=${row.facts} most=${3} />`,
    value: (row) => row.facts,
  },
  {
    title: 'Decision',
    show: (row) =>
      row.decision
        ? html`<${Text}
            value=${`${row.decision.effect}: ${(row.decision.reasons ?? []).join(', ')}`}
          />`
        : html`<span class="none">–</span>`,
    value: (row) => row.decision,
  },
]

const exported = [
  ...columns,
  ...['id', 'seq', 'operation', 'leaf'].map((name) => ({
    title: name,
    show: () => null,
    value: (/** @type {any} */ row) => row[name],
  })),
]

/** @param {readonly any[]} rows */
function saveCsv(rows) {
  const named = exported.map((c) => ({ title: c.title, value: c.value ?? (() => null) }))
  download('custody-audit.csv', 'text/csv', csv(named, rows))
}

/** @param {readonly any[]} rows */
function saveJson(rows) {
  download('custody-audit.json', 'application/json', JSON.stringify(rows, null, 2))
}

/** @param {readonly any[]} rows */
function actionsOf(rows) {
  return [...new Set(rows.map((r) => String(r.action)))].sort()
}

/** @param {{ query: URLSearchParams, actions: readonly string[] }} props */
function Filter({ query, actions }) {
  const [target, setTarget] = useState(query.get('target') ?? '')
  const [action, setAction] = useState(query.get('action') ?? '')
  const [operation, setOperation] = useState(query.get('operation') ?? '')
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const apply = async (/** @type {Event} */ event) => {
    event.preventDefault()
    setError(null)
    try {
      const wanted = target.trim()
      const id = wanted === '' || isUuid(wanted) ? wanted : ((await idOf(wanted)) ?? wanted)
      setQuery({ target: id, action: action.trim(), operation: operation.trim(), entry: null })
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
    }
  }
  const isNarrowed = query.get('target') || query.get('action') || query.get('operation')
  return html`<form class="toolbar" role="search" onSubmit=${apply}>
      <label class="field grow"
        >Target
        <input
          name="target"
          data-find
          autocomplete="off"
          spellcheck=${false}
          placeholder="name or id of an account, a person, …"
          value=${target}
          onInput=${(/** @type {any} */ e) => setTarget(e.target.value)}
      /></label>
      <label class="field"
        >Action
        <input
          name="action"
          list="audit-actions"
          autocomplete="off"
          spellcheck=${false}
          placeholder="key.refused"
          value=${action}
          onInput=${(/** @type {any} */ e) => setAction(e.target.value)}
      /></label>
      <datalist id="audit-actions">
        ${actions.map((a) => html`<option value=${a}></option>`)}
      </datalist>
      <label class="field"
        >Operation
        <input
          name="operation"
          autocomplete="off"
          spellcheck=${false}
          placeholder="id"
          value=${operation}
          onInput=${(/** @type {any} */ e) => setOperation(e.target.value)}
      /></label>
      <button type="submit">Filter</button>
      ${isNarrowed ? html`<a class="button" href=${link(['audit'])}>Clear</a>` : null}
    </form>
    ${error ? html`<${Problem} error=${error} />` : null}`
}

/**
 * One entry, from the list where it stands there, else from its proof.
 * @param {{ id: string, known: any }} props
 */
function ChosenEntry({ id, known }) {
  const read = useRead(known ? null : `/api/v1/audit/proof/${encodeURIComponent(id)}`, {
    concerns: () => false,
  })
  const [row, setRow] = useState(known)
  useEffect(() => {
    if (read.data) setRow({ ...read.data.row, seq: read.data.seq, leaf: read.data.leaf })
  }, [read.data])
  const close = () => setQuery({ entry: null })
  return html`<${AuditEntry} row=${row ?? null} read=${read} onClose=${close} />`
}

function TakeAway() {
  return html`<${Card} title="Take the log with you">
    <p>
      A copy of the whole signed log, to keep elsewhere or to hand to an auditor, who needs nothing
      but the public key to check it:
    </p>
    <${Commands}
      lines=${[
        'custody audit export --output log.jsonl',
        'custody audit verify log.jsonl --key KEY',
      ]}
    />
    <p class="small">
      CSV and JSON above hold the entries shown here, for a spreadsheet: they prove nothing. A proof
      of one entry is in the entry itself.
    </p>
  <//>`
}
