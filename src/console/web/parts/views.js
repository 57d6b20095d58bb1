import { html } from '../lib/html.js'

/**
 * Parts of one screen, each with an address of its own.
 * @param {{ label: string, current: string, views: readonly { name: string, title: string, href: string }[] }} props
 */
export function Views({ label, current, views }) {
  return html`<nav class="views" aria-label=${label}>
    ${views.map(
      (view) =>
        html`<a href=${view.href} aria-current=${view.name === current ? 'page' : null}
          >${view.title}</a
        >`,
    )}
  </nav>`
}
