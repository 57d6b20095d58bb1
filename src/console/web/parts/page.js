import { html, useLayoutEffect, useRef } from '../lib/html.js'

/**
 * The frame of a screen: its heading, what can be done with the whole of it, and itself.
 * @param {{ title: string, lead?: any, actions?: any, children: any }} props
 */
export function Page({ title, lead, actions, children }) {
  const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null))
  useLayoutEffect(() => {
    document.title = `${title} · Custody`
    // Whoever does not see the page hears where they are, as with a page that was loaded.
    if (document.activeElement === document.body || document.activeElement?.closest('nav'))
      heading.current?.focus({ preventScroll: true })
  }, [title])
  return html`<article class="page">
    <header class="page-head">
      <div>
        <h1 tabindex="-1" ref=${heading}>${title}</h1>
        ${lead ? html`<p class="lead">${lead}</p>` : null}
      </div>
      ${actions ? html`<div class="page-actions">${actions}</div>` : null}
    </header>
    ${children}
  </article>`
}

/**
 * A part of a screen.
 * @param {{ title: string, children: any, actions?: any, className?: string }} props
 */
export function Card({ title, children, actions, className = '' }) {
  return html`<section class="card ${className}">
    <header>
      <h2>${title}</h2>
      ${actions ?? null}
    </header>
    ${children}
  </section>`
}
