import { mayBeTriedAgain, newKey } from '../lib/api.js'
import { html, useId, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { Problem } from './states.js'

/**
 * A question over the page; Escape closes it, and the focus goes back to where it was.
 * @param {{ title: string, onClose: () => void, children: any, isWide?: boolean, mustAnswer?: boolean }} props
 */
export function Dialog({ title, onClose, children, isWide = false, mustAnswer = false }) {
  const element = useRef(/** @type {HTMLDialogElement | null} */ (null))
  const id = useId()
  // With the drawing: what is typed at once belongs to the question, not to the page behind it.
  useLayoutEffect(() => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement)
    const dialog = element.current
    dialog?.showModal()
    return () => {
      dialog?.close()
      before?.focus?.()
    }
  }, [])
  return html`<dialog
    ref=${element}
    class=${isWide ? 'wide' : ''}
    aria-labelledby=${id}
    onCancel=${(/** @type {Event} */ event) => {
      event.preventDefault()
      if (!mustAnswer) onClose()
    }}
  >
    <header>
      <h2 id=${id}>${title}</h2>
      ${
        mustAnswer
          ? null
          : html`<button type="button" class="plain" aria-label="Close" onClick=${onClose}>
              ✕
            </button>`
      }
    </header>
    <div class="dialog-body">${children}</div>
  </dialog>`
}

/**
 * A question before something is done. One that destroys asks for a word to be typed; the button
 * says what it does. A failure is shown here and nothing that was typed is lost; the act is sent
 * with one key however often it is tried, so that it is done once.
 * @param {object} props
 * @param {string} props.title
 * @param {any} [props.children] what it hits: the blast radius
 * @param {string} props.verb on the button
 * @param {boolean} [props.isDestructive]
 * @param {string} [props.typed] what must be typed first, such as the name of the account
 * @param {'none' | 'optional' | 'required'} [props.reason]
 * @param {boolean} [props.isComplete] whether all that `children` ask for is given
 * @param {(given: { reason: string | null, key: string }) => Promise<void>} props.act
 * @param {() => void} props.onClose
 */
export function Confirm({
  title,
  children,
  verb,
  isDestructive = false,
  typed,
  reason = 'none',
  isComplete = true,
  act,
  onClose,
}) {
  const [key] = useState(() => newKey())
  const [text, setText] = useState('')
  const [why, setWhy] = useState('')
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const isReady =
    isComplete &&
    (typed === undefined || text.trim() === typed) &&
    (reason !== 'required' || why.trim() !== '')
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault()
    if (!isReady || isBusy) return
    setBusy(true)
    setError(null)
    try {
      await act({ reason: why.trim() === '' ? null : why.trim(), key })
      onClose()
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
      setBusy(false)
    }
  }
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${children}
      ${
        reason === 'none'
          ? null
          : html`<label class="field"
              >Reason${reason === 'optional' ? ' (optional)' : ''}
              <input
                name="reason"
                maxlength="500"
                autocomplete="off"
                required=${reason === 'required'}
                value=${why}
                onInput=${(/** @type {any} */ e) => setWhy(e.target.value)}
            /></label>`
      }
      ${
        typed === undefined
          ? null
          : html`<label class="field"
              ><span
                >Type <strong><bdi>${typed}</bdi></strong> to go on</span
              >
              <input
                name="typed"
                autocomplete="off"
                spellcheck=${false}
                value=${text}
                onInput=${(/** @type {any} */ e) => setText(e.target.value)}
            /></label>`
      }
      ${error ? html`<${Problem} error=${error} />` : null}
      <footer>
        <button type="button" onClick=${onClose}>Cancel</button>
        <button
          type="submit"
          class=${isDestructive ? 'danger' : 'primary'}
          aria-disabled=${!isReady || isBusy}
        >
          ${isBusy ? 'Sending…' : mayBeTriedAgain(error) ? `Try again: ${verb}` : verb}
        </button>
      </footer>
    </form>
  <//>`
}
