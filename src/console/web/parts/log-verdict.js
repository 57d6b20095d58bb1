import { download } from '../lib/files.js'
import { number } from '../lib/format.js'
import { html, useEffect, useState } from '../lib/html.js'
import { pin, verifyLog } from '../lib/pinned.js'
import { session } from '../lib/session.js'
import { Confirm } from './dialog.js'
import { Card } from './page.js'
import { Loading, Problem } from './states.js'
import { Status } from './status.js'
import { Steps } from './steps.js'
import { Code, Facts, When } from './text.js'
import { markSeen } from './tour.js'

/** @type {Readonly<Record<string, readonly [string, 'good' | 'warn' | 'bad' | 'off']>>} */
const words = {
  verified: ['verified', 'good'],
  differs: ['not as it was signed', 'bad'],
  otherKey: ['another key', 'bad'],
  nothing: ['nothing signed yet', 'off'],
  cannot: ['not verified', 'warn'],
}

/** Whether the log is as it was signed: worked out here, not asked. */
export function LogVerdict() {
  const tenant = session.get()?.tenant ?? ''
  const [result, setResult] = useState(
    /** @type {import('../lib/pinned.js').Result | null} */ (null),
  )
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const [isBusy, setBusy] = useState(false)
  const [isAsking, setAsking] = useState(false)
  const verify = async () => {
    if (isBusy) return
    setBusy(true)
    setError(null)
    try {
      const next = await verifyLog(tenant)
      setResult(next)
      if (next.state === 'verified') markSeen('verified')
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
    }
    setBusy(false)
  }
  useEffect(() => void verify(), [])
  const [said, tone] = words[result?.state ?? 'cannot'] ?? ['not verified', 'warn']
  return html`<${Card}
    className="log-verdict"
    title="Is the log as it was signed?"
    actions=${html`<button type="button" onClick=${verify} aria-disabled=${isBusy}>
      ${isBusy ? 'Verifying…' : 'Verify now'}
    </button>`}
  >
    ${error ? html`<${Problem} error=${error} again=${verify} />` : null}
    ${result === null && !error ? html`<${Loading} what="Verifying in this browser" />` : null}
    ${
      result
        ? html`<div class="stack tight" role="status">
              <p class="row">
                <${Status} value=${said} tone=${tone} />
                ${
                  result.state === 'verified'
                    ? html`<strong>${number(result.size)} entries</strong>`
                    : null
                }
                <span>${result.sentence}</span>
              </p>
            </div>
            ${
              result.state === 'differs' || result.state === 'otherKey'
                ? html`<${Alarm} result=${result} onForget=${() => setAsking(true)} />`
                : null
            }
            ${result.key ? html`<${Evidence} result=${result} />` : null}`
        : null
    }
    ${
      isAsking && result?.key
        ? html`<${Forget}
            tenant=${tenant}
            keyText=${result.key}
            onClose=${() => setAsking(false)}
            onDone=${verify}
          />`
        : null
    }
  <//>`
}

/** @param {{ result: import('../lib/pinned.js').Result, onForget: () => void }} props */
function Alarm({ result, onForget }) {
  return html`<div class="problem" role="alert">
    <p>
      <strong>Do not use this log as evidence until it is settled.</strong> Ask whoever runs the
      server whether a backup was restored or the master key changed. Keep the database and
      ${' '}<code>.custody/audit-anchor</code> as they are, and check from elsewhere: ${' '}<code
        >custody audit verify</code
      >.
    </p>
    ${
      result.pinned
        ? html`<p class="small">
            Remembered since <${When} at=${result.pinned.since} exact />: key
            ${' '}<code>${result.pinned.key}</code>, ${number(result.pinned.size)} entries. Now: key
            ${' '}<code>${result.key}</code>.
          </p>`
        : null
    }
    ${
      result.pinned
        ? html`<button type="button" onClick=${onForget}>This is known and right…</button>`
        : null
    }
  </div>`
}

/** @param {{ result: import('../lib/pinned.js').Result }} props */
function Evidence({ result }) {
  const [kept, setKept] = useState('')
  const key = result.key ?? ''
  const isFirst = result.pinned === null
  const isSame = kept.trim() === key
  return html`<div class="stack tight">
    ${
      isFirst
        ? html`<p>
            This browser sees the key of the log for the first time and remembers it from here on:
            compare it once with the key that is kept elsewhere.
          </p>`
        : null
    }
    ${
      result.steps.length > 0
        ? html`<details open=${result.state === 'differs'}>
            <summary>How it was verified, step by step</summary>
            <${Steps} steps=${result.steps} />
          </details>`
        : null
    }
    <details>
      <summary>The key, and why it should be compared</summary>
      <div class="stack tight">
        <p>
          The key below came from the same server as the log: by itself it proves only that the two
          fit together. Compare it with one that was written down elsewhere on the first day.
        </p>
        <${Facts}
          facts=${[
            ['Public key', html`<${Code} value=${key} />`],
            [
              'Known here',
              result.pinned
                ? html`since <${When} at=${result.pinned.since} exact />`
                : 'from now on',
            ],
            ['Signed root', result.root ? html`<${Code} value=${result.root} />` : null],
            ['Verified', html`<${When} at=${result.at} exact />`],
          ]}
        />
        <label class="field"
          >The key you keep elsewhere
          <input
            name="kept-key"
            autocomplete="off"
            spellcheck=${false}
            placeholder="paste it here to compare"
            value=${kept}
            onInput=${(/** @type {any} */ e) => setKept(e.target.value)}
        /></label>
        <p role="status">
          ${
            kept.trim() === ''
              ? ''
              : isSame
                ? html`<${Status} value="the same key" tone="good" />`
                : html`<${Status} value="not the same key" tone="bad" /> Do not trust this log
                    before you know why.`
          }
        </p>
        <div class="row">
          <button
            type="button"
            onClick=${() => download('custody-checkpoint.txt', 'text/plain', result.note ?? '')}
          >
            Download checkpoint
          </button>
          <button
            type="button"
            onClick=${() => download('custody-audit.key', 'text/plain', `${key}\n`)}
          >
            Download key
          </button>
        </div>
        <p class="small">
          A checkpoint kept somewhere else once a day, with another team or in a ticket, shows later
          that nothing older was changed.
        </p>
      </div>
    </details>
  </div>`
}

/**
 * @param {{ tenant: string, keyText: string, onClose: () => void, onDone: () => void }} props
 */
function Forget({ tenant, keyText, onClose, onDone }) {
  const id = keyText.split('+')[1] ?? keyText
  return html`<${Confirm}
    title="Begin anew with what the server shows now?"
    verb="Begin anew"
    isDestructive
    typed=${id}
    onClose=${onClose}
    act=${async () => {
      pin(tenant, { key: keyText, since: new Date().toISOString(), size: 0, root: '' })
      setTimeout(onDone)
    }}
  >
    <p>
      This browser forgets the key and the entries it has verified, and remembers ${' '}<code
        >${keyText}</code
      >
      instead. Only do so when you know from somebody else that the key was changed, or an older
      copy restored, on purpose. The log itself stays as it is.
    </p>
  <//>`
}
