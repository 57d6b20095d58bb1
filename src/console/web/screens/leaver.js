import { call } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { count } from '../lib/format.js'
import { html, useEffect, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { leaveSentence } from '../lib/rules.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from '../parts/dialog.js'
import { FindPerson } from '../parts/find-person.js'
import { ImpactTable, impactSummary, isWithin } from '../parts/impact.js'
import { notify } from '../parts/notices.js'
import { Offboarding, ReportFiles } from '../parts/offboarding.js'
import { Card, Page } from '../parts/page.js'
import { Empty, Loading, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { Facts, Text, When } from '../parts/text.js'
import { markSeen } from '../parts/tour.js'

/** Somebody leaves: what will happen, one button, and the proof. @param {{ place: import('../lib/router.js').Place }} props */
export function LeaverScreen({ place }) {
  const id = place.query.get('person')
  if (id) return html`<${Person} key=${id} id=${id} />`
  return html`<${Page}
    title="Leaver"
    lead="Somebody leaves, or has left: pick the person, see what will happen to every account and key, start it, and watch each key die."
  >
    <${FindPerson}
      q=${place.query.get('q') ?? ''}
      hrefOf=${(/** @type {any} */ p) => link(['leaver'], { person: p.id })}
    />
  <//>`
}

/** While keys are dying they are looked at this often; events alone come every two seconds. */
const watchMs = 500
const watchedMinutes = 15

/** @param {{ id: string }} props */
function Person({ id }) {
  const owner = useRead(`/api/v1/owners/${encodeURIComponent(id)}`, {
    concerns: (c) => c.subject.id === id,
  })
  const name = owner.data ? (owner.data.displayName ?? owner.data.userName) : 'Leaver'
  return html`<${Page}
    title=${name}
    lead=${html`<a href=${link(['leaver'])}>Leaver</a>`}
    actions=${owner.data ? html`<${PersonState} owner=${owner.data} />` : null}
  >
    <${Shown} read=${owner} what="Reading the person">
      ${(/** @type {any} */ person) =>
        html`<${Card} title="Person"
            ><${Facts}
              facts=${[
                ['User name', html`<${Text} value=${person.userName} />`],
                ['Directory', html`<${Text} value=${person.directory} />`],
                ['Left', person.leftAt ? html`<${When} at=${person.leftAt} exact />` : null],
                ['What was said', leaveSentence(person.leftClass)],
                [
                  'Leaves on',
                  person.leavesAt ? html`<${When} at=${person.leavesAt} exact />` : null,
                ],
              ]}
          /><//>
          ${
            person.heldBy
              ? html`<${Held} person=${person} />`
              : person.active
                ? html`<${BeforeLeaving} person=${person} reload=${owner.reload} />`
                : html`<${AfterLeaving} person=${person} reload=${owner.reload} />`
          }`}
    <//>
  <//>`
}

/** @param {{ owner: any }} props */
function PersonState({ owner }) {
  if (owner.heldBy) return html`<${Status} value="held" tone="warn" />`
  return owner.active
    ? html`<${Status} value="active" />`
    : html`<${Status} value="left" tone="off" />`
}

/** @param {{ person: any }} props */
function Held({ person }) {
  const impact = useRead(`/api/v1/owners/${person.id}/impact`, { concerns: () => true })
  return html`<div class="banner warn">
      <p>
        <strong>This leaving is held.</strong> The directory let too many people go at once; nothing
        is derived from it until somebody decides.
      </p>
      <a class="button" href=${link(['held'], { batch: person.heldBy })}>Look at the batch</a>
    </div>
    <${Card} title="What follows when it is let through">
      <${Shown} read=${impact} what="Asking what would be decided">
        ${(/** @type {any} */ data) => html`<${ImpactTable} items=${data.items} />`}
      <//>
    <//>`
}

/** @param {{ person: any, reload: () => void }} props */
function BeforeLeaving({ person, reload }) {
  const impact = useRead(`/api/v1/owners/${person.id}/impact`, {
    concerns: (c) => c.subject.type !== 'operation',
  })
  const [isAsking, setAsking] = useState(false)
  useEffect(() => {
    if (impact.data) markSeen('impact')
  }, [impact.data !== null])
  return html`<${Card}
    title="If this person leaves now"
    actions=${
      mayAct()
        ? html`<button type="button" class="danger" onClick=${() => setAsking(true)}>
            Start leaving…
          </button>`
        : null
    }
  >
    <${Shown} read=${impact} what="Asking what would be decided">
      ${(/** @type {any} */ data) =>
        data.items.length === 0
          ? html`<${Empty} title="This person owns no service account.">
              Leaving ends nothing here.
            <//>`
          : html`<p class="summary">
                ${impactSummary(data.items)}${data.cursor ? ' There are more accounts than are shown.' : ''}
              </p>
              <${ImpactTable} items=${data.items} />`}
    <//>
    ${
      isAsking
        ? html`<${StartLeaving}
            person=${person}
            items=${impact.data?.items ?? []}
            onClose=${() => setAsking(false)}
            onDone=${reload}
          />`
        : null
    }
  <//>`
}

/** @param {{ person: any, items: readonly any[], onClose: () => void, onDone: () => void }} props */
function StartLeaving({ person, items, onClose, onDone }) {
  const [kind, setKind] = useState('declared')
  const inUse = items.filter((i) => isWithin(i.lastUsedAt, 7))
  return html`<${Confirm}
    title=${`${person.displayName ?? person.userName} leaves`}
    verb="Start leaving"
    isDestructive
    typed=${person.userName}
    reason="optional"
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const body = { class: kind, ...(reason === null ? {} : { reason }) }
      await call('POST', `/api/v1/owners/${person.id}/leave`, body, { key })
      notify(`Leaving of ${person.userName} has begun.`)
      onDone()
    }}
  >
    <p>
      ${impactSummary(items)} This is not held by the brake, and can be undone for as long as the
      keys are kept.
    </p>
    ${
      inUse.length > 0
        ? html`<div class="banner bad">
            <p>
              <strong>${count(inUse.length, 'account')} used in the last 7 days:</strong>${' '}
              <${Text}
                value=${inUse
                  .slice(0, 8)
                  .map((i) => i.userName)
                  .join(', ')}
              />${inUse.length > 8 ? ' and more' : ''}.
            </p>
          </div>`
        : null
    }
    <fieldset class="choices">
      <legend>What happened</legend>
      <label class="check"
        ><input
          type="radio"
          name="kind"
          checked=${kind === 'declared'}
          onChange=${() => setKind('declared')}
        />
        They leave (the policy for leavers)</label
      >
      <label class="check"
        ><input
          type="radio"
          name="kind"
          checked=${kind === 'security'}
          onChange=${() => setKind('security')}
        />
        A security event (no grace at all)</label
      >
    </fieldset>
  <//>`
}

/** @param {{ person: any, reload: () => void }} props */
function AfterLeaving({ person, reload }) {
  const isRecent = Date.now() - Date.parse(person.leftAt) < watchedMinutes * 60_000
  const [isOpen, setOpen] = useState(true)
  const report = useRead(`/api/v1/reports/offboarding/${person.id}`, {
    ...(isRecent && isOpen ? { everyMs: watchMs } : {}),
    read: async (route, signal) => {
      const found = await call('GET', route, undefined, { signal })
      // The report is there before the fan-out has reached every account.
      const leaving = person.leftCause
        ? await call('GET', `/api/v1/operations/${person.leftCause}`, undefined, { signal })
        : null
      const isBusy = leaving !== null && leaving.finishedAt === null
      setOpen(isBusy || found.verdict === 'incomplete')
      return { ...found, isBusy }
    },
  })
  const [isUndoing, setUndoing] = useState(false)
  return html`<${Card}
    title="What became of every key"
    actions=${
      report.data
        ? html`<div class="row">
            <${ReportFiles} report=${report.data} />
            ${
              mayAct() && person.leftCause
                ? html`<button type="button" onClick=${() => setUndoing(true)}>
                    Undo everything this event did…
                  </button>`
                : null
            }
          </div>`
        : null
    }
  >
    <${Shown} read=${report} what="Reading the report">
      ${(/** @type {any} */ data) =>
        data.isBusy && data.keys.length === 0
          ? html`<${Loading} what="The leaving is being worked on" />`
          : html`<${Offboarding} report=${data} />`}
    <//>
    ${
      isUndoing
        ? html`<${Undo}
            cause=${person.leftCause}
            onClose=${() => setUndoing(false)}
            onDone=${reload}
          />`
        : null
    }
  <//>`
}

/** @param {{ cause: string, onClose: () => void, onDone: () => void }} props */
export function Undo({ cause, onClose, onDone }) {
  const plan = useRead(`undo ${cause}`, {
    concerns: () => false,
    read: () => call('POST', `/api/v1/events/${cause}/undo?dryRun=true`, {}),
  })
  return html`<${Confirm}
    title="Undo everything this event did"
    verb="Undo"
    reason="required"
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const answer = await call('POST', `/api/v1/events/${cause}/undo`, { reason }, { key })
      notify(
        `Undone: ${count(answer.accounts, 'account')} come back, ${answer.sameKeys} with the same key.`,
      )
      onDone()
    }}
  >
    <${Shown} read=${plan} what="Asking what can come back">
      ${(/** @type {any} */ data) =>
        html`<p>
            ${count(data.accounts, 'account')} come back: ${data.sameKeys} with the same key, ${' '}
            ${count(data.newKeys, 'key')} made anew. The person counts as there again.
          </p>
          ${
            data.cannot.length > 0
              ? html`<p><strong>Cannot come back:</strong></p>
                  <ul class="tight">
                    ${data.cannot.map(
                      (/** @type {any} */ i) =>
                        html`<li><${Text} value=${i.userName} />: <${Text} value=${i.why} /></li>`,
                    )}
                  </ul>`
              : null
          }`}
    <//>
  <//>`
}
