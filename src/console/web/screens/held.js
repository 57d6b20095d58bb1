import { call, Refusal } from '../lib/api.js'
import { useList, useRead } from '../lib/data.js'
import { count, duration, number } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from '../parts/dialog.js'
import { notify } from '../parts/notices.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { More, Table, usePicked } from '../parts/table.js'
import { Facts, Text, When } from '../parts/text.js'
import { Undo } from './leaver.js'

/** @param {import('../lib/live.js').Change} change */
const concerns = (change) =>
  change.subject.type === 'approval' ||
  change.subject.type === 'person' ||
  /brake|approval/.test(change.type)

/** People who left with too many others at once. @param {{ place: import('../lib/router.js').Place }} props */
export function HeldScreen({ place }) {
  const id = place.query.get('batch')
  return !id ? html`<${Batches} />` : html`<${Batch} key=${id} id=${id} />`
}

function Batches() {
  const list = useList('/api/v1/approvals', { concerns, limit: 50 })
  return html`<${Page}
    title="Held batches"
    lead="A directory that lets too many people go at once is not believed without a word: the excess is held, their keys go on working, and nothing new is made for them."
  >
    <${Shown} read=${list} what="Looking for batches">
      ${(/** @type {any} */ data) =>
        data.items.length === 0
          ? html`<${Empty} title="Nothing is held.">
              Were more than 5 people, or 1 %, to leave within an hour, the rest would wait here.
            <//>`
          : html`<${Table}
                caption="Held batches"
                rows=${openFirst(data.items)}
                keyOf=${(/** @type {any} */ b) => b.id}
                hrefOf=${(/** @type {any} */ b) => link(['held'], { batch: b.id })}
                columns=${batchColumns}
              />
              <${More} list=${list} shown=${data.items.length} what="batches" />`}
    <//>
  <//>`
}

/** What waits stands first, the newest of it on top. @param {readonly any[]} batches */
function openFirst(batches) {
  const rank = (/** @type {any} */ b) => `${b.status === 'closed' ? 0 : 1} ${b.createdAt}`
  return batches.toSorted((a, b) => (rank(a) < rank(b) ? 1 : -1))
}

/** @type {readonly import('../parts/table.js').Column[]} */
const batchColumns = [
  {
    title: 'Directory',
    isMain: true,
    show: (b) => html`<${Text} value=${b.subject} />`,
  },
  { title: 'People', className: 'number', show: (b) => number(b.people) },
  {
    title: 'State',
    show: (b) =>
      html`<${Status} value=${b.status} tone=${b.status === 'closed' ? 'off' : 'warn'} />`,
  },
  { title: 'Opened', show: (b) => html`<${When} at=${b.createdAt} />` },
  { title: 'Closed', show: (b) => html`<${When} at=${b.closedAt} />` },
]

/** @param {{ id: string }} props */
function Batch({ id }) {
  const batch = useRead(`/api/v1/approvals/${encodeURIComponent(id)}`, { concerns })
  const items = /** @type {any[]} */ (batch.data?.items ?? [])
  const open = items.filter((i) => i.outcome === null)
  const picked = usePicked(open, (i) => i.subject)
  const [asking, setAsking] = useState(
    /** @type {null | { verb: 'approve' | 'deny', subjects: readonly string[] | null }} */ (null),
  )
  const [isUndoing, setUndoing] = useState(false)
  const wasApproved = items.some((i) => i.outcome === 'approved' && i.operation !== null)
  return html`<${Page}
    title="Held batch"
    lead=${html`<a href=${link(['held'])}>Held batches</a>`}
    actions=${
      mayAct() && open.length > 0
        ? html`<button
              type="button"
              class="danger"
              onClick=${() => setAsking({ verb: 'approve', subjects: null })}
            >
              Let all ${open.length} leave…
            </button>
            <button type="button" onClick=${() => setAsking({ verb: 'deny', subjects: null })}>
              Let none leave…
            </button>`
        : wasApproved && mayAct()
          ? html`<button type="button" onClick=${() => setUndoing(true)}>
              Undo everything this batch did…
            </button>`
          : null
    }
  >
    <${Shown} read=${batch} what="Reading the batch">
      ${(/** @type {any} */ data) =>
        html`<${Card} title="Why it is held">
            <p class="summary">${whyHeld(data)}</p>
            <${Facts}
              facts=${[
                ['Directory', html`<${Text} value=${data.subject} />`],
                [
                  'State',
                  html`<${Status}
                    value=${data.status}
                    tone=${data.status === 'closed' ? 'off' : 'warn'}
                  />`,
                ],
                ['Opened', html`<${When} at=${data.createdAt} exact />`],
                ['Frozen', data.frozenAt ? html`<${When} at=${data.frozenAt} exact />` : null],
                ['Undecided', `${open.length} of ${items.length}`],
              ]}
            />
          <//>
          ${
            picked.size > 0
              ? html`<div class="row">
                  <span>${count(picked.size, 'person', 'people')} picked</span>
                  <button
                    type="button"
                    class="danger"
                    onClick=${() => setAsking({ verb: 'approve', subjects: [...picked.keys] })}
                  >
                    Let them leave…
                  </button>
                  <button
                    type="button"
                    onClick=${() => setAsking({ verb: 'deny', subjects: [...picked.keys] })}
                  >
                    Not these…
                  </button>
                  <button type="button" class="plain" onClick=${picked.none}>Pick none</button>
                </div>`
              : null
          }
          <${Table}
            caption="People of the batch"
            rows=${items}
            keyOf=${(/** @type {any} */ i) => i.subject}
            hrefOf=${(/** @type {any} */ i) => link(['leaver'], { person: i.subject })}
            picked=${mayAct() && open.length > 0 ? picked : undefined}
            columns=${itemColumns}
          />`}
    <//>
    ${
      asking !== null && batch.data
        ? html`<${Decide}
            batch=${batch.data}
            open=${open}
            asking=${asking}
            onClose=${() => setAsking(null)}
            onDone=${() => {
              picked.none()
              batch.reload()
            }}
          />`
        : null
    }
    ${isUndoing ? html`<${Undo} cause=${id} onClose=${() => setUndoing(false)} onDone=${batch.reload} />` : null}
  <//>`
}

/** @param {any} batch */
function whyHeld({ facts, subject }) {
  const { leftWithinHour, hourly, leftWithinDay, daily, active } = facts
  const parts = [
    leftWithinHour !== undefined &&
      `${count(leftWithinHour, 'person', 'people')} of ${subject} left within an hour, where ${number(hourly ?? 0)} are let go without a word`,
    leftWithinDay !== undefined &&
      daily !== undefined &&
      `${number(leftWithinDay)} within a day, where ${number(daily)} are`,
    active !== undefined && `${number(active)} are active`,
  ].filter(Boolean)
  return parts.length > 0
    ? `${parts.join('; ')}.`
    : 'More people left at once than the policy lets go without a word.'
}

/** @type {readonly import('../parts/table.js').Column[]} */
const itemColumns = [
  {
    title: 'Person',
    isMain: true,
    show: (i) => html`<${Text} value=${i.userName ?? i.subject} />`,
  },
  {
    title: 'Waiting',
    show: (i) =>
      i.ageSeconds === undefined ? html`<${When} at=${i.since} />` : duration(i.ageSeconds),
  },
  {
    title: 'Decision',
    show: (i) =>
      i.outcome === null
        ? html`<${Status} value="undecided" tone="warn" />`
        : html`<${Status} value=${i.outcome} tone=${i.outcome === 'approved' ? 'bad' : 'off'} />`,
  },
  { title: 'By', show: (i) => html`<${Text} value=${i.decidedBy} />` },
  { title: 'Reason', show: (i) => html`<${Text} value=${i.reason} />` },
]

/**
 * @param {object} props
 * @param {any} props.batch
 * @param {readonly any[]} props.open
 * @param {{ verb: 'approve' | 'deny', subjects: readonly string[] | null }} props.asking
 * @param {() => void} props.onClose
 * @param {() => void} props.onDone
 */
function Decide({ batch, open, asking, onClose, onDone }) {
  const { verb, subjects } = asking
  // What is decided is what was on the screen when the question was asked, whatever came since.
  const [{ hash, people }, setPlan] = useState(() => ({
    hash: batch.hash,
    people: subjects ?? open.map((i) => i.subject),
  }))
  const isAll = subjects === null
  return html`<${Confirm}
    title=${verb === 'approve' ? `Let ${count(people.length, 'person', 'people')} leave` : `${count(people.length, 'person', 'people')} do not leave`}
    verb=${verb === 'approve' ? 'Let them leave' : 'They stay'}
    isDestructive=${verb === 'approve'}
    typed=${verb === 'approve' ? String(people.length) : undefined}
    reason="required"
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const body = { hash, reason, ...(isAll ? {} : { subjects }) }
      try {
        const answer = await call('POST', `/api/v1/approvals/${batch.id}/${verb}`, body, { key })
        notify(outcomeOf(answer.items, verb))
      } catch (error) {
        if (error instanceof Refusal && error.code === 'planChanged') {
          const fresh = await call('GET', `/api/v1/approvals/${batch.id}`)
          const left = fresh.items
            .filter((/** @type {any} */ i) => i.outcome === null)
            .map((/** @type {any} */ i) => i.subject)
          setPlan({
            hash: fresh.hash,
            people: isAll ? left : people.filter((id) => left.includes(id)),
          })
          onDone()
        }
        throw error
      }
      onDone()
    }}
  >
    <p>
      ${
        verb === 'approve'
          ? 'Each leaving is then handled by the policy, as if it had come alone: accounts without an heir are disabled at once. It can be undone.'
          : 'They count as active again here. A directory that still says they left will be told nothing; say so there.'
      }
    </p>
  <//>`
}

/**
 * What came of a decision; who came back or was decided by somebody else meanwhile is skipped.
 * @param {readonly any[]} items
 * @param {'approve' | 'deny'} verb
 */
function outcomeOf(items, verb) {
  const moot = items.filter((i) => i.outcome === 'moot')
  const done = items.length - moot.length
  const said =
    verb === 'approve'
      ? `${count(done, 'leaving', 'leavings')} let through.`
      : `${count(done, 'person', 'people')} stay.`
  const reasons = [...new Set(moot.map((i) => i.reason))].join('; ')
  return moot.length === 0 ? said : `${said} ${moot.length} skipped: ${reasons}.`
}
