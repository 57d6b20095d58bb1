import { acts, perform } from '../lib/accounts.js'
import { call, newKey } from '../lib/api.js'
import { count } from '../lib/format.js'
import { html, useEffect, useRef, useState } from '../lib/html.js'
import { Dialog } from './dialog.js'
import { isWithin } from './impact.js'
import { Loading } from './states.js'
import { Status } from './status.js'
import { Text, When } from './text.js'

/** At the server at the same time: it has others to serve. */
const atOnce = 4

/**
 * @typedef {object} Line one account of the plan
 * @property {string} id
 * @property {string} userName
 * @property {string} status
 * @property {string} key
 * @property {readonly any[] | null} credentials null until they are read
 * @property {boolean} isUnread they could not be read
 * @property {'planned' | 'sending' | 'done' | 'failed'} state
 * @property {string | null} error
 */

/**
 * One act on many accounts, behind its plan: what each is hit by is shown first, the number is typed,
 * and each goes by itself: one that fails stops no other, and is tried again with its own key.
 * @param {{ act: import('../lib/accounts.js').Act, rows: readonly { id: string, userName: string, status: string }[], onClose: () => void, onDone: () => void }} props
 */
export function Bulk({ act, rows, onClose, onDone }) {
  const [lines, setLines] = useState(() => rows.map(lineOf))
  const [typed, setTyped] = useState('')
  const [reason, setReason] = useState('')
  const [phase, setPhase] = useState(/** @type {'plan' | 'running' | 'over'} */ ('plan'))
  const isStopped = useRef(false)
  const { title, said, isDestructive } = acts[act]
  /** @type {{ current: Map<string, Partial<Line>> }} */
  const fresh = useRef(new Map())
  const change = (/** @type {string} */ id, /** @type {Partial<Line>} */ next) => {
    // Of thousands, each by itself would draw the whole plan again.
    if (fresh.current.size === 0) setTimeout(settle, 100)
    fresh.current.set(id, { ...fresh.current.get(id), ...next })
  }
  const settle = () => {
    const news = fresh.current
    fresh.current = new Map()
    setLines((all) => all.map((line) => ({ ...line, ...news.get(line.id) })))
  }

  useEffect(() => {
    isStopped.current = false
    void inTurns(lines, isStopped, async (line) => {
      const account = await call('GET', `/api/v1/accounts/${line.id}`).catch(() => null)
      change(line.id, account ? { credentials: account.credentials } : { isUnread: true })
    })
    return () => {
      isStopped.current = true
    }
  }, [])

  const run = async (/** @type {readonly Line[]} */ todo) => {
    setPhase('running')
    isStopped.current = false
    await inTurns(todo, isStopped, async (line) => {
      change(line.id, { state: 'sending', error: null })
      try {
        const given = { key: line.key, reason: reason.trim() === '' ? null : reason.trim() }
        await perform(
          act,
          { id: line.id, ...(line.credentials ? { credentials: line.credentials } : {}) },
          given,
        )
        change(line.id, { state: 'done' })
      } catch (error) {
        change(line.id, { state: 'failed', error: /** @type {Error} */ (error).message })
      }
    })
    settle()
    setPhase('over')
    onDone()
  }

  const credentials = lines.reduce((n, l) => n + (l.credentials?.length ?? 0), 0)
  const inUse = lines.filter((l) => l.credentials?.some((c) => isWithin(c.lastUsedAt, 7)))
  const isRead = lines.every((l) => l.credentials !== null || l.isUnread)
  const isReady = typed.trim() === String(lines.length)
  const left = lines.filter((l) => l.state === 'failed' || l.state === 'planned')
  const done = lines.filter((l) => l.state === 'done').length
  return html`<${Dialog}
    title=${`${title} ${count(lines.length, 'account')}`}
    isWide
    onClose=${onClose}
    mustAnswer=${phase === 'running'}
  >
    <p>
      ${said}
      ${isRead ? `It hits ${count(credentials, 'credential')}.` : html`<${Loading} what="Looking at their credentials" />`}
    </p>
    ${
      inUse.length > 0 && isDestructive
        ? html`<div class="banner bad">
            <p><strong>${count(inUse.length, 'account')} used in the last 7 days.</strong></p>
          </div>`
        : null
    }
    <div class="table-frame plan" role="region" aria-label="The plan" tabindex="0">
      <table>
        <thead>
          <tr>
            <th scope="col">Account</th>
            <th scope="col">Now</th>
            <th scope="col">Credentials</th>
            <th scope="col">Last used</th>
            <th scope="col">Will</th>
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          ${lines.map((line) => html`<${PlanLine} key=${line.id} line=${line} act=${act} />`)}
        </tbody>
      </table>
    </div>
    ${
      phase === 'plan'
        ? html`<form
            onSubmit=${(/** @type {Event} */ event) => {
              event.preventDefault()
              if (isReady) void run(lines)
            }}
          >
            <label class="field"
              >Reason (optional)
              <input
                name="reason"
                maxlength="500"
                value=${reason}
                onInput=${(/** @type {any} */ e) => setReason(e.target.value)}
            /></label>
            <label class="field"
              ><span>Type <strong>${lines.length}</strong>, the number of accounts, to go on</span>
              <input
                name="typed"
                inputmode="numeric"
                autocomplete="off"
                value=${typed}
                onInput=${(/** @type {any} */ e) => setTyped(e.target.value)}
            /></label>
            <footer>
              <button type="button" onClick=${onClose}>Cancel</button>
              <button
                type="submit"
                class=${isDestructive ? 'danger' : 'primary'}
                aria-disabled=${!isReady}
              >
                ${title} ${count(lines.length, 'account')}
              </button>
            </footer>
          </form>`
        : html`<p role="status">
              ${done} of ${lines.length}
              done${left.length > 0 && phase === 'over' ? `, ${left.length} not` : ''}.
            </p>
            <footer>
              ${
                phase === 'running'
                  ? html`<button type="button" onClick=${() => (isStopped.current = true)}>
                      Stop after these
                    </button>`
                  : html`${
                        left.length > 0
                          ? html`<button type="button" onClick=${() => void run(left)}>
                              Try ${left.length} again
                            </button>`
                          : null
                      } <button type="button" class="primary" onClick=${onClose}>Close</button>`
              }
            </footer>`
    }
  <//>`
}

/** @param {{ id: string, userName: string, status: string }} row @returns {Line} */
function lineOf({ id, userName, status }) {
  return {
    id,
    userName,
    status,
    key: newKey(),
    credentials: null,
    isUnread: false,
    state: 'planned',
    error: null,
  }
}

/** @param {string | null} a @param {string | null} b */
function later(a, b) {
  return a !== null && (b === null || a > b) ? a : b
}

/** @param {import('../lib/accounts.js').Act} act @param {Line} line */
function willOf(act, line) {
  const active = line.credentials?.filter((c) => c.status === 'active').length ?? 0
  switch (act) {
    case 'disable':
      return line.status === 'disabled' ? 'stay disabled' : `switch off ${count(active, 'key')}`
    case 'enable':
      return line.status === 'active' ? 'stay active' : 'work again'
    case 'certify':
      return ['active', 'provisioning'].includes(line.status)
        ? 'be needed still'
        : 'be refused: it is not active'
    case 'rotate':
      return active === 0 ? 'have nothing to rotate' : `get ${count(active, 'new key')}`
    case 'retire':
      return `end ${count(line.credentials?.length ?? 0, 'credential')} for good`
  }
}

/** @param {{ line: Line, act: import('../lib/accounts.js').Act }} props */
function PlanLine({ line, act }) {
  const used = (line.credentials ?? []).reduce((latest, c) => later(latest, c.lastUsedAt), null)
  const tones = /** @type {const} */ ({
    planned: 'off',
    sending: 'busy',
    done: 'good',
    failed: 'bad',
  })
  return html`<tr>
    <th scope="row"><${Text} value=${line.userName} /></th>
    <td data-title="Now"><${Status} value=${line.status} /></td>
    <td data-title="Credentials">
      ${line.isUnread ? 'not readable' : (line.credentials?.length ?? '…')}
    </td>
    <td data-title="Last used"><${When} at=${used ?? null} none="never seen" /></td>
    <td data-title="Will">${line.credentials ? willOf(act, line) : '…'}</td>
    <td data-title="Outcome">
      <${Status} value=${line.state} tone=${tones[line.state]} />
      ${line.error ? html`<span class="small block"><${Text} value=${line.error} /></span>` : null}
    </td>
  </tr>`
}

/**
 * Each of the lines, a few at a time, until it is stopped.
 * @param {readonly Line[]} lines
 * @param {{ current: boolean }} isStopped
 * @param {(line: Line) => Promise<void>} act
 */
async function inTurns(lines, isStopped, act) {
  const waiting = [...lines]
  const worker = async () => {
    for (let line = waiting.shift(); line !== undefined; line = waiting.shift()) {
      if (isStopped.current) return
      await act(line)
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
