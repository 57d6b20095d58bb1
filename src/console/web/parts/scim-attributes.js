import { useRead } from '../lib/data.js'
import { html } from '../lib/html.js'
import { setQuery } from '../lib/router.js'
import { ClientField } from './client-field.js'
import { Empty, Shown } from './states.js'
import { Status } from './status.js'
import { Table } from './table.js'
import { Text, When } from './text.js'

/** @type {Readonly<Record<string, 'good' | 'busy' | 'warn' | 'bad'>>} */
const tones = { accepted: 'good', repaired: 'good', ignored: 'warn', refused: 'bad' }

/**
 * What a connection really sends, and what its dialect makes of it.
 * @param {{ place: import('../lib/router.js').Place, clients: readonly any[] }} props
 */
export function AttributesView({ place, clients }) {
  const { query } = place
  const chosen =
    query.get('client') ?? clients.find((c) => c.role === 'directory' && !c.revokedAt)?.id ?? null
  const isAll = query.get('all') === 'yes'
  const read = useRead(chosen === null ? null : `/api/v1/clients/${chosen}/attributes`)
  return html`<div class="toolbar" role="search">
      <${ClientField} clients=${clients} value=${chosen ?? ''} none="choose one" />
      <label class="check"
        ><input
          type="checkbox"
          name="all"
          checked=${isAll}
          onChange=${() => setQuery({ all: isAll ? null : 'yes' })}
        />
        Also what is accepted as it comes</label
      >
    </div>
    ${
      chosen === null
        ? html`<${Empty} title="Choose a client.">
            Then you see every attribute it sends, in which form, and what becomes of it.
          <//>`
        : html`<${Shown} read=${read} what="Reading what it sends">
            ${(/** @type {any} */ data) => html`<${Attributes} data=${data} isAll=${isAll} />`}
          <//>`
    }`
}

/** @param {{ data: any, isAll: boolean }} props */
function Attributes({ data, isAll }) {
  const all = data.attributes.flatMap((/** @type {any} */ a) =>
    a.forms.map((/** @type {any} */ f) => ({ ...a, ...f })),
  )
  const rows = isAll ? all : all.filter((/** @type {any} */ r) => r.treatment !== 'accepted')
  return html`${
    rows.length === 0
      ? html`<${Empty}
          title=${
            all.length === 0
              ? 'This client has sent no attribute yet.'
              : `All ${all.length} forms it sends are accepted as they come.`
          }
        />`
      : html`<${Table}
          caption="Attributes this client sends"
          columns=${columns}
          rows=${rows}
          keyOf=${(/** @type {any} */ r) => `${r.resource} ${r.path} ${r.form} ${r.operation}`}
        />`
  }
  ${
    data.neverSent.length > 0
      ? html`<section class="card">
          <header><h2>Never sent, and it matters</h2></header>
          <ul class="fact-list">
            ${data.neverSent.map(
              (/** @type {any} */ m) =>
                html`<li>
                  <span class="soft">${m.resource}</span>${' '}<span class="action-name"
                    ><${Text} value=${shortOf(m.path)} /></span
                  >: ${m.why}
                </li>`,
            )}
          </ul>
        </section>`
      : null
  }`
}

/** Without the name of the schema, of which there is one a resource. @param {string} path */
function shortOf(path) {
  return path.replace(/^urn:(?:[^:]+:)+(?:\d+\.\d+:)(?:User|Group|Credential):/, '')
}

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  {
    title: 'Attribute',
    isMain: true,
    show: (row) =>
      html`<span class="action-name" title=${row.path}
        ><${Text} value=${shortOf(row.path)}
      /></span>`,
  },
  { title: 'Of', show: (row) => row.resource },
  { title: 'Expected', show: (row) => row.expected ?? 'unknown here' },
  { title: 'Sent as', show: (row) => row.form },
  { title: 'By', show: (row) => row.operation },
  {
    title: 'What becomes of it',
    show: (row) => html`<${Status} value=${row.treatment} tone=${tones[row.treatment] ?? 'off'} />`,
  },
  { title: 'Times', className: 'number', show: (row) => row.count },
  { title: 'Last', className: 'nowrap', show: (row) => html`<${When} at=${row.lastAt} />` },
]
