import { call } from '../lib/api.js'
import { useList, useRead } from '../lib/data.js'
import { count, words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { ClientField } from './client-field.js'
import { Confirm, Dialog } from './dialog.js'
import { notify } from './notices.js'
import { RequestFacts, ScimStatus } from './scim-request.js'
import { Empty, Problem, Shown } from './states.js'
import { Status } from './status.js'
import { More, Table } from './table.js'
import { Facts, Text, When } from './text.js'

const states = ['open', 'settled', 'replayed', 'signedOff']

/**
 * Writes that were refused, until somebody has dealt with them.
 * @param {{ place: import('../lib/router.js').Place, clients: readonly any[], nameOf: (id: string) => string }} props
 */
export function FailedView({ place, clients, nameOf }) {
  const { query } = place
  const [client, state] = [query.get('client'), query.get('state') ?? 'open']
  const parameters = new URLSearchParams({ state })
  if (client) parameters.set('client', client)
  const list = useList(`/api/v1/scim-requests/failed?${parameters}`, { limit: 50 })
  const rows = list.items ?? []
  const [isReplaying, setReplaying] = useState(false)
  const chosen = query.get('failed')
  const canAll = client !== null && state === 'open' && mayAct() && rows.some((r) => r.replayable)
  return html`<div class="toolbar" role="search">
      <${ClientField} clients=${clients} value=${client ?? ''} />
      <label class="field"
        >State
        <select
          name="state"
          value=${state}
          onChange=${(/** @type {any} */ e) => setQuery({ state: e.target.value, failed: null })}
        >
          ${states.map((s) => html`<option value=${s}>${words(s)}</option>`)}
        </select></label
      >
      <button type="button" onClick=${list.reload}>Read again</button>
      ${
        canAll
          ? html`<button type="button" class="primary" onClick=${() => setReplaying(true)}>
              Run all of this client again…
            </button>`
          : null
      }
    </div>
    <${Shown} read=${list} what="Reading what failed">
      ${() =>
        rows.length === 0
          ? html`<${Empty}
              title=${state === 'open' ? 'No refused write waits for anybody.' : `None is ${words(state)}.`}
            >
              Every write that is refused is kept here for 30 days, or until it is dealt with.
            <//>`
          : html`<${Table}
                caption="Writes that were refused, the oldest first"
                columns=${columnsWith(nameOf)}
                rows=${rows}
                keyOf=${(/** @type {any} */ row) => row.id}
                hrefOf=${(/** @type {any} */ row) =>
                  link(['scim-log'], { ...Object.fromEntries(query), failed: row.id })}
              />
              <${More} list=${list} shown=${rows.length} what="requests" />`}
    <//>
    ${
      chosen
        ? html`<${FailedDialog}
            key=${chosen}
            id=${chosen}
            nameOf=${nameOf}
            onChanged=${list.reload}
            onClose=${() => setQuery({ failed: null })}
          />`
        : null
    }
    ${
      isReplaying && client
        ? html`<${ReplayAll}
            client=${client}
            name=${nameOf(client)}
            onDone=${list.reload}
            onClose=${() => setReplaying(false)}
          />`
        : null
    }`
}

/** @param {(id: string) => string} nameOf @returns {readonly import('./table.js').Column[]} */
function columnsWith(nameOf) {
  return [
    { title: 'Last', className: 'nowrap', show: (row) => html`<${When} at=${row.lastAt} />` },
    {
      title: 'Request',
      isMain: true,
      show: (row) => html`<span class="action-name">${row.method} ${row.route}</span>`,
    },
    { title: 'Times', className: 'number', show: (row) => row.times },
    { title: 'Client', show: (row) => html`<${Text} value=${nameOf(row.client)} />` },
    { title: 'Answer', show: (row) => html`<${ScimStatus} value=${row.status} />` },
    { title: 'Why', className: 'widest', show: (row) => html`<${Text} value=${row.error} />` },
    { title: 'State', show: (row) => html`<${Status} value=${row.state} />` },
  ]
}

/**
 * @param {{ id: string, nameOf: (id: string) => string, onChanged: () => void, onClose: () => void }} props
 */
function FailedDialog({ id, nameOf, onChanged, onClose }) {
  const route = `/api/v1/scim-requests/failed/${encodeURIComponent(id)}`
  const read = useRead(route, { concerns: (change) => change.subject.id === id })
  const [asking, setAsking] = useState(/** @type {'replay' | 'signOff' | null} */ (null))
  const [tried, setTried] = useState(/** @type {any} */ (null))
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const [isBusy, setBusy] = useState(false)
  const dryRun = async () => {
    if (isBusy) return
    setBusy(true)
    setError(null)
    try {
      setTried(await call('POST', `${route}/replay?dryRun=true`, {}))
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
    }
    setBusy(false)
  }
  const done = (/** @type {any} */ said, /** @type {'good' | 'bad'} */ tone) => {
    notify(said, tone)
    read.reload()
    onChanged()
  }
  const failure = read.data
  return html`<${Dialog} title="A write that was refused" isWide onClose=${onClose}>
      <${Shown} read=${read} what="Reading the request">
        ${() =>
          html`<${Decided} failure=${failure} />
            <${RequestFacts} request=${failure} client=${nameOf(failure.client)} />
            ${failure.obstacle ? html`<p>It cannot be run again: <${Text} value=${failure.obstacle} /></p>` : null}
            ${
              failure.state === 'open' && mayAct()
                ? html`<div class="row">
                    ${
                      failure.replayable
                        ? html`<button type="button" onClick=${dryRun} aria-disabled=${isBusy}>
                              ${isBusy ? 'Trying…' : 'Dry run'}
                            </button>
                            <button
                              type="button"
                              class="primary"
                              onClick=${() => setAsking('replay')}
                            >
                              Run again…
                            </button>`
                        : null
                    }
                    <button type="button" onClick=${() => setAsking('signOff')}>Sign off…</button>
                  </div>`
                : null
            }
            ${error ? html`<${Problem} error=${error} />` : null}
            ${tried ? html`<div role="status"><${Tried} answer=${tried} /></div>` : null}`}
      <//>
    <//>
    ${
      asking === 'replay'
        ? html`<${Confirm}
            title="Run this request again?"
            verb="Run again"
            isDestructive=${tried?.overtaken ?? false}
            onClose=${() => setAsking(null)}
            act=${async (/** @type {{ key: string }} */ { key }) => {
              const body = tried?.overtaken ? { force: true } : {}
              const answer = await call('POST', `${route}/replay`, body, { key })
              setTried(null)
              if (answer.detail === null) done('Run again and accepted.', 'good')
              else done(`Refused again: ${answer.detail}`, 'bad')
            }}
          >
            <p>
              It runs as <${Text} value=${nameOf(failure.client)} />, with the rights that client
              has today, through the same checks and brakes.
            </p>
            ${tried ? html`<${Tried} answer=${tried} />` : null}
          <//>`
        : null
    }
    ${
      asking === 'signOff'
        ? html`<${Confirm}
            title="Sign off without running it?"
            verb="Sign off"
            reason="required"
            onClose=${() => setAsking(null)}
            act=${async (/** @type {{ key: string, reason: string | null }} */ { key, reason }) => {
              await call('POST', `${route}/sign-off`, { reason }, { key })
              done('Signed off.', 'good')
            }}
          >
            <p>
              What was sent is dropped, and nobody is reminded of it any more. Why it may rest is
              kept with your name.
            </p>
          <//>`
        : null
    }`
}

/** @param {{ failure: any }} props */
function Decided({ failure }) {
  if (failure.state === 'open') return null
  return html`<${Facts}
    facts=${[
      ['State', html`<${Status} value=${failure.state} />`],
      ['Decided', html`<${When} at=${failure.decidedAt} />`],
      ['By', html`<${Text} value=${failure.decidedBy} />`],
      ['Reason', failure.note ? html`<${Text} value=${failure.note} />` : null],
    ]}
  />`
}

/** What running it again would answer. @param {{ answer: any }} props */
function Tried({ answer }) {
  const queued = answer.operations.map((/** @type {any} */ o) => words(o.kind))
  return html`<div class=${answer.detail === null ? 'banner good' : 'banner warn'}>
    <p>
      <strong
        >${
          answer.detail === null
            ? `It would be accepted now (${answer.status}).`
            : `It would be refused again (${answer.status}).`
        }</strong
      >
      ${answer.detail === null ? null : html` <${Text} value=${answer.detail} />`}
      ${queued.length > 0 ? ` It would start: ${queued.join(', ')}.` : ''}
      ${
        answer.overtaken
          ? ' Somebody has written this resource since it failed: running it brings old news back.'
          : ''
      }
    </p>
  </div>`
}

/**
 * Everything open of one client, first as a dry run.
 * @param {{ client: string, name: string, onDone: () => void, onClose: () => void }} props
 */
function ReplayAll({ client, name, onDone, onClose }) {
  const read = useRead(`/api/v1/scim-requests/failed/replay?dryRun=true#${client}`, {
    concerns: () => false,
    read: (_route, signal) =>
      call('POST', '/api/v1/scim-requests/failed/replay?dryRun=true', { client }, { signal }),
  })
  return html`<${Confirm}
    title="Run all refused writes of this client again?"
    verb=${read.data ? `Run ${count(read.data.items.length, 'request')} again` : 'Run them again'}
    onClose=${onClose}
    act=${async (/** @type {{ key: string }} */ { key }) => {
      const answer = await call('POST', '/api/v1/scim-requests/failed/replay', { client }, { key })
      const more = answer.cursor === null ? '' : ' There are more: run them, too.'
      const tone = answer.refused === 0 ? 'good' : 'bad'
      notify(`${answer.accepted} accepted, ${answer.refused} refused again.${more}`, tone)
      onDone()
    }}
  >
    <p>In the order in which they failed, as <${Text} value=${name} />.</p>
    <${Shown} read=${read} what="Trying them without effect">
      ${(/** @type {any} */ data) =>
        html`<p role="status">
            <strong
              >Dry run: ${data.accepted} would be accepted, ${data.refused} refused again.</strong
            >
          </p>
          <ul class="fact-list">
            ${data.items
              .filter((/** @type {any} */ i) => i.detail !== null)
              .slice(0, 10)
              .map(
                (/** @type {any} */ i) =>
                  html`<li><${ScimStatus} value=${i.status} /> <${Text} value=${i.detail} /></li>`,
              )}
          </ul>`}
    <//>
  <//>`
}
