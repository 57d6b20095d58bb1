import { call } from '../lib/api.js'
import { useRead } from '../lib/data.js'
import { download } from '../lib/files.js'
import { duration, number } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from './dialog.js'
import { FindingsPart } from './findings.js'
import { Gate } from './gate.js'
import { notify } from './notices.js'
import { Card, Page } from './page.js'
import { Problem, Shown } from './states.js'
import { Status } from './status.js'
import { Table } from './table.js'
import { Facts, Text, When } from './text.js'

const lookEveryMs = 10_000

/** One provider or sink. @param {{ name: string, place: import('../lib/router.js').Place }} props */
export function ProviderScreen({ name, place }) {
  const role = place.query.get('role') === 'sink' ? 'sink' : 'provider'
  const route = `/api/v1/providers/${encodeURIComponent(name)}`
  const read = useRead(`${route}?role=${role}`, { concerns: () => false, everyMs: lookEveryMs })
  const it = read.data
  return html`<${Page}
    title=${`${role === 'sink' ? 'Sink' : 'Provider'} ${name}`}
    lead=${html`<a href=${link(['providers'])}>All providers</a>`}
    actions=${
      it?.can.discover && it?.can.adopt
        ? html`<a class="button primary" href=${link(['providers', name, 'import'])}
            >Import what is there</a
          >`
        : null
    }
  >
    <${Shown} read=${read} what="Reading the provider">
      ${(/** @type {any} */ data) =>
        html`<${Health} it=${data} route=${route} role=${role} />
          ${data.kinds.length > 0 ? html`<${Capabilities} it=${data} />` : null}
          ${role === 'provider' ? html`<${FindingsPart} place=${place} provider=${name} />` : null}
          ${data.can.suspend && mayAct() ? html`<${KillSwitch} name=${name} route=${route} />` : null}`}
    <//>
  <//>`
}

/**
 * @param {{ it: any, route: string, role: string }} props
 */
function Health({ it, route, role }) {
  const [check, setCheck] = useState(/** @type {any} */ (null))
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const [isBusy, setBusy] = useState(false)
  const look = async () => {
    if (isBusy) return
    setBusy(true)
    setError(null)
    try {
      setCheck(await call('POST', `${route}/check?role=${role}`, {}))
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
    }
    setBusy(false)
  }
  const quotas = it.kinds.filter((/** @type {any} */ k) => k.quota)
  return html`<${Card}
    title="Health, budget and rights"
    actions=${html`<button type="button" onClick=${look} aria-disabled=${isBusy}>
      ${isBusy ? 'Checking, up to 25 s…' : 'Check now'}
    </button>`}
  >
    <${Facts}
      facts=${[
        ['Type', html`<${Text} value=${it.type} />`],
        ['Calls', html`<${Gate} gate=${it.gate} />`],
        ['Waiting', it.gate ? number(it.gate.waiting) : null],
        [
          'Request budget',
          quotas.length === 0
            ? 'no limit of its own'
            : quotas
                .map(
                  (/** @type {any} */ k) =>
                    `${k.kind}: ${number(k.quota.calls)} in ${duration(k.quota.per)}`,
                )
                .join('; '),
        ],
        [
          'Can',
          Object.entries(it.can)
            .filter(([, can]) => can)
            .map(([what]) => canWords[what] ?? what)
            .join(', ') || 'nothing beyond its kinds',
        ],
      ]}
    />
    ${error ? html`<${Problem} error=${error} again=${look} />` : null}
    ${
      check
        ? html`<${CheckResult} check=${check} />`
        : html`<p class="small">
            “Check now” tries the configured access without changing anything: who Custody is there,
            which rights it has and lacks, how much of the budget is left, and its clock.
          </p>`
    }
  <//>`
}

/** @type {Readonly<Record<string, string>>} */
const canWords = {
  check: 'be checked',
  discover: 'be searched',
  adopt: 'adopt what is there',
  inventory: 'list everything',
  suspend: 'be suspended as a whole',
  removePeople: 'end personal access',
  read: 'be read back',
}

/** @type {Readonly<Record<string, 'good' | 'warn' | 'bad'>>} */
const checkTones = { ok: 'good', unknown: 'warn', failed: 'bad' }

/** @param {{ check: any }} props */
function CheckResult({ check }) {
  return html`<div role="status" class="stack tight">
    <p class="row">
      <${Status} value=${check.state} tone=${checkTones[check.state] ?? 'warn'} />
      <span>checked <${When} at=${check.checkedAt} exact /></span>
    </p>
    <ul class="checks">
      ${check.findings.map(
        (/** @type {any} */ f) =>
          html`<li>
            <${Status} value=${f.state} tone=${checkTones[f.state] ?? 'warn'} />
            <div>
              <strong><${Text} value=${f.name} /></strong>: <${Text} value=${f.message} />
              ${f.remedy ? html`<p class="small">→ <${Text} value=${f.remedy} /></p>` : null}
            </div>
          </li>`,
      )}
    </ul>
    ${
      check.leastPolicy
        ? html`<details>
            <summary>The least rights Custody needs there, ready to paste</summary>
            <button
              type="button"
              class="small-button"
              onClick=${() =>
                download(`${check.name}-policy.json`, 'application/json', check.leastPolicy)}
            >
              Download
            </button>
            <pre class="body" tabindex="0">${check.leastPolicy}</pre>
          </details>`
        : null
    }
  </div>`
}

/** @param {boolean} can */
const yes = (can) => (can ? 'yes' : html`<span class="none">no</span>`)

const rescopes = { inPlace: 'in place', newKey: 'by a new key', nextLease: 'with the next lease' }

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  { title: 'Kind', isMain: true, show: (k) => k.kind },
  { title: 'Issue', show: (k) => yes(k.canCreate) },
  { title: 'List', show: (k) => yes(k.canList) },
  { title: 'Disable', show: (k) => yes(k.canDisable) },
  {
    title: 'Revoke',
    show: (k) => (k.canRevoke && k.keepsSecret ? 'with the secret' : yes(k.canRevoke)),
  },
  {
    title: 'Try (proof)',
    show: (k) => (k.canProbe ? 'yes' : k.canList ? 'by a complete listing' : yes(false)),
  },
  {
    title: 'Last use',
    show: (k) =>
      k.canLastUsed
        ? k.lastUsedLag > 0
          ? `within ${duration(k.lastUsedLag)}`
          : 'yes'
        : yes(false),
  },
  {
    title: 'Change rights',
    show: (k) => /** @type {any} */ (rescopes)[k.canRescope] ?? yes(false),
  },
  { title: 'Live keys', className: 'number', show: (k) => k.maxLive ?? 'any' },
  {
    title: 'Lease',
    show: (k) => (k.lease ? duration(k.lease.lifetime) : html`<span class="none">–</span>`),
  },
  {
    title: 'Settles in',
    className: 'nowrap',
    show: (k) => (k.settleMax === 0 ? 'at once' : `${k.settleMin} to ${k.settleMax} s`),
  },
]

/** @param {{ it: any }} props */
function Capabilities({ it }) {
  const limits = it.kinds.filter((/** @type {any} */ k) => k.cannot?.length > 0)
  return html`<${Card} title="What it can do">
    <${Table}
      caption=${`Kinds of credentials of ${it.name}`}
      columns=${columns}
      rows=${it.kinds}
      keyOf=${(/** @type {any} */ k) => k.kind}
    />
    ${
      limits.length > 0
        ? html`<details>
            <summary>What it cannot do</summary>
            ${limits.map(
              (/** @type {any} */ k) =>
                html`<h3>${k.kind}</h3>
                  <ul class="plain-list">
                    ${k.cannot.map((/** @type {string} */ c) => html`<li>${c}</li>`)}
                  </ul>`,
            )}
          </details>`
        : null
    }
  <//>`
}

/** @param {{ name: string, route: string }} props */
function KillSwitch({ name, route }) {
  const [act, setAct] = useState(/** @type {'suspend' | 'resume' | null} */ (null))
  return html`<${Card} title="Kill switch">
    <p>
      Suspending cuts off everything Custody holds at this provider at once, for everybody: for the
      day its own access has leaked. It is taken back with “Resume”.
    </p>
    <div class="row">
      <button type="button" class="danger" onClick=${() => setAct('suspend')}>Suspend…</button>
      <button type="button" onClick=${() => setAct('resume')}>Resume…</button>
    </div>
    ${
      act === null
        ? null
        : html`<${Confirm}
            title=${act === 'suspend' ? `Suspend ${name}?` : `Resume ${name}?`}
            verb=${act === 'suspend' ? 'Suspend' : 'Resume'}
            isDestructive=${act === 'suspend'}
            typed=${act === 'suspend' ? name : undefined}
            reason="required"
            onClose=${() => setAct(null)}
            act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
              const answer = await call('POST', `${route}/${act}`, { reason }, { key })
              notify(`${name} is ${answer.state}.`)
            }}
          >
            <p>
              ${
                act === 'suspend'
                  ? 'Every short-lived token of this installation stops working within seconds, and nothing can be issued or rotated there until it is resumed.'
                  : 'The access that was suspended works again.'
              }
            </p>
          <//>`
    }
  <//>`
}
