import { count } from '../lib/format.js'
import { html } from '../lib/html.js'
import { link } from '../lib/router.js'
import { decisionSentence, ruleSentence } from '../lib/rules.js'
import { OwnerName } from './find-person.js'
import { Status } from './status.js'
import { Table } from './table.js'
import { Text, When } from './text.js'

const dayMs = 86_400_000

/** @param {string | null} at @param {number} days */
export function isWithin(at, days) {
  return at !== null && Date.now() - Date.parse(at) < days * dayMs
}

/** What leaving comes to, in one sentence. @param {readonly any[]} items */
export function impactSummary(items) {
  const credentials = items.reduce((n, item) => n + item.credentials.length, 0)
  const of = (/** @type {string} */ d) => items.filter((item) => item.decision === d).length
  const parts = [
    of('disable') && `${of('disable')} disabled at once`,
    of('offer') && `${of('offer')} rotated and offered to an heir`,
    of('none') && `${of('none')} left as they are`,
  ].filter(Boolean)
  return `${count(items.length, 'account')} with ${count(credentials, 'credential')}: ${parts.join(', ')}.`
}

/** Account by account: what would be done and by which rule. @param {{ items: readonly any[] }} props */
export function ImpactTable({ items }) {
  return html`<${Table}
    caption="What leaving would do"
    rows=${items}
    keyOf=${(/** @type {any} */ i) => i.account}
    hrefOf=${(/** @type {any} */ i) => link(['account', i.account])}
    columns=${columns}
  />`
}

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  { title: 'Account', isMain: true, show: (i) => html`<${Text} value=${i.userName} />` },
  { title: 'Environment', show: (i) => html`<${Text} value=${i.environment} />` },
  {
    title: 'Decision',
    show: (i) =>
      html`<${Status}
          value=${decisionSentence(i.decision)}
          tone=${i.decision === 'disable' ? 'bad' : i.decision === 'offer' ? 'warn' : 'off'}
        />
        <span class="small block">${ruleSentence(i.rule)}</span>
        ${
          i.whenReleased
            ? html`<span class="small block"
                >then: ${decisionSentence(i.whenReleased.decision)},
                ${ruleSentence(i.whenReleased.rule)}</span
              >`
            : null
        }
        ${i.graceUntil ? html`<span class="small block">until <${When} at=${i.graceUntil} /></span>` : null}`,
  },
  {
    title: 'Goes to',
    show: (i) =>
      html`${
        i.offeredTo
          ? html`<${OwnerName} owner=${{ id: i.offeredTo }} />`
          : html`<span class="none">–</span>`
      }
      ${i.disableAt ? html`<span class="small block">else disabled <${When} at=${i.disableAt} /></span>` : null}
      ${
        i.stillCachedBy.length > 0
          ? html`<span class="small block warn-text"
              >cached longer than the overlap by <${Text} value=${i.stillCachedBy.join(', ')}
            /></span>`
          : null
      }`,
  },
  {
    title: 'Last used',
    show: (i) =>
      html`<${When} at=${i.lastUsedAt} none="never seen" />
        ${isWithin(i.lastUsedAt, 7) ? html`<span class="small block warn-text">in use this week</span>` : null}`,
  },
  {
    title: 'Credentials',
    show: (i) =>
      i.credentials.length === 0
        ? html`<span class="none">none</span>`
        : html`<ul class="tight">
            ${i.credentials.map(
              (/** @type {any} */ c) =>
                html`<li>
                  <${Text} value=${`${c.provider} ${c.kind}`} /> <${Status} value=${c.status} />
                </li>`,
            )}
          </ul>`,
  },
]
