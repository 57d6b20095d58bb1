import { call } from '../lib/api.js'
import { useList } from '../lib/data.js'
import { html, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { Brakes } from '../parts/brakes.js'
import { mayAnswer, mayLook } from '../lib/session.js'
import { Confirm } from '../parts/dialog.js'
import { OwnerName } from '../parts/find-person.js'
import { notify } from '../parts/notices.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Shown } from '../parts/states.js'
import { More, Table } from '../parts/table.js'
import { Text, When } from '../parts/text.js'

/** @param {import('../lib/live.js').Change} change */
const concerns = (change) => change.subject.type === 'account' || change.subject.type === 'approval'

/** Accounts that wait for a new owner's word, and batches that wait for anybody's. @param {{ place: import('../lib/router.js').Place }} _props */
export function ApprovalsScreen(_props) {
  const transfers = useList('/api/v1/transfers', { concerns, limit: 100 })
  const [asking, setAsking] = useState(
    /** @type {null | { transfer: any, verb: 'accept' | 'decline' }} */ (null),
  )
  return html`<${Page}
    title="Approvals and transfers"
    lead="What waits for somebody's word. Nothing here happens by itself."
  >
    ${mayLook() ? html`<${Brakes} /><${Batches} />` : null}
    <${Card} title="Accounts offered to a new owner">
      <${Shown} read=${transfers} what="Looking for transfers">
        ${(/** @type {any} */ data) =>
          data.items.length === 0
            ? html`<${Empty} title="No account is on offer.">
                An account is offered when its owner leaves and there is an heir, or when somebody
                transfers it.
              <//>`
            : html`<${Table}
                  caption="Accounts offered to a new owner"
                  rows=${data.items}
                  keyOf=${(/** @type {any} */ t) => t.id}
                  hrefOf=${(/** @type {any} */ t) => link(['account', t.account])}
                  columns=${columns}
                  actionsOf=${
                    !mayAnswer()
                      ? undefined
                      : (/** @type {any} */ transfer) =>
                          html`<button
                              type="button"
                              class="small-button"
                              aria-label=${`Accept ${transfer.userName}…`}
                              onClick=${() => setAsking({ transfer, verb: 'accept' })}
                            >
                              Accept…
                            </button>
                            <button
                              type="button"
                              class="small-button"
                              aria-label=${`Decline ${transfer.userName}…`}
                              onClick=${() => setAsking({ transfer, verb: 'decline' })}
                            >
                              Decline…
                            </button>`
                  }
                />
                <${More} list=${transfers} shown=${data.items.length} what="transfers" />`}
      <//>
    <//>
    ${
      asking
        ? html`<${Answer}
            ...${asking}
            onClose=${() => setAsking(null)}
            onDone=${transfers.reload}
          />`
        : null
    }
  <//>`
}

/** What a directory let go too fast. */
function Batches() {
  const batches = useList('/api/v1/approvals?status=waiting', { concerns, limit: 50 })
  const forming = useList('/api/v1/approvals?status=forming', { concerns, limit: 50 })
  const open = [...(batches.items ?? []), ...(forming.items ?? [])]
  return html`<${Card} title="Batches to decide on">
    <${Shown} read=${batches} what="Looking for batches">
      ${() =>
        open.length === 0
          ? html`<${Empty} title="No batch waits for a decision." />`
          : html`<ul class="tight">
              ${open.map(
                (b) =>
                  html`<li>
                    <a href=${link(['held'], { batch: b.id })}
                      >${b.people} people of <${Text} value=${b.subject} /></a
                    >, held <${When} at=${b.createdAt} />
                  </li>`,
              )}
            </ul>`}
    <//>
  <//>`
}

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  { title: 'Account', isMain: true, show: (t) => html`<${Text} value=${t.userName} />` },
  {
    title: 'Owner',
    show: (t) =>
      html`<span class="diff"
        ><span
          ><del><${OwnerName} owner=${t.from} /></del></span
        ><span
          ><ins><${OwnerName} owner=${t.to} /></ins></span
      ></span>`,
  },
  { title: 'Orphaned', show: (t) => html`<${When} at=${t.orphanedAt} none="no" />` },
  { title: 'Else disabled', show: (t) => html`<${When} at=${t.deadline} />` },
]

/** @param {{ transfer: any, verb: 'accept' | 'decline', onClose: () => void, onDone: () => void }} props */
function Answer({ transfer, verb, onClose, onDone }) {
  const isAccepted = verb === 'accept'
  return html`<${Confirm}
    title=${`${isAccepted ? 'Accept' : 'Decline'} ${transfer.userName}`}
    verb=${isAccepted ? 'Accept' : 'Decline'}
    onClose=${onClose}
    act=${async (/** @type {{ key: string }} */ { key }) => {
      await call('POST', `/api/v1/transfers/${transfer.id}/${verb}`, {}, { key })
      notify(`${transfer.userName}: ${isAccepted ? 'accepted' : 'declined'}.`)
      onDone()
    }}
  >
    <p>
      ${
        isAccepted
          ? html`From now on <${OwnerName} owner=${transfer.to} /> answers for this account and all
              its credentials.`
          : transfer.deadline
            ? html`Nobody else is asked after the last heir: the account is then disabled
                <${When} at=${transfer.deadline} />.`
            : 'The account stays with its owner.'
      }
    </p>
  <//>`
}
