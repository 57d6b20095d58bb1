import { call } from '../lib/api.js'
import { useList, useRead } from '../lib/data.js'
import { html, useState } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { Confirm, Dialog } from './dialog.js'
import { Diff } from './diff.js'
import { Named } from './named.js'
import { notify } from './notices.js'
import { Card } from './page.js'
import { Empty, Shown } from './states.js'
import { Status } from './status.js'
import { More, Table } from './table.js'
import { Code, Facts, Text, When } from './text.js'

/** What each kind means, and what to do. @type {Readonly<Record<string, readonly [string, string]>>} */
const kinds = {
  unmanaged: [
    'Something lies where only Custody makes things, and no account stands for it.',
    'Find out who made it. Delete it there, move it away, or import it.',
  ],
  'orphaned-principal': [
    "It bears Custody's marks, but its account is not in this database.",
    'Many at once: is this the right database? Otherwise delete it at the provider.',
  ],
  foreign: [
    'A key that no journal knows hangs on a user of Custody.',
    'Ask who made it, and delete it at the provider; it also takes a place that the next rotation needs.',
  ],
  reactivated: [
    'A key that was switched off or deleted works again.',
    'Find out who switched it on. Custody switches it off again where its account is off.',
  ],
  deactivated: [
    'A key that should work is switched off, and not by Custody: its consumers are failing now.',
    'Ask who reacted to what. Switch it on there, or rotate the credential.',
  ],
  vanished: [
    'A key that should work is missing from two complete listings.',
    'Rotate for a new key, or revoke the credential.',
  ],
  extra: [
    'There are more keys than the provider allows, or a deleted one is still listed.',
    'Delete at the provider what is not needed.',
  ],
  'stale-store': [
    'What consumers read is not the newest key.',
    'Put the sink back or move the foreign object away, then rotate the credential.',
  ],
  overage: [
    'A key in use is older than the policy allows.',
    'See under Operations why its rotation waits.',
  ],
  'entitlement-drift': [
    'What a key may do there is not what was granted.',
    'Put it back (revert), take it over (adopt), or let it be until a date (accept).',
  ],
}

const statuses = ['open', 'accepted', 'resolved']

/**
 * Where providers hold something else than Custody believes.
 * @param {{ place: import('../lib/router.js').Place, provider?: string }} props
 */
export function FindingsPart({ place, provider }) {
  const { query } = place
  const status = query.get('status') ?? 'open'
  const kind = query.get('kind')
  const parameters = new URLSearchParams({ status })
  if (kind) parameters.set('kind', kind)
  if (provider) parameters.set('provider', provider)
  const list = useList(`/api/v1/findings?${parameters}`, {
    limit: 50,
    concerns: (change) => change.subject.type === 'finding' || /finding/.test(change.type),
  })
  const rows = list.items ?? []
  const chosen = query.get('finding')
  const here = ['providers', ...place.rest]
  return html`<${Card} title="Findings" className="stack">
    <div class="toolbar" role="search">
      <label class="field"
        >Status
        <select
          name="status"
          value=${status}
          onChange=${(/** @type {any} */ e) => setQuery({ status: e.target.value, finding: null })}
        >
          ${statuses.map((s) => html`<option value=${s}>${s}</option>`)}
        </select></label
      >
      <label class="field"
        >Kind
        <select
          name="kind"
          value=${kind ?? ''}
          onChange=${(/** @type {any} */ e) => setQuery({ kind: e.target.value, finding: null })}
        >
          <option value="">all</option>
          ${Object.keys(kinds).map((k) => html`<option value=${k}>${k}</option>`)}
        </select></label
      >
    </div>
    <${Shown} read=${list} what="Reading the findings">
      ${() =>
        rows.length === 0
          ? html`<${Empty}
              title=${status === 'open' ? 'Nothing differs from what was written down.' : `None is ${status}.`}
            >
              Providers are compared with the journal once an hour, and at any time with ${' '}<code
                >custody sweep run reconcile</code
              >.
            <//>`
          : html`<${Table}
                caption="Findings, the oldest first"
                columns=${provider ? columns.filter((c) => c.title !== 'Provider') : columns}
                rows=${rows}
                keyOf=${(/** @type {any} */ row) => row.id}
                hrefOf=${(/** @type {any} */ row) =>
                  link(here, { ...Object.fromEntries(query), finding: row.id })}
              />
              <${More} list=${list} shown=${rows.length} what="findings" />`}
    <//>
    ${
      chosen
        ? html`<${FindingDialog}
            key=${chosen}
            id=${chosen}
            onClose=${() => setQuery({ finding: null })}
          />`
        : null
    }
  <//>`
}

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  { title: 'Finding', isMain: true, show: (row) => row.kind },
  { title: 'Provider', show: (row) => html`<${Text} value=${row.provider} />` },
  { title: 'Account', show: (row) => html`<${Named} type="account" id=${row.account} />` },
  {
    title: 'What',
    className: 'widest',
    show: (row) => html`<${Diff} facts=${row.facts} most=${3} />`,
  },
  { title: 'Since', className: 'nowrap', show: (row) => html`<${When} at=${row.firstSeenAt} />` },
  { title: 'Status', show: (row) => html`<${Status} value=${row.status} tone=${toneOf(row)} />` },
]

/** @param {any} row @returns {'warn' | 'off' | 'good'} */
function toneOf({ status }) {
  return status === 'open' ? 'warn' : status === 'accepted' ? 'off' : 'good'
}

/** @typedef {'accept' | 'adopt' | 'revert'} Decision */

/** @param {{ id: string, onClose: () => void }} props */
function FindingDialog({ id, onClose }) {
  const route = `/api/v1/findings/${encodeURIComponent(id)}`
  const read = useRead(route, { concerns: (change) => change.subject.id === id })
  const [asking, setAsking] = useState(/** @type {Decision | null} */ (null))
  const finding = read.data
  const isDrift = finding?.kind === 'entitlement-drift'
  const canAdopt = isDrift && Boolean(finding.facts.asScopes)
  const isOpen = finding?.status === 'open'
  return html`<${Dialog}
      title=${finding ? `Finding: ${finding.kind}` : 'Finding'}
      isWide
      onClose=${onClose}
    >
      <${Shown} read=${read} what="Reading the finding">
        ${() =>
          html`<${Explained} finding=${finding} /> ${
              isOpen && mayAct()
                ? html`<div class="row">
                    ${
                      isDrift
                        ? html`<button
                            type="button"
                            class="primary"
                            onClick=${() => setAsking('revert')}
                          >
                            Revert…
                          </button>`
                        : null
                    }
                    ${
                      canAdopt
                        ? html`<button type="button" onClick=${() => setAsking('adopt')}>
                            Adopt…
                          </button>`
                        : null
                    }
                    <button type="button" onClick=${() => setAsking('accept')}>Accept…</button>
                  </div>`
                : null
            }
            ${
              isOpen && isDrift && !canAdopt
                ? html`<p class="small">
                    It cannot be adopted: no scope of a credential says what was found.
                  </p>`
                : null
            }`}
      <//>
    <//>
    ${
      asking && finding
        ? html`<${Decide}
            decision=${asking}
            finding=${finding}
            route=${route}
            onDone=${read.reload}
            onClose=${() => setAsking(null)}
          />`
        : null
    }`
}

/** @param {{ finding: any }} props */
function Explained({ finding }) {
  const [means, todo] = kinds[finding.kind] ?? [finding.kind, '']
  const { acceptance } = finding
  return html`<p><strong>${means}</strong> ${todo}</p>
    <${Facts}
      facts=${[
        ['Provider', html`<${Text} value=${finding.provider} />`],
        ['Account', html`<${Named} type="account" id=${finding.account} />`],
        [
          'Credential',
          finding.credential ? html`<${Named} type="credential" id=${finding.credential} />` : null,
        ],
        ['Key', finding.keyId ? html`<${Code} value=${finding.keyId} />` : null],
        ['First seen', html`<${When} at=${finding.firstSeenAt} exact />`],
        ['Last seen', html`<${When} at=${finding.lastSeenAt} exact />`],
        ['Status', html`<${Status} value=${finding.status} tone=${toneOf(finding)} />`],
        ['Resolved', finding.resolvedAt ? html`<${When} at=${finding.resolvedAt} exact />` : null],
        [
          'Accepted',
          acceptance
            ? html`by <${Text} value=${acceptance.by} /> until
                <${When} at=${acceptance.until} exact />: <${Text} value=${acceptance.reason} />`
            : null,
        ],
      ]}
    />
    <h3>Granted and found</h3>
    <${Diff} facts=${finding.facts} />`
}

/** @type {Readonly<Record<Decision, { title: string, verb: string, done: string }>>} */
const decisions = {
  accept: { title: 'Let it be until a date?', verb: 'Accept', done: 'Accepted.' },
  adopt: {
    title: 'Take over what is there?',
    verb: 'Adopt',
    done: 'Adopted: the credential is granted what was found.',
  },
  revert: {
    title: 'Put back what was granted?',
    verb: 'Revert',
    done: 'An operation puts it back; follow it under Operations.',
  },
}

const dayMs = 86_400_000

/**
 * @param {{ decision: Decision, finding: any, route: string, onDone: () => void, onClose: () => void }} props
 */
function Decide({ decision, finding, route, onDone, onClose }) {
  const { title, verb, done } = decisions[decision]
  const [until, setUntil] = useState(() => dateAfter(30))
  /** @type {{ add: readonly string[], remove: readonly string[] }} */
  const scopes = { add: [], remove: [], ...finding.facts.asScopes }
  return html`<${Confirm}
    title=${title}
    verb=${verb}
    reason="required"
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const body = decision === 'accept' ? { reason, until: `${until}T00:00:00Z` } : { reason }
      await call('POST', `${route}/${decision}`, body, { key })
      notify(done)
      onDone()
    }}
  >
    ${
      decision === 'revert'
        ? html`<p>
            Whoever uses the difference now is refused from then on. The key and its id stay.
          </p>`
        : null
    }
    ${
      decision === 'adopt'
        ? html`<p>The scopes of the credential become what the provider shows:</p>
            <ul class="fact-list">
              ${scopes.remove.map(
                (s) =>
                  html`<li>
                    no longer <del><${Text} value=${s} /></del>
                  </li>`,
              )}
              ${scopes.add.map(
                (s) =>
                  html`<li>
                    also <ins><${Text} value=${s} /></ins>
                  </li>`,
              )}
            </ul>`
        : null
    }
    ${
      decision === 'accept'
        ? html`<label class="field"
            >Until, a year from now at most
            <input
              name="until"
              type="date"
              required
              min=${dateAfter(1)}
              max=${dateAfter(365)}
              value=${until}
              onInput=${(/** @type {any} */ e) => setUntil(e.target.value)}
          /></label>`
        : null
    }
  <//>`
}

/** @param {number} days */
function dateAfter(days) {
  return new Date(Date.now() + days * dayMs).toISOString().slice(0, 10)
}
