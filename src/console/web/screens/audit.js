import { html } from '../lib/html.js'
import { Page } from '../parts/page.js'

/** @param {{ place: import('../lib/router.js').Place }} _props */
export function AuditScreen(_props) {
  return html`<${Page} title="Audit"><//>`
}
