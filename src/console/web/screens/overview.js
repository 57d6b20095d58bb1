import { useRead } from '../lib/data.js'
import { count, number } from '../lib/format.js'
import { html, useEffect } from '../lib/html.js'
import { go, link } from '../lib/router.js'
import { mayLook } from '../lib/session.js'
import { Latency } from '../parts/latency.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'

const everyMs = 15_000

/** How things stand, and what needs somebody. @param {{ place: import('../lib/router.js').Place }} _props */
export function OverviewScreen(_props) {
  const isSeen = mayLook()
  // Whoever sees only what is theirs begins with that.
  useEffect(() => {
    if (!isSeen) go(link(['accounts']), { replace: true })
  }, [isSeen])
  return isSeen ? html`<${Whole} />` : null
}

function Whole() {
  const posture = useRead('/api/v1/reports/posture', {
    concerns: (c) => c.subject.type !== 'session',
    everyMs,
  })
  return html`<${Page}
    title="Overview"
    lead="Every service account has an owner and an end date. What is not so, and what waits for somebody, stands first."
  >
    <${Shown} read=${posture} what="Counting">
      ${(/** @type {any} */ p) =>
        p.accounts.total === 0
          ? html`<${Empty} title="No service accounts yet.">
              Request one: <code>custody account request</code>, or see docs/tutorial/first-hour.md.
            <//>`
          : html`<${Tiles} posture=${p} />
              <div class="grid">
                <${Card} title="Time from the cause to refused, last 30 days">
                  <${Latency} days=${p.revocations} until=${p.at} />
                <//>
                <${Card} title="What ends soon">
                  <${Ending} posture=${p} />
                <//>
              </div>
              <div class="grid">
                <${Card} title="Oldest active keys"
                  ><${Keys} rows=${p.oldestActiveKeys} none="No key is active."
                /><//>
                <${Card} title="Overdue rotations">
                  <${Keys} rows=${p.rotationsOverdue.first ?? []} none="Nothing is overdue." />
                <//>
              </div>`}
    <//>
  <//>`
}

/** @param {{ posture: any }} props */
function Tiles({ posture: p }) {
  const coverage = p.coverage ?? 1
  return html`<div class="tiles">
    <${Tile}
      figure=${`${(Math.floor(coverage * 1_000) / 10).toString()} %`}
      said=${`of ${number(p.accounts.open)} open accounts have an active owner`}
      tone=${coverage < 1 ? 'warn' : 'good'}
      href=${link(['accounts'])}
    />
    <${Tile}
      figure=${number(p.accounts.orphaned)}
      said="orphaned: owner gone, still working"
      tone=${p.accounts.orphaned > 0 ? 'warn' : ''}
      href=${link(['accounts'], { status: 'orphaned' })}
    />
    <${Tile}
      figure=${number(p.operations.needsOperator)}
      said="stuck: need a decision"
      tone=${p.operations.needsOperator > 0 ? 'bad' : ''}
      href=${link(['operations'], { status: 'needsOperator' })}
    />
    <${Tile}
      figure=${number(p.approvalsWaiting)}
      said="held batches"
      tone=${p.approvalsWaiting > 0 ? 'warn' : ''}
      href=${link(['held'])}
    />
    <${Tile}
      figure=${number(p.rotationsOverdue.count)}
      said="rotations overdue"
      tone=${p.rotationsOverdue.count > 0 ? 'warn' : ''}
    />
    <${Tile}
      figure=${number(p.expiredStillUp.accounts + p.expiredStillUp.credentials)}
      said="past their end, and still up"
      tone=${p.expiredStillUp.accounts + p.expiredStillUp.credentials > 0 ? 'bad' : ''}
      href=${link(['expiry'])}
    />
    <${Tile}
      figure=${number(p.leavers.open)}
      said=${`of ${number(p.leavers.open + p.leavers.complete)} leavings of 30 days not yet proven complete`}
      tone=${p.leavers.open > 0 ? 'bad' : ''}
      href=${link(['leaver'])}
    />
    <${Tile} figure=${number(p.accounts.total)} said="accounts" href=${link(['accounts'])} />
    <${Tile} figure=${number(p.credentials.total)} said="credentials" />
  </div>`
}

/** @param {{ figure: string, said: string, tone?: string, href?: string }} props */
function Tile({ figure, said, tone = '', href }) {
  const inside = html`<span class="figure">${figure}</span><span class="small">${said}</span>`
  return href
    ? html`<a class="tile ${tone}" href=${href}>${inside}</a>`
    : html`<div class="tile ${tone}">${inside}</div>`
}

/** @param {{ posture: any }} props */
function Ending({ posture }) {
  return html`<table class="plain-table">
      <thead>
        <tr>
          <th scope="col">Within</th>
          <th scope="col" class="number">Accounts</th>
          <th scope="col" class="number">Credentials</th>
        </tr>
      </thead>
      <tbody>
        ${posture.expiring.map(
          (/** @type {any} */ e) =>
            html`<tr>
              <th scope="row">${count(e.withinDays, 'day')}</th>
              <td class="number">${number(e.accounts)}</td>
              <td class="number">${number(e.credentials)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    <p><a href=${link(['expiry'])}>The whole year</a></p>
    <p class="small">
      ${count(posture.operations.running, 'operation')} running,
      ${number(posture.operations.queued)} queued, ${' '}${number(posture.operations.waiting)}
      waiting. Counted <${When} at=${posture.at} />.
    </p>`
}

/** @param {{ rows: readonly any[], none: string }} props */
function Keys({ rows, none }) {
  if (rows.length === 0) return html`<${Empty} title=${none} />`
  return html`<${Table}
    caption="Keys"
    rows=${rows}
    keyOf=${(/** @type {any} */ k) => k.credential}
    hrefOf=${(/** @type {any} */ k) => link(['account', k.account])}
    columns=${keyColumns}
  />`
}

/** @type {readonly import('../parts/table.js').Column[]} */
const keyColumns = [
  { title: 'Account', isMain: true, show: (k) => html`<${Text} value=${k.userName} />` },
  { title: 'Provider', show: (k) => html`<${Text} value=${k.provider} />` },
  {
    title: 'Since',
    show: (k) => html`<${When} at=${k.issuedAt ?? k.rotateAfter} />`,
  },
]
