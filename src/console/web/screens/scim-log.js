import { useList, useRead } from '../lib/data.js'
import { html } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { ClientField } from '../parts/client-field.js'
import { Page } from '../parts/page.js'
import { AttributesView } from '../parts/scim-attributes.js'
import { Connections } from '../parts/scim-connections.js'
import { FailedView } from '../parts/scim-failed.js'
import { RequestDialog, ScimStatus } from '../parts/scim-request.js'
import { Empty, Shown } from '../parts/states.js'
import { More, Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'
import { Views } from '../parts/views.js'

/** @param {{ place: import('../lib/router.js').Place }} props */
export function ScimLogScreen({ place }) {
  const { query } = place
  const view = query.get('view') ?? ''
  const client = query.get('client')
  const clients = useRead('/api/v1/clients?limit=200', {
    concerns: (change) => change.subject.type === 'client',
  })
  /** @type {readonly any[]} */
  const known = clients.data?.items ?? []
  const nameOf = (/** @type {string} */ id) => known.find((c) => c.id === id)?.name ?? id
  const keep = { client }
  return html`<${Page}
    title="SCIM log"
    lead="What identity providers and other clients sent to SCIM in the last 30 days, and what they got. Secrets are masked before anything is kept."
  >
    <${Connections} clients=${clients} current=${client} />
    <${Views}
      label="Parts of the SCIM log"
      current=${view}
      views=${[
        { name: '', title: 'Requests', href: link(['scim-log'], keep) },
        { name: 'failed', title: 'Failed', href: link(['scim-log'], { view: 'failed', ...keep }) },
        {
          name: 'attributes',
          title: 'What clients send',
          href: link(['scim-log'], { view: 'attributes', ...keep }),
        },
      ]}
    />
    ${
      view === 'failed'
        ? html`<${FailedView} place=${place} clients=${known} nameOf=${nameOf} />`
        : view === 'attributes'
          ? html`<${AttributesView} place=${place} clients=${known} />`
          : html`<${RequestsView} place=${place} clients=${known} nameOf=${nameOf} />`
    }
  <//>`
}

const statuses = ['failed', '400', '401', '403', '404', '409', '412', '429', '500', '503']

/**
 * @param {{ place: import('../lib/router.js').Place, clients: readonly any[], nameOf: (id: string) => string }} props
 */
function RequestsView({ place, clients, nameOf }) {
  const { query } = place
  const [client, status] = [query.get('client'), query.get('status')]
  const parameters = new URLSearchParams()
  if (client) parameters.set('client', client)
  if (status) parameters.set('status', status)
  const text = parameters.toString()
  const list = useList(`/api/v1/scim-requests${text === '' ? '' : `?${text}`}`, { limit: 50 })
  const rows = list.items ?? []
  const chosen = rows.find((r) => r.id === query.get('request'))
  return html`<div class="toolbar" role="search">
      <${ClientField} clients=${clients} value=${client ?? ''} />
      <label class="field"
        >Answer
        <select
          name="status"
          value=${status ?? ''}
          onChange=${(/** @type {any} */ e) => setQuery({ status: e.target.value, request: null })}
        >
          <option value="">all</option>
          ${statuses.map((s) => html`<option value=${s}>${s}</option>`)}
        </select></label
      >
      <button type="button" onClick=${list.reload}>Read again</button>
    </div>
    <${Shown} read=${list} what="Reading the requests">
      ${() =>
        rows.length === 0
          ? html`<${Empty}
              title=${client || status ? 'No request matches.' : 'No client has sent anything yet.'}
            >
              ${
                client || status
                  ? html`<a href=${link(['scim-log'])}>Show all requests</a>. Single reads that
                      succeeded are not kept.`
                  : 'Once a connection is set up, its first request shows here: usually one for ServiceProviderConfig.'
              }
            <//>`
          : html`<${Table}
                caption="SCIM requests, the newest first"
                columns=${columnsWith(nameOf)}
                rows=${rows}
                keyOf=${(/** @type {any} */ row) => row.id}
                hrefOf=${(/** @type {any} */ row) =>
                  link(['scim-log'], { ...Object.fromEntries(query), request: row.id })}
              />
              <${More} list=${list} shown=${rows.length} what="requests" />`}
    <//>
    ${
      chosen
        ? html`<${RequestDialog}
            request=${chosen}
            client=${nameOf(chosen.client)}
            onClose=${() => setQuery({ request: null })}
          />`
        : null
    }`
}

/** @param {(id: string) => string} nameOf @returns {readonly import('../parts/table.js').Column[]} */
function columnsWith(nameOf) {
  return [
    { title: 'When', className: 'nowrap', show: (row) => html`<${When} at=${row.at} />` },
    {
      title: 'Request',
      isMain: true,
      show: (row) =>
        html`<span class="action-name"
          >${row.method} <${Text} value=${row.route + (row.query ? `?${row.query}` : '')}
        /></span>`,
    },
    { title: 'Client', show: (row) => html`<${Text} value=${nameOf(row.client)} />` },
    { title: 'Answer', show: (row) => html`<${ScimStatus} value=${row.status} />` },
    {
      title: 'Why',
      className: 'widest',
      show: (row) => html`<${Text} value=${row.error} />`,
    },
    { title: 'Took', className: 'nowrap', show: (row) => `${row.milliseconds} ms` },
  ]
}
