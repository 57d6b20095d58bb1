import { logIn } from '../lib/api.js'
import { html, useState } from '../lib/html.js'
import { Problem } from './states.js'

/** @param {{ sentence?: string }} props */
export function LogInForm({ sentence }) {
  const [token, setToken] = useState('')
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setError(null)
    try {
      await logIn({ token })
      setToken('')
    } catch (caught) {
      setError(/** @type {Error} */ (caught))
    }
    setBusy(false)
  }
  return html`<form class="log-in" onSubmit=${submit}>
    ${sentence ? html`<p>${sentence}</p>` : null}
    <input
      class="hidden"
      type="text"
      name="username"
      autocomplete="username"
      value="custody"
      readonly
      tabindex="-1"
      aria-hidden="true"
    />
    <label class="field"
      >Client token
      <input
        name="token"
        type="password"
        autocomplete="current-password"
        required
        spellcheck=${false}
        value=${token}
        onInput=${(/** @type {any} */ e) => setToken(e.target.value)}
    /></label>
    <p class="small">
      The local administrator's is in <code>.custody/admin-token</code>; make others with${' '}
      <code>custody client create</code>. This browser does not keep it.
    </p>
    ${error ? html`<${Problem} error=${error} />` : null}
    <button type="submit" class="primary" aria-disabled=${isBusy}>
      ${isBusy ? 'Logging in…' : 'Log in'}
    </button>
  </form>`
}

export function LogInScreen() {
  return html`<main class="log-in-screen" id="main">
    <h1>Custody</h1>
    <p class="lead">Every service account has an owner and an end date.</p>
    <${LogInForm} />
  </main>`
}
