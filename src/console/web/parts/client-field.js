import { html } from '../lib/html.js'
import { setQuery } from '../lib/router.js'

/** Whose requests; part of the address. @param {{ clients: readonly any[], value: string, none?: string }} props */
export function ClientField({ clients, value, none = 'all' }) {
  return html`<label class="field"
    >Client
    <select
      name="client"
      data-find
      value=${value}
      onChange=${(/** @type {any} */ e) =>
        setQuery({ client: e.target.value, request: null, failed: null })}
    >
      <option value="">${none}</option>
      ${clients.map((c) => html`<option value=${c.id}>${c.name} (${c.role})</option>`)}
    </select></label
  >`
}
