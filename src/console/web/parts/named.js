import { visible } from '../lib/format.js'
import { html } from '../lib/html.js'
import { isUuid, useNamed } from '../lib/names.js'
import { Text } from './text.js'

/**
 * A thing by its name, once it is known; until then, and without one, by the end of its id, which
 * is what tells two of them apart.
 * @param {{ type: string, id: string | null, isLink?: boolean }} props
 */
export function Named({ type, id, isLink = true }) {
  const name = useNamed(type, isUuid(id) ? id : null)
  if (!id) return html`<span class="none">–</span>`
  if (!name) {
    return isUuid(id)
      ? html`<code class="code" title=${visible(id)}>…${id.slice(-8)}</code>`
      : html`<${Text} value=${id} />`
  }
  return isLink && name.href !== null
    ? html`<a href=${name.href} title=${id}><${Text} value=${name.name} /></a>`
    : html`<span title=${id}><${Text} value=${name.name} /></span>`
}
