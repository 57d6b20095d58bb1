import { call } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from './dialog.js'
import { notify } from './notices.js'
import { Card } from './page.js'
import { Facts, Text, Value, When } from './text.js'

/** What to look at before each is released. @type {Readonly<Record<string, string>>} */
const before = {
  clock: 'Set the clock of the machine right first; what is past its date is then switched off.',
  restored:
    'Run the reconcile sweep and look through the findings first: keys made after the backup are unknown here, and who left since is active again.',
  listing: 'Look at the provider first: whatever it lists no more is then concluded to be gone.',
}

/** The brakes that a word releases; held people are decided about one by one. */
export function Brakes() {
  const read = useRead('/api/v1/brakes', { concerns: (c) => /brake/i.test(c.type) })
  const [asking, setAsking] = useState(/** @type {any} */ (null))
  const brakes = (read.data?.items ?? []).filter((/** @type {any} */ b) => b.name !== 'leavers')
  if (brakes.length === 0) return null
  return html`<${Card} title="Brakes that are on">
    <ul class="stack">
      ${brakes.map(
        (/** @type {any} */ b) =>
          html`<li class="stuck" key=${`${b.name} ${b.subject}`}>
            <p>
              <strong>${words(b.name)}</strong> <${Text} value=${b.subject} none="" /> since
              <${When} at=${b.since} />
            </p>
            <${Facts}
              facts=${Object.entries(b.facts ?? {}).map(([name, value]) => [words(name), html`<${Value} value=${value} />`])}
            />
            ${
              mayAct()
                ? html`<div class="row">
                    <button type="button" onClick=${() => setAsking(b)}>Release…</button>
                  </div>`
                : null
            }
          </li>`,
      )}
    </ul>
    ${
      asking
        ? html`<${Confirm}
            title=${`Release the brake ${asking.name}`}
            verb="Release"
            isDestructive
            typed=${asking.name}
            reason="required"
            onClose=${() => setAsking(null)}
            act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
              const body = { reason, ...(asking.subject ? { subject: asking.subject } : {}) }
              await call('POST', `/api/v1/brakes/${asking.name}/release`, body, { key })
              notify(`The brake ${asking.name} is released; what it stopped is done again.`)
              read.reload()
            }}
          >
            <p>${before[asking.name]}</p>
          <//>`
        : null
    }
  <//>`
}
