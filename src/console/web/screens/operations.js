import { call } from '../lib/api.js'
import { useList, useRead } from '../lib/data.js'
import { words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from '../parts/dialog.js'
import { AccountName, OwnerName } from '../parts/find-person.js'
import { notify } from '../parts/notices.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { More, Table } from '../parts/table.js'
import { Code, Facts, Text, When } from '../parts/text.js'

const statuses = [
  ['needsOperator', 'Stuck: needs a decision'],
  ['running', 'Running'],
  ['waiting', 'Waiting'],
  ['queued', 'Queued'],
  ['failed', 'Failed'],
  ['cancelled', 'Cancelled'],
  ['succeeded', 'Succeeded'],
]

const everyMs = 2_000

/** The journal of queued work. @param {{ place: import('../lib/router.js').Place }} props */
export function OperationsScreen({ place }) {
  const [id] = place.rest
  return !id ? html`<${List} place=${place} />` : html`<${One} id=${id} />`
}

/** @param {{ place: import('../lib/router.js').Place }} props */
function List({ place }) {
  const status = place.query.get('status') ?? ''
  const subject = place.query.get('subject') ?? ''
  const query = new URLSearchParams({ ...(status && { status }), ...(subject && { subject }) })
  const route = `/api/v1/operations${query.size > 0 ? `?${query}` : ''}`
  const list = useList(route, { concerns: () => true, limit: 50 })
  return html`<${Page}
    title="Operations"
    lead="Everything Custody does at a provider is an operation in the journal: it survives a crash, is done once, and asks when it cannot decide."
  >
    <${Stuck} />
    <form class="toolbar" onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}>
      <label class="field"
        >Status
        <select
          name="status"
          data-find
          value=${status}
          onChange=${(/** @type {any} */ e) => setQuery({ status: e.target.value })}
        >
          <option value="">All, newest first</option>
          ${statuses.map(([value, title]) => html`<option value=${value} selected=${value === status}>${title}</option>`)}
        </select></label
      >
      ${
        subject
          ? html`<button type="button" onClick=${() => setQuery({ subject: null })}>
              Only on ${subject.slice(0, 8)}… ✕
            </button>`
          : null
      }
    </form>
    <${Shown} read=${list} what="Reading the journal">
      ${(/** @type {any} */ data) =>
        data.items.length === 0
          ? html`<${Empty} title="No operation is like that." />`
          : html`<${Table}
                caption="Operations"
                rows=${data.items}
                keyOf=${(/** @type {any} */ o) => o.id}
                hrefOf=${(/** @type {any} */ o) => link(['operations', o.id])}
                columns=${columns}
              />
              <${More} list=${list} shown=${data.items.length} what="operations" />`}
    <//>
  <//>`
}

/** What waits for a person is said first, with the sentence of what to decide. */
function Stuck() {
  const stuck = useList('/api/v1/operations?status=needsOperator', {
    concerns: (c) => c.operation !== null || c.subject.type === 'operation',
    limit: 20,
  })
  if (!stuck.items || stuck.items.length === 0) return null
  return html`<${Card}
    title=${`Stuck: ${stuck.items.length}${stuck.hasMore ? ' and more' : ''} need a decision`}
  >
    <ul class="stack">
      ${stuck.items.map(
        (o) =>
          html`<li class="stuck">
            <p>
              <strong>${words(o.kind)}</strong>
              ${o.account ? html` of <${AccountName} id=${o.account} />` : null}, since${' '}
              <${When} at=${o.runAt} />
            </p>
            <p><${Text} value=${o.failure?.message} none="It says nothing more." /></p>
            <${Decisions} operation=${o} onDone=${stuck.reload} />
          </li>`,
      )}
    </ul>
  <//>`
}

/** Their subject is a person. */
const ofPeople = new Set(['leave', 'undo'])

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  { title: 'What', isMain: true, show: (o) => words(o.kind) },
  { title: 'Status', show: (o) => html`<${Status} value=${o.status} />` },
  {
    title: 'Of',
    show: (o) =>
      o.account
        ? html`<${AccountName} id=${o.account} />`
        : ofPeople.has(o.kind)
          ? html`<${OwnerName} owner=${{ id: o.subject }} />`
          : html`<${Code} value=${o.subject} />`,
  },
  {
    title: 'Step',
    show: (o) => html`<${Text} value=${o.step === null ? null : words(o.step ?? '')} />`,
  },
  { title: 'Begun', show: (o) => html`<${When} at=${o.createdAt} />` },
  {
    title: 'Ended or next',
    show: (o) =>
      o.finishedAt
        ? html`<${When} at=${o.finishedAt} />`
        : html`<span class="soft">next <${When} at=${o.runAt} /></span>`,
  },
  {
    title: 'Why',
    className: 'why',
    show: (o) => html`<${Text} value=${o.failure?.message} />`,
  },
]

/** @param {{ id: string }} props */
function One({ id }) {
  const read = useRead(`/api/v1/operations/${encodeURIComponent(id)}`, {
    concerns: (c) => c.operation === id || c.subject.id === id,
    everyMs,
  })
  return html`<${Page}
    title=${read.data ? `Operation: ${words(read.data.kind)}` : 'Operation'}
    lead=${html`<a href=${link(['operations'])}>Operations</a>`}
    actions=${read.data ? html`<${Decisions} operation=${read.data} onDone=${read.reload} />` : null}
  >
    <${Shown} read=${read} what="Reading the operation">
      ${(/** @type {any} */ o) =>
        html`<${Card} title="What it is">
            <${Facts}
              facts=${[
                ['Status', html`<${Status} value=${o.status} />`],
                ['Step', o.step ? words(o.step) : null],
                ['Account', o.account ? html`<${AccountName} id=${o.account} />` : null],
                ['Subject', html`<${Code} value=${o.subject} />`],
                ['Caused by', html`<${Code} value=${o.cause} />`],
                ['Attempt', String(o.attempt)],
                ['Begun', html`<${When} at=${o.createdAt} exact />`],
                ['Next', o.finishedAt ? null : html`<${When} at=${o.runAt} exact />`],
                ['Ended', o.finishedAt ? html`<${When} at=${o.finishedAt} exact />` : null],
              ]}
            />
          <//>
          ${
            o.failure
              ? html`<${Card} title="Why it stands where it stands">
                  <p><${Text} value=${o.failure.message} /></p>
                  <p class="small">Code <code>${o.failure.code}</code></p>
                <//>`
              : null
          }
          <p><a href=${link(['audit'], { operation: o.id })}>What it did, in the audit log</a></p>`}
    <//>
  <//>`
}

/** @param {{ operation: any, onDone: () => void }} props */
function Decisions({ operation, onDone }) {
  const [verb, setVerb] = useState(/** @type {null | 'retry' | 'cancel'} */ (null))
  if (!mayAct() || operation.finishedAt !== null) return null
  const name = `${words(operation.kind)}${operation.step ? ` at ${words(operation.step)}` : ''}`
  return html`<div class="row">
    <button type="button" onClick=${() => setVerb('retry')}>Go on now…</button>
    <button type="button" onClick=${() => setVerb('cancel')}>Cancel it…</button>
    ${
      verb
        ? html`<${Confirm}
            title=${verb === 'retry' ? `Go on with: ${name}` : `Cancel: ${name}`}
            verb=${verb === 'retry' ? 'Go on now' : 'Cancel the operation'}
            isDestructive=${verb === 'cancel'}
            onClose=${() => setVerb(null)}
            act=${async (/** @type {{ key: string }} */ { key }) => {
              await call('POST', `/api/v1/operations/${operation.id}/${verb}`, {}, { key })
              notify(verb === 'retry' ? 'It goes on.' : 'It is cancelled.')
              onDone()
            }}
          >
            <p>
              <${Text} value=${operation.failure?.message} none="It is on its way by itself." />
            </p>
            <p class="small">
              ${
                verb === 'retry'
                  ? 'It continues at the step where it stands; what was done is not done twice.'
                  : 'What it has begun is cleaned up where that is safe; what is left is said in its result.'
              }
            </p>
          <//>`
        : null
    }
  </div>`
}
