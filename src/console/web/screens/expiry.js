import { useList, useRead } from '../lib/data.js'
import { count, day, number } from '../lib/format.js'
import { html, useEffect } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { OwnerName } from '../parts/find-person.js'
import { HeatMap } from '../parts/heat-map.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { More, Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'
import { markSeen } from '../parts/tour.js'

const dayMs = 86_400_000

/** @param {string} date @param {number} days */
function plus(date, days) {
  return `${new Date(Date.parse(`${date}T00:00:00Z`) + days * dayMs).toISOString().slice(0, 10)}T00:00:00Z`
}

/** What ends when. @param {{ place: import('../lib/router.js').Place }} props */
export function ExpiryScreen({ place }) {
  const asked = place.query.get('day') ?? ''
  const isDay = /^\d{4}-\d\d-\d\d$/.test(asked) && !Number.isNaN(Date.parse(asked))
  const picked = isDay ? asked : null
  const report = useRead('/api/v1/reports/expiry?days=364', {
    concerns: (c) => c.subject.type === 'account' || c.subject.type === 'credential',
  })
  useEffect(() => {
    if (report.data) markSeen('expiry')
  }, [report.data])
  return html`<${Page}
    title="Expiry"
    lead="Every account has an end date. An owner certifies what is needed still; the rest ends by itself."
  >
    <${Shown} read=${report} what="Counting a year">
      ${(/** @type {any} */ data) =>
        html`<${Card}
            title=${`The next 52 weeks: ${count(data.total.accounts, 'account')}, ${count(data.total.credentials, 'credential')}`}
          >
            <${HeatMap}
              from=${data.from}
              items=${data.items}
              picked=${picked}
              onPick=${(/** @type {string} */ date) => setQuery({ day: date === picked ? null : date }, { replace: true })}
            />
            <${Busiest} items=${data.items} />
          <//>
          ${
            picked
              ? html`<${Card}
                  title=${`Ends on ${day(picked)}`}
                  actions=${html`<button
                    type="button"
                    onClick=${() => setQuery({ day: null }, { replace: true })}
                  >
                    What ends next
                  </button>`}
                  ><${Ending} from=${plus(picked, 0)} until=${plus(picked, 1)}
                /><//>`
              : html`<${Card} title="What ends next, in 90 days"
                    ><${Ending} from=${plus(data.from, 0)} until=${plus(data.from, 91)}
                  /><//>
                  <${Card} title="Past its end"
                    ><${Ending} from=${null} until=${plus(data.from, 0)} status="expired"
                  /><//>`
          }`}
    <//>
  <//>`
}

/** The same as the map, for whoever reads it. @param {{ items: readonly any[] }} props */
function Busiest({ items }) {
  if (items.length === 0) return html`<p class="soft">Nothing ends in this time.</p>`
  return html`<details>
    <summary>Day by day</summary>
    <div class="table-frame plan" role="region" aria-label="Day by day" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">Day</th>
            <th scope="col" class="number">Accounts</th>
            <th scope="col" class="number">Credentials</th>
          </tr>
        </thead>
        <tbody>
          ${items.map(
            (i) =>
              html`<tr>
                <th scope="row"><a href=${link(['expiry'], { day: i.day })}>${day(i.day)}</a></th>
                <td class="number" data-title="Accounts">${number(i.accounts)}</td>
                <td class="number" data-title="Credentials">${number(i.credentials)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`
}

/** @param {{ from: string | null, until: string, status?: string }} props */
function Ending({ from, until, status }) {
  const query = new URLSearchParams({
    ...(from === null ? {} : { expiresAfter: from }),
    expiresBefore: until,
    ...(status ? { status } : {}),
  })
  const list = useList(`/api/v1/accounts?${query}`, {
    concerns: (c) => c.subject.type === 'account',
    limit: 50,
  })
  return html`<${Shown} read=${list} what="Reading accounts">
    ${(/** @type {any} */ data) =>
      data.items.length === 0
        ? html`<${Empty} title="No account." />`
        : html`<${Table}
              caption="Accounts that end"
              rows=${data.items}
              keyOf=${(/** @type {any} */ a) => a.id}
              hrefOf=${(/** @type {any} */ a) => link(['account', a.id])}
              columns=${columns}
            />
            <${More} list=${list} shown=${data.items.length} what="accounts" />`}
  <//>`
}

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  { title: 'Account', isMain: true, show: (a) => html`<${Text} value=${a.userName} />` },
  { title: 'Ends', show: (a) => html`<${When} at=${a.expiresAt} none="never" />` },
  { title: 'Status', show: (a) => html`<${Status} value=${a.status} />` },
  { title: 'Owner', show: (a) => html`<${OwnerName} owner=${a.owner} />` },
  { title: 'Purpose', className: 'why', show: (a) => html`<${Text} value=${a.purpose} />` },
]
