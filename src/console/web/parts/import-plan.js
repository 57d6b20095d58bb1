import { adoptAll, discover, entryOf, missingIn, wishOf } from '../lib/adoption.js'
import { count } from '../lib/format.js'
import { html, useEffect, useState } from '../lib/html.js'
import { link } from '../lib/router.js'
import { mayAct } from '../lib/session.js'
import { Confirm } from './dialog.js'
import { Card, Page } from './page.js'
import { Empty, Loading, Problem } from './states.js'
import { Status } from './status.js'
import { Table, usePicked } from './table.js'
import { Text, When } from './text.js'

const keyOf = (/** @type {any} */ row) => row.external

/**
 * What lies at a provider and is managed by nobody: choose, say whose it is and what for, see the
 * plan, adopt. Adopting marks a thing as managed and changes nothing else about it.
 * @param {{ name: string }} props
 */
export function ImportScreen({ name }) {
  const [found, setFound] = useState(
    /** @type {import('../lib/adoption.js').Discovery | null} */ (null),
  )
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const [isReading, setReading] = useState(true)
  const [turn, setTurn] = useState(0)
  const [isAll, setAll] = useState(false)
  useEffect(() => {
    const ending = new AbortController()
    setReading(true)
    setError(null)
    discover(name, ending.signal, setFound).then(
      (all) => {
        if (ending.signal.aborted) return
        setFound(all)
        setReading(false)
      },
      (caught) => {
        if (ending.signal.aborted) return
        setError(caught)
        setReading(false)
      },
    )
    return () => ending.abort()
  }, [name, turn])
  const rows = found?.items.filter((r) => isAll || isFree(r)) ?? []
  const picked = usePicked(rows.filter(isFree), keyOf)
  const chosen = rows.filter((r) => isFree(r) && picked.has(keyOf(r)))
  const readAgain = () => setTurn((n) => n + 1)
  return html`<${Page}
    title=${`Import from ${name}`}
    lead=${html`What lies there and nobody wrote down. Choose, say whose it is and what for, look at
      the plan, adopt. <a href=${link(['providers', name])}>Back to ${name}</a>`}
    actions=${html`<button type="button" onClick=${readAgain} aria-disabled=${isReading}>
      ${isReading ? 'Reading…' : 'Look again'}
    </button>`}
  >
    ${error ? html`<${Problem} error=${error} again=${readAgain} />` : null}
    ${found === null && !error ? html`<${Loading} what="Reading what is there" />` : null}
    ${
      found
        ? html`<div class="toolbar">
              <label class="check"
                ><input
                  type="checkbox"
                  name="all"
                  checked=${isAll}
                  onChange=${() => setAll(!isAll)}
                />
                Also what is managed already, or cannot be</label
              >
              <span role="status" class="soft"
                >${isReading ? 'Reading on…' : ''} ${count(found.items.length, 'thing')} seen,
                ${' '}${found.items.filter(isFree).length} to choose from</span
              >
            </div>
            ${
              found.isComplete && !found.isCut
                ? null
                : html`<div class="banner warn">
                    <p>
                      <strong>This is not everything.</strong>${' '}
                      ${
                        found.isCut
                          ? 'There is more than this page reads; the command line reads all: '
                          : 'Some of it could not be read; check the rights of Custody there. '
                      }<code>custody provider import ${name}</code>
                    </p>
                  </div>`
            }
            ${
              rows.length === 0 && !isReading
                ? html`<${Empty} title="Nothing is left to import.">
                    Everything that was found is managed, or cannot be.
                  <//>`
                : html`<${Table}
                    caption=${`What was found at ${name}`}
                    columns=${columns}
                    rows=${rows}
                    keyOf=${keyOf}
                    picked=${mayAct() ? { ...picked, all: picked.all } : undefined}
                  />`
            }`
        : null
    }
    ${chosen.length > 0 ? html`<${Plan} provider=${name} chosen=${chosen} onDone=${readAgain} />` : null}
  <//>`
}

/** @param {any} row */
function isFree(row) {
  return !row.managed && row.obstacle === null
}

/** @param {any} row */
function activeText({ keys }) {
  return `${keys.filter((/** @type {any} */ k) => k.active).length} of ${keys.length} active`
}

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  { title: 'Name', isMain: true, show: (row) => html`<${Text} value=${row.name} />` },
  { title: 'Kind', show: (row) => row.kind },
  { title: 'Made', className: 'nowrap', show: (row) => html`<${When} at=${row.createdAt} />` },
  {
    title: 'Keys',
    show: (row) => html`${activeText(row)}, <${When} at=${row.lastUsedAt} none="no known use" />`,
  },
  {
    title: 'Maybe owned by',
    show: (row) =>
      row.owners.length === 0
        ? html`<span class="none">nobody is known</span>`
        : html`<ul class="plain-list">
            ${row.owners.map(
              (/** @type {any} */ o) =>
                html`<li>
                  <${Text}
                    value=${o.userName}
                  />${o.active ? null : html` <${Status} value="has left" tone="warn" />`}${' '}
                  <span class="small"><${Text} value=${o.reason} /></span>
                </li>`,
            )}
          </ul>`,
  },
  {
    title: 'Notes',
    show: (row) =>
      row.managed
        ? html`<${Status} value="managed" tone="good" />`
        : row.obstacle
          ? html`<${Status} value="cannot be adopted" tone="off" />${' '}
              <${Text} value=${row.obstacle} />`
          : html`<${Text} value=${row.notes.join(' ')} />`,
  },
]

/** @type {Readonly<Record<string, readonly [string, 'good' | 'busy' | 'warn' | 'bad' | 'off']>>} */
const outcomes = {
  waiting: ['waiting', 'off'],
  sending: ['adopting', 'busy'],
  adopted: ['adopted', 'good'],
  already: ['was managed already', 'good'],
  later: ['later', 'warn'],
  failed: ['failed', 'bad'],
}

/** @typedef {import('../lib/adoption.js').Wish} Wish */

/**
 * @param {{ provider: string, chosen: readonly any[], onDone: () => void }} props
 */
function Plan({ provider, chosen, onDone }) {
  const [wishes, setWishes] = useState(/** @type {Readonly<Record<string, Wish>>} */ ({}))
  const [came, setCame] = useState(
    /** @type {Readonly<Record<string, import('../lib/adoption.js').Outcome>>} */ ({}),
  )
  const [isAsking, setAsking] = useState(false)
  const [isRunning, setRunning] = useState(false)
  const wishFor = (/** @type {any} */ row) => wishes[row.external] ?? wishOf(row)
  const change = (/** @type {any} */ row, /** @type {Partial<Wish>} */ part) =>
    setWishes((all) => ({
      ...all,
      [row.external]: { ...(all[row.external] ?? wishOf(row)), ...part },
    }))
  const left = chosen.filter((row) => !isDone(came[row.external]))
  const missing = left.find((row) => missingIn(wishFor(row)) !== null)
  const run = async () => {
    setRunning(true)
    const entries = left.map((row) => entryOf(row.external, row, wishFor(row)))
    setCame((all) => ({
      ...all,
      ...Object.fromEntries(
        entries.map((e) => [e.external, { status: 'waiting', sentence: null, account: null }]),
      ),
    }))
    await adoptAll(provider, entries, (external, outcome) =>
      setCame((all) => ({ ...all, [external]: outcome })),
    )
    setRunning(false)
  }
  const fill = () => {
    const [first] = chosen.map(wishFor)
    if (first === undefined) return
    for (const row of chosen) {
      const wish = wishFor(row)
      change(row, {
        owner: wish.owner || first.owner,
        purpose: wish.purpose || first.purpose,
        environment: wish.environment || first.environment,
      })
    }
  }
  return html`<${Card}
    title=${`Plan: ${count(chosen.length, 'thing')} to adopt`}
    actions=${
      chosen.length > 1
        ? html`<button type="button" class="small-button" onClick=${fill}>
            Fill what is empty like the first
          </button>`
        : null
    }
  >
    <ul class="plan">
      ${chosen.map(
        (row) =>
          html`<li key=${row.external}>
            <${Entry}
              row=${row}
              wish=${wishFor(row)}
              outcome=${came[row.external] ?? null}
              onChange=${(/** @type {Partial<Wish>} */ part) => change(row, part)}
            />
          </li>`,
      )}
    </ul>
    <div class="row">
      <button
        type="button"
        class="primary"
        aria-disabled=${isRunning || left.length === 0 || missing !== undefined}
        onClick=${() => {
          if (!isRunning && left.length > 0 && missing === undefined) setAsking(true)
        }}
      >
        ${isRunning ? 'Adopting…' : 'See the plan'}
      </button>
      <span role="status" class="soft"
        >${
          isRunning
            ? 'One after the other; keep this page open.'
            : missing !== undefined
              ? html`<${Text} value=${missing.name} /> lacks ${missingIn(wishFor(missing))}.`
              : left.length === 0
                ? 'All of them are managed now.'
                : ''
        }</span
      >
      ${
        !isRunning && Object.keys(came).length > 0
          ? html`<button type="button" onClick=${onDone}>Look again</button>`
          : null
      }
    </div>
    ${
      isAsking
        ? html`<${Confirm}
            title=${`Adopt ${count(left.length, 'thing')} from ${provider}?`}
            verb=${`Adopt ${left.length}`}
            onClose=${() => setAsking(false)}
            act=${async () => void run()}
          >
            <p>
              Each becomes an account with an owner and an end date. Its keys go on working; nothing
              is changed there but the mark that it is managed. The policy only watches imported
              accounts until you say otherwise.
            </p>
            <ul class="fact-list">
              ${left.map((row) => {
                const wish = wishFor(row)
                return html`<li>
                  <ins><${Text} value=${wish.userName} /></ins>, owned by${' '}
                  <${Text} value=${wish.owner} />, for <${Text} value=${wish.purpose} />,${' '}
                  ${wish.expiresAt === '' ? "until the policy's end date" : `until ${wish.expiresAt}`}
                  ${wish.deliverTo === '' ? '' : html`, new secrets to <${Text} value=${wish.deliverTo} />`}
                </li>`
              })}
            </ul>
          <//>`
        : null
    }
  <//>`
}

/** @param {import('../lib/adoption.js').Outcome | undefined} outcome */
function isDone(outcome) {
  return outcome?.status === 'adopted' || outcome?.status === 'already'
}

/**
 * @param {{ row: any, wish: Wish, outcome: import('../lib/adoption.js').Outcome | null, onChange: (part: Partial<Wish>) => void }} props
 */
function Entry({ row, wish, outcome, onChange }) {
  const listId = `owners-${row.external.replace(/\W/g, '-')}`
  const field = (
    /** @type {keyof Wish} */ name,
    /** @type {string} */ label,
    /** @type {Record<string, unknown>} */ more = {},
  ) =>
    html`<label class="field"
      >${label}
      <input
        name=${name}
        autocomplete="off"
        maxlength="200"
        value=${wish[name]}
        onInput=${(/** @type {any} */ e) => onChange({ [name]: e.target.value })}
        ...${more}
    /></label>`
  return html`<fieldset class="plan-entry" disabled=${isDone(outcome ?? undefined)}>
    <legend><${Text} value=${row.name} /> <span class="small">${row.kind}</span></legend>
    ${field('owner', 'Owner: a person or a group', { list: listId, required: true })}
    <datalist id=${listId}>
      ${row.owners.map((/** @type {any} */ o) => html`<option value=${o.userName}>${o.reason}</option>`)}
    </datalist>
    ${field('purpose', 'Purpose', { required: true })} ${field('userName', 'Name of the account')}
    ${field('environment', 'Environment', { placeholder: 'prod, test, …' })}
    ${field('expiresAt', 'End date, if not the usual one', { type: 'date' })}
    ${field('deliverTo', 'Deliver new secrets to', { placeholder: 'sink:path' })}
    ${
      outcome
        ? html`<p class="outcome" role="status">
            <${Status}
              value=${(outcomes[outcome.status] ?? ['', 'off'])[0]}
              tone=${(outcomes[outcome.status] ?? ['', 'off'])[1]}
            />
            ${outcome.account ? html` <a href=${link(['account', outcome.account])}>its account</a>` : null}
            ${outcome.sentence ? html` <${Text} value=${outcome.sentence} />` : null}
          </p>`
        : null
    }
  </fieldset>`
}
