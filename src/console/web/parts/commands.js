import { html } from '../lib/html.js'

/** Lines to be typed elsewhere, as they are. @param {{ lines: readonly string[] }} props */
export function Commands({ lines }) {
  return html`<pre class="commands" tabindex="0">${lines.join('\n')}</pre>`
}
