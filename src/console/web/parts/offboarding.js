import { csv, download } from '../lib/files.js'
import { count, duration } from '../lib/format.js'
import { html } from '../lib/html.js'
import { link } from '../lib/router.js'
import { Status } from './status.js'
import { Table } from './table.js'
import { Code, Text, When } from './text.js'

/** How far a key is on its way from working to proven dead. @param {any} key */
export function stageOf(key) {
  if (key.outcome === 'refused' || key.outcome === 'absent') return 'dead'
  if (key.byHand?.status === 'done') return 'dead'
  if (key.outcome === 'untestable') return 'untestable'
  return key.switchedOffAt ? 'off' : 'working'
}

/**
 * The verdict in one line, as it would be read out in an incident.
 * @param {any} report
 * @returns {{ tone: 'good' | 'warn' | 'bad', said: string }}
 */
export function verdictLine(report) {
  const all = report.keys.length
  const dead = report.keys.filter((/** @type {any} */ k) => stageOf(k) === 'dead').length
  if (report.verdict === 'held')
    return { tone: 'warn', said: 'Held: nothing is derived from this leaving until it is decided.' }
  if (report.verdict === 'notLeft') return { tone: 'warn', said: 'This person has not left.' }
  if (report.verdict === 'complete') {
    if (all === 0) return { tone: 'good', said: 'Complete: the person held no key of any account.' }
    const seconds = report.keys.map((/** @type {any} */ k) => k.provenDeadSeconds ?? 0)
    return {
      tone: 'good',
      said: `Complete: ${dead} of ${all} proven dead in ${duration(Math.max(0, ...seconds))}.`,
    }
  }
  const untestable = report.keys.filter(
    (/** @type {any} */ k) => stageOf(k) === 'untestable',
  ).length
  const removals = report.removals.filter((/** @type {any} */ r) => !r.done).length
  const rest = [
    untestable > 0 && `${untestable} cannot be tried`,
    all - dead - untestable > 0 && `${all - dead - untestable} not yet proven dead`,
    removals > 0 && `${count(removals, 'removal')} not done`,
  ].filter(Boolean)
  return { tone: 'bad', said: `Incomplete: ${dead} of ${all} proven dead, ${rest.join(', ')}.` }
}

const stages = {
  working: { value: 'works', tone: 'bad' },
  off: { value: 'switched off', tone: 'warn' },
  dead: { value: 'proven dead', tone: 'good' },
  untestable: { value: 'cannot be tried', tone: 'warn' },
}

/** Every key the leaver may have known, and what became of it. @param {{ report: any }} props */
export function Offboarding({ report }) {
  const { tone, said } = verdictLine(report)
  const all = report.keys.length
  const dead = report.keys.filter((/** @type {any} */ k) => stageOf(k) === 'dead').length
  return html`<p class="verdict ${tone}" role="status">${said}</p>
    ${
      all > 0
        ? html`<p class="progress-line">
            <progress class=${tone} max=${all} value=${dead} aria-label="Proven dead"></progress>
            <span class="nowrap">${dead} of ${all}</span>
          </p>`
        : null
    }
    ${
      report.keys.length > 0
        ? html`<${Table}
            caption="Keys of the leaver"
            rows=${report.keys}
            keyOf=${(/** @type {any} */ k) => `${k.credential} ${k.generation} ${k.keyId}`}
            hrefOf=${(/** @type {any} */ k) => link(['account', k.account])}
            columns=${columns}
          />`
        : null
    }
    ${
      report.removals.length > 0
        ? html`<h3>The person's own access at providers</h3>
            <ul class="tight">
              ${report.removals.map(
                (/** @type {any} */ r) =>
                  html`<li>
                    <${Status}
                      value=${r.done ? 'removed' : 'not removed'}
                      tone=${r.done ? 'good' : 'bad'}
                    />
                    <${Text} value=${r.provider} />
                    ${r.lines?.length ? html`: <${Text} value=${r.lines.join(', ')} />` : null}
                    ${r.reason ? html` (<${Text} value=${r.reason} />)` : null}
                  </li>`,
              )}
            </ul>`
        : null
    }
    ${
      report.handedBack.length > 0
        ? html`<h3>Handed back with their keys: nothing here says what became of them</h3>
            <ul class="tight">
              ${report.handedBack.map((/** @type {any} */ a) => html`<li><${Text} value=${a.userName} /></li>`)}
            </ul>`
        : null
    }`
}

/** @type {readonly (import('./table.js').Column)[]} */
const columns = [
  {
    title: 'Account',
    isMain: true,
    show: (k) => html`<${Text} value=${k.userName} />`,
    value: (k) => k.userName,
  },
  {
    title: 'Credential',
    show: (k) => html`<${Text} value=${`${k.provider} ${k.kind}`} />`,
    value: (k) => `${k.provider} ${k.kind}`,
  },
  { title: 'Key', show: (k) => html`<${Code} value=${k.keyId} />`, value: (k) => k.keyId },
  {
    title: 'State',
    show: (k) => {
      const stage = stages[stageOf(k)]
      return html`<${Status} value=${stage.value} tone=${stage.tone} />`
    },
    value: (k) => stages[stageOf(k)].value,
  },
  {
    title: 'Switched off',
    show: (k) =>
      k.switchedOffSeconds === null
        ? html`<span class="none">–</span>`
        : html`+${duration(k.switchedOffSeconds)}`,
    value: (k) => k.switchedOffAt,
  },
  {
    title: 'Tried and refused',
    show: (k) => proof(k),
    value: (k) => k.refusedAt ?? k.settledAt,
  },
]

/** @param {any} k */
function proof(k) {
  if (k.outcome === 'refused')
    return html`+${duration(k.provenDeadSeconds ?? 0)}${k.tries > 1 ? `, ${k.tries} times` : ''}`
  if (k.outcome === 'absent') return html`absent from a complete list`
  if (k.byHand) return html`by hand: ${k.byHand.status}`
  if (k.outcome === 'untestable') return html`there is no way to try it from here`
  return html`<span class="none">–</span>`
}

/** The report as a file for the ticket. @param {{ report: any }} props */
export function ReportFiles({ report }) {
  const name = `offboarding-${report.userName.replace(/[^A-Za-z0-9._-]+/g, '_').slice(0, 60)}`
  return html`<button
      type="button"
      onClick=${() => download(`${name}.json`, 'application/json', `${JSON.stringify(report, null, 2)}\n`)}
    >
      Report as JSON
    </button>
    <button
      type="button"
      onClick=${() =>
        download(
          `${name}.csv`,
          'text/csv',
          csv(
            columns.map((c) => ({ title: c.title, value: c.value ?? (() => '') })),
            report.keys,
          ),
        )}
    >
      Keys as CSV
    </button>`
}

/** When and how it was said that the person is gone. @param {{ report: any }} props */
export function Notices({ report }) {
  return html`<ul class="tight">
    ${report.notices.map(
      (/** @type {any} */ n) =>
        html`<li><${Text} value=${n.class} />, <${When} at=${n.at} exact /></li>`,
    )}
  </ul>`
}
