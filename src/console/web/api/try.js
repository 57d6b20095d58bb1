import { html, useState } from '../lib/html.js'
import { exampleOf, requestOf } from './description.js'

/** @typedef {import('./description.js').Operation} Operation */

/** How much of an answer is drawn: a page of 200 resources is enough to see what it is. */
const shownMax = 100_000

/**
 * Sends a request as it is filled in here: with the token that is typed, else with the session of
 * the console. Nothing is kept, and nothing is sent before somebody asks for it.
 * @param {{ operation: Operation, resolve: any, token: string }} props
 */
export function Try({ operation, resolve, token }) {
  const [values, setValues] = useState(/** @type {Record<string, string>} */ ({}))
  const [body, setBody] = useState(() =>
    operation.body === null
      ? ''
      : JSON.stringify(exampleOf(operation.body.schema, resolve), null, 2),
  )
  const [isMeant, setMeant] = useState(false)
  const [isBusy, setBusy] = useState(false)
  const [answer, setAnswer] = useState(/** @type {any} */ (null))
  const isRead = operation.method === 'GET'
  const request = requestOf(operation, values, body)
  const missing = operation.parameters.filter(
    (p) => p.in === 'path' && (values[`path.${p.name}`] ?? '') === '',
  )

  const send = async (/** @type {Event} */ event) => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setAnswer(await sent(operation, request, token))
    setBusy(false)
  }

  return html`<form class="try" onSubmit=${send}>
    <h3>Try it</h3>
    ${operation.parameters.map(
      (p) =>
        html`<label class="field" key=${`${p.in}.${p.name}`}
          ><span><code>${p.name}</code> <span class="soft small">${p.in}</span></span>
          <${Field}
            parameter=${p}
            value=${values[`${p.in}.${p.name}`] ?? ''}
            onChange=${(/** @type {string} */ value) =>
              setValues({ ...values, [`${p.in}.${p.name}`]: value })}
          />
          ${p.description ? html`<span class="small soft">${p.description}</span>` : null}
        </label>`,
    )}
    ${
      operation.body === null
        ? null
        : html`<label class="field"
            >Body
            <textarea
              class="code"
              rows="8"
              spellcheck=${false}
              value=${body}
              onInput=${(/** @type {any} */ e) => setBody(e.target.value)}
            ></textarea>
          </label>`
    }
    ${
      isRead
        ? null
        : html`<label class="check"
            ><input
              type="checkbox"
              required
              checked=${isMeant}
              onChange=${(/** @type {any} */ e) => setMeant(e.target.checked)}
            />
            This may change something here: I mean it
          </label>`
    }
    <p>
      <button type="submit" class="primary" aria-disabled=${isBusy || missing.length > 0}>
        ${isBusy ? 'Sending…' : `Send ${operation.method}`}
      </button>
    </p>
    <h3>The same in a shell</h3>
    <pre tabindex="0" aria-label="The same in a shell"><code>${request.curl}</code></pre>
    <div aria-live="polite">${answer ? html`<${Answer} answer=${answer} />` : null}</div>
  </form>`
}

/** @param {{ parameter: import('./description.js').Parameter, value: string, onChange: (value: string) => void }} props */
function Field({ parameter, value, onChange }) {
  const { schema, required } = parameter
  const known = schema.enum ?? (schema.type === 'boolean' ? ['true', 'false'] : null)
  const change = (/** @type {any} */ e) => onChange(e.target.value)
  if (known === null)
    return html`<input
      type="text"
      required=${required}
      spellcheck=${false}
      autocomplete="off"
      value=${value}
      onInput=${change}
    />`
  return html`<select required=${required} value=${value} onChange=${change}>
    <option value="">–</option>
    ${known.map((/** @type {unknown} */ word) => html`<option value=${String(word)}>${String(word)}</option>`)}
  </select>`
}

/** @param {Operation} operation @param {ReturnType<typeof requestOf>} request @param {string} token */
async function sent(operation, request, token) {
  const begun = performance.now()
  try {
    const response = await fetch(request.url, {
      method: operation.method,
      headers: {
        // Else the session of the console would not count.
        'custody-console': '1',
        accept: 'application/json, application/scim+json, application/problem+json, */*;q=0.5',
        ...request.headers,
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(request.body === null ? {} : { body: request.body }),
    })
    const text = await response.text()
    return {
      status: `${response.status} ${response.statusText}`,
      isGood: response.ok,
      milliseconds: Math.round(performance.now() - begun),
      headers: [...response.headers].filter(([name]) => told.has(name)),
      text: pretty(text),
    }
  } catch (error) {
    return { status: 'no answer', isGood: false, headers: [], text: String(error), milliseconds: 0 }
  }
}

const told = new Set([
  'content-type',
  'custody-operation',
  'etag',
  'location',
  'retry-after',
  'x-request-id',
  'idempotency-replayed',
])

/** @param {string} text */
function pretty(text) {
  const cut = (/** @type {string} */ whole) =>
    whole.length > shownMax ? `${whole.slice(0, shownMax)}\n… and more` : whole
  try {
    return cut(JSON.stringify(JSON.parse(text), null, 2))
  } catch {
    return cut(text)
  }
}

/** @param {{ answer: any }} props */
function Answer({ answer }) {
  return html`<section class="answer">
    <h3>
      ${answer.isGood ? 'Answered' : 'Refused'}: ${answer.status}
      <span class="small soft"> in ${answer.milliseconds} ms</span>
    </h3>
    <ul class="small">
      ${answer.headers.map(
        (/** @type {[string, string]} */ [name, value]) =>
          html`<li key=${name}><code>${name}: ${value}</code></li>`,
      )}
    </ul>
    ${
      answer.text === ''
        ? html`<p class="soft">Nothing is in it.</p>`
        : html`<pre tabindex="0" aria-label="The answer"><code>${answer.text}</code></pre>`
    }
  </section>`
}
