import { found, readDescription } from './api/description.js'
import { OperationView } from './api/operation.js'
import { html, render, useEffect, useMemo, useState } from './lib/html.js'
import './lib/theme.js'

/** @typedef {import('./api/description.js').Description} Description */

const nameOf = () => decodeURIComponent(window.location.hash.slice(1))

function App() {
  const [description, setDescription] = useState(/** @type {Description | null} */ (null))
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const [name, setName] = useState(nameOf)
  const [token, setToken] = useState('')
  useEffect(() => {
    readDescription().then(setDescription, setError)
    const follow = () => setName(nameOf())
    window.addEventListener('hashchange', follow)
    return () => window.removeEventListener('hashchange', follow)
  }, [])
  if (error) {
    return html`<main class="log-in-screen" id="main">
      <h1>Custody API</h1>
      <div class="problem" role="alert">
        <p>The description cannot be read: ${error.message}</p>
        <button type="button" onClick=${() => window.location.reload()}>Try again</button>
      </div>
    </main>`
  }
  if (description === null) return html`<p class="boot" role="status">Loading…</p>`
  const operation = description.operations.find(({ id }) => id === name)
  return html`<div class="api">
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <${Side} description=${description} current=${name} token=${token} setToken=${setToken} />
    <main id="main" tabindex="-1">
      ${
        operation === undefined
          ? html`<${Start} description=${description} />`
          : html`<${OperationView}
              operation=${operation}
              resolve=${description.resolve}
              token=${token}
            />`
      }
    </main>
  </div>`
}

/** The hash is the place of an operation: the link of the first key must not change it. @param {Event} event */
function skip(event) {
  event.preventDefault()
  document.getElementById('main')?.focus()
}

/** @param {{ description: Description, current: string, token: string, setToken: (token: string) => void }} props */
function Side({ description, current, token, setToken }) {
  const [wanted, setWanted] = useState('')
  const shown = useMemo(() => found(description.operations, wanted), [description, wanted])
  return html`<header class="api-side">
    <p class="api-title"><a href="/console/">Custody</a> API ${description.version}</p>
    <label class="field"
      >Search
      <input
        type="search"
        value=${wanted}
        placeholder="rotate, leaver, /audit"
        onInput=${(/** @type {any} */ e) => setWanted(e.target.value)}
    /></label>
    <label class="field"
      >Token <span class="small soft">for trying; without it the console's session counts</span>
      <input
        type="password"
        autocomplete="off"
        spellcheck=${false}
        value=${token}
        onInput=${(/** @type {any} */ e) => setToken(e.target.value.trim())}
    /></label>
    <nav aria-label="Operations">
      ${description.tags.map((tag) => {
        const own = shown.filter((operation) => operation.tag === tag.name)
        return own.length === 0
          ? null
          : html`<section key=${tag.name}>
              <h2>${tag.name}</h2>
              <ul>
                ${own.map(
                  ({ id, method, path }) =>
                    html`<li key=${id}>
                      <a href=${`#${id}`} aria-current=${id === current ? 'page' : null}
                        ><span class="method">${method}</span> ${path}</a
                      >
                    </li>`,
                )}
              </ul>
            </section>`
      })}
      ${shown.length === 0 ? html`<p class="soft">Nothing is called so.</p>` : null}
    </nav>
  </header>`
}

/** @param {{ description: Description }} props */
function Start({ description }) {
  return html`<article class="page">
    <header class="page-head">
      <div>
        <h1>Custody API</h1>
        <p class="lead">
          ${description.operations.length} operations, as they are served here; the document itself
          is${' '}<a href="/openapi.json">/openapi.json</a>.
        </p>
      </div>
    </header>
    <p>${description.about}</p>
    <section class="card">
      <header><h2>By what they are about</h2></header>
      <dl class="facts">
        ${description.tags.map(
          (tag) =>
            html`<div key=${tag.name}>
              <dt>${tag.name}</dt>
              <dd>${tag.description}</dd>
            </div>`,
        )}
      </dl>
    </section>
  </article>`
}

const root = document.getElementById('app')
if (root) {
  root.replaceChildren()
  render(html`<${App} />`, root)
}
