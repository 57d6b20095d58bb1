import { useRead } from '../lib/data.js'
import { html } from '../lib/html.js'
import { Empty, Shown } from './states.js'
import { Status } from './status.js'
import { Table } from './table.js'
import { Text, When } from './text.js'

/** Who uses the secrets of an account, and how far each of them is. @param {{ account: any }} props */
export function Consumers({ account }) {
  const read = useRead(`/api/v1/consumers?account=${account.id}&limit=200`, {
    concerns: (c) => c.subject.id === account.id || c.subject.type === 'credential',
  })
  const nameOf = (/** @type {string} */ id) => {
    const found = account.credentials.find((/** @type {any} */ c) => c.id === id)
    return found ? `${found.provider} ${found.kind}` : id
  }
  return html`<${Shown} read=${read} what="Reading who uses it">
    ${(/** @type {{ items: readonly any[] }} */ { items }) => {
      const rows = items.flatMap((consumer) =>
        consumer.credentials.map((/** @type {any} */ c) => ({ ...c, consumer })),
      )
      return rows.length === 0
        ? html`<${Empty} title="Nobody is named who uses it."
            >A rotation then waits for the whole overlap: nobody can say that they have moved.<//
          >`
        : html`<${Table}
            caption="Consumers"
            rows=${rows}
            keyOf=${(/** @type {any} */ r) => `${r.consumer.id} ${r.credential}`}
            columns=${[
              {
                title: 'Consumer',
                isMain: true,
                show: (/** @type {any} */ r) => html`<${Text} value=${r.consumer.name} />`,
              },
              {
                title: 'Kind',
                show: (/** @type {any} */ r) => html`<${Text} value=${r.consumer.kind} />`,
              },
              {
                title: 'Credential',
                show: (/** @type {any} */ r) => html`<${Text} value=${nameOf(r.credential)} />`,
              },
              {
                title: 'State',
                show: (/** @type {any} */ r) =>
                  html`<${Status}
                    value=${r.state}
                    tone=${r.state === 'behind' ? 'warn' : undefined}
                  />`,
              },
              {
                title: 'Last seen with',
                show: (/** @type {any} */ r) =>
                  r.seenAt
                    ? html`generation ${r.seen}, <${When} at=${r.seenAt} />`
                    : html`<span class="none">not seen</span>`,
              },
            ]}
          />`
    }}
  <//>`
}
