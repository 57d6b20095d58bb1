import { call, listAll } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { csv, download } from '../lib/files.js'
import { count, number } from '../lib/format.js'
import { html } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { perAccount, perDay } from '../lib/shadow.js'
import { Commands } from '../parts/commands.js'
import { DayBars } from '../parts/day-bars.js'
import { Named } from '../parts/named.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'

/** Acts that are read at most; their counts are always of all. */
const most = 2_000
const windows = ['7', '14', '30', '90', '366']

/** @param {{ place: import('../lib/router.js').Place }} props */
export function ShadowScreen({ place }) {
  const { query } = place
  const asked = query.get('days') ?? '14'
  const days = /^\d{1,4}$/.test(asked) ? asked : '14'
  const account = query.get('account')
  const read = useRead(`/api/v1/reports/shadow?days=${days}`, {
    concerns: (change) => change.type === 'account.wouldHave' || change.subject.type === 'account',
    read: async (route, signal) => {
      const [items, first] = await Promise.all([
        listAll(route, most),
        call('GET', `${route}&limit=1`, undefined, { signal }),
      ])
      return { ...first, items }
    },
  })
  return html`<${Page}
    title="Shadow"
    lead="What enforcing would have done to the accounts that are only watched. Nothing on this page was done."
    actions=${html`<button
      type="button"
      onClick=${() => save(read.data?.items ?? [])}
      aria-disabled=${!read.data}
    >
      Export CSV
    </button>`}
  >
    <div class="toolbar">
      <label class="field"
        >Look back
        <select
          name="days"
          data-find
          value=${days}
          onChange=${(/** @type {any} */ e) => setQuery({ days: e.target.value })}
        >
          ${[...new Set([...windows, days])]
            .sort((a, b) => Number(a) - Number(b))
            .map((d) => html`<option value=${d}>${d} days</option>`)}
        </select></label
      >
    </div>
    <${Shown} read=${read} what="Working out what would have been done">
      ${(/** @type {any} */ report) =>
        html`<${Verdict} report=${report} />
          ${
            report.items.length === 0
              ? null
              : html`<${Days} report=${report} /><${Accounts}
                    items=${report.items}
                    account=${account}
                  />`
          }
          <${Enforce} items=${report.items} />`}
    <//>
  <//>`
}

/** @type {Readonly<Record<string, string>>} */
const actNames = {
  offer: 'offered to an heir',
  disable: 'disabled',
  rotate: 'keys rotated',
  revoke: 'credentials revoked',
  delete: 'deleted after the hold',
  rearm: 'keys switched off again',
}

/** @param {{ report: any }} props */
function Verdict({ report }) {
  /** @type {readonly (readonly [string, any])[]} */
  const counts = Object.entries(report.counts)
  const acts = counts.filter(([, c]) => c.acts > 0)
  if (acts.length === 0) {
    return html`<${Empty} title=${`In ${report.days} days enforcing would have done nothing else.`}>
      Either every watched account is as its rules want it, or none is only watched: the page of an
      account says so under “enforcement”. Imported accounts are watched until a rule says
      otherwise.
    <//>`
  }
  return html`<p role="status">
      <strong
        >Since <${When} at=${report.from} exact /> enforcing would
        have${` ${report.summary.join(', ')}`}.</strong
      >
    </p>
    <ul class="tiles" aria-label="What would have been done">
      ${acts.map(
        ([act, c]) =>
          html`<li class=${`tile ${act === 'offer' || act === 'rotate' ? '' : 'warn'}`}>
            <span class="figure">${number(c.acts)}</span>
            <span>${actNames[act] ?? act}</span>
            <span class="small">on ${count(c.accounts, 'account')}</span>
          </li>`,
      )}
    </ul>`
}

/** @param {{ report: any }} props */
function Days({ report }) {
  const days = perDay(report.items, report.from, report.until)
  const isCut = report.items.length >= most
  return html`<${Card} title="Differences by day">
    <${DayBars} days=${days} what="acts that were not done" />
    ${isCut ? html`<p class="small">Of the newest ${number(most)} acts.</p>` : null}
  <//>`
}

/** @type {readonly import('../parts/table.js').Column[]} */
const accountColumns = [
  {
    title: 'Account',
    isMain: true,
    show: (row) => html`<${Text} value=${row.userName} />`,
  },
  { title: 'Owner', show: (row) => html`<${Named} type="person" id=${row.owner} />` },
  {
    title: 'Would be',
    show: (row) =>
      row.wouldBe === null
        ? html`<span class="soft">as it is</span>`
        : html`<${Status} value=${row.wouldBe} tone="warn" />`,
  },
  {
    title: 'Would have been done',
    className: 'widest',
    show: (row) =>
      row.acts
        .map((/** @type {any} */ a) => `${a.act}${a.times > 1 ? ` × ${a.times}` : ''} (${a.rule})`)
        .join(', '),
  },
  { title: 'Acts', className: 'number', show: (row) => row.total },
  { title: 'Last', className: 'nowrap', show: (row) => html`<${When} at=${row.lastAt} />` },
]

/** @type {readonly import('../parts/table.js').Column[]} */
const actColumns = [
  { title: 'When', isMain: true, show: (row) => html`<${When} at=${row.at} exact />` },
  { title: 'Would have', show: (row) => row.act },
  { title: 'By rule', show: (row) => html`<${Text} value=${row.rule} />` },
  {
    title: 'Credential',
    show: (row) => html`<${Named} type="credential" id=${row.credential} isLink=${false} />`,
  },
  { title: 'Owner then', show: (row) => html`<${Named} type="person" id=${row.owner} />` },
]

/** @param {{ items: readonly any[], account: string | null }} props */
function Accounts({ items, account }) {
  const rows = perAccount(items)
  const chosen = account === null ? undefined : rows.find((r) => r.account === account)
  return html`<${Card} title=${`Differences by account: ${count(rows.length, 'account')}`}>
      <${Table}
        caption="Accounts that would be in another state"
        columns=${accountColumns}
        rows=${rows}
        keyOf=${(/** @type {any} */ row) => row.account}
        hrefOf=${(/** @type {any} */ row) =>
          link(['shadow'], {
            days: new URLSearchParams(window.location.search).get('days'),
            account: row.account,
          })}
      />
    <//>
    ${
      chosen
        ? html`<${Card}
            title=${`Every act on ${chosen.userName}`}
            actions=${html`<a class="button small-button" href=${link(['account', chosen.account])}
              >Its page</a
            >`}
          >
            <${Table}
              caption=${`Acts that were not done to ${chosen.userName}`}
              columns=${actColumns}
              rows=${items.filter((i) => i.account === chosen.account)}
              keyOf=${(/** @type {any} */ row) => row.id}
            />
          <//>`
        : null
    }`
}

/** For the end of the rules. */
const policyLines = [
  '  - name: test is enforced',
  '    when: { imported: true, environment: test }',
  '    set:',
  '      enforcement: enforce',
]
const reloadLines = [
  'custody policy check',
  'custody policy explain --imported --environment test',
  'kill -HUP "$(pidof -s custody)"',
]

/** How to go from watching to enforcing, in the lines of the policy. @param {{ items: readonly any[] }} props */
function Enforce({ items }) {
  const rules = new Set(items.map((i) => i.rule))
  return html`<${Card} title="Switch to enforcement">
    ${
      items.length > 0
        ? html`<p>
            Go on when you would sign every line above.
            ${rules.has('noHeir') ? ' “noHeir” wants a backup owner, or a manager in the directory.' : ''}
            ${rules.has('expired') ? ' “expired” wants another end date.' : ''}
            ${rules.has('notAccepted') ? ' “notAccepted” wants somebody who answers.' : ''}
          </p>`
        : null
    }
    <ol class="numbered">
      <li>
        Begin with what hurts least. At the end of <code>policies/lifecycle.yaml</code>:
        <${Commands} lines=${policyLines} />
      </li>
      <li>
        Look before the service does, and let it read the file again; a bad file keeps the old
        rules:
        <${Commands} lines=${reloadLines} />
      </li>
      <li>
        What would have happened meanwhile is not caught up with blindly: it is planned anew, under
        the same brakes.
      </li>
      <li>
        One account alone: give it the label <code>enforcement=enforce</code>, which the policy that
        comes with Custody already knows.
      </li>
    </ol>
    <p class="small">
      Step by step, from watching to the drill: <code>docs/how-to/roll-out.md</code>. What this
      report cannot know: <code>docs/reference/observe.md</code>.
    </p>
  <//>`
}

/** @param {readonly any[]} items */
function save(items) {
  const columns = ['at', 'act', 'rule', 'account', 'userName', 'owner', 'credential', 'cause'].map(
    (name) => ({ title: name, value: (/** @type {any} */ row) => row[name] }),
  )
  download('custody-shadow.csv', 'text/csv', csv(columns, items))
}
