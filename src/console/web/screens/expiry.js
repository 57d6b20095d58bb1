import { html } from '../lib/html.js'
import { Page } from '../parts/page.js'

/** @param {{ place: import('../lib/router.js').Place }} _props */
export function ExpiryScreen(_props) {
  return html`<${Page} title="Expiry"><//>`
}
