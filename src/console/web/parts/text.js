import { ago, fullTime, visible } from '../lib/format.js'
import { html } from '../lib/html.js'

/**
 * What somebody else wrote: kept apart from the direction of the text around it, nothing hidden.
 * @param {{ value: unknown, none?: string }} props
 */
export function Text({ value, none = '–' }) {
  if (value === null || value === undefined || value === '')
    return html`<span class="none">${none}</span>`
  return html`<bdi class="text">${visible(value)}</bdi>`
}

/** An id or key, in the type that tells 0 from O. @param {{ value: string | null | undefined }} props */
export function Code({ value }) {
  if (!value) return html`<span class="none">–</span>`
  return html`<code class="code">${visible(value)}</code>`
}

/**
 * An instant, as people say it; the exact one in the reader's zone is its title.
 * @param {{ at: string | null | undefined, none?: string, exact?: boolean }} props
 */
export function When({ at, none = '–', exact = false }) {
  if (!at) return html`<span class="none">${none}</span>`
  const said = exact ? fullTime(at) : ago(at)
  return html`<time datetime=${at} title=${`${fullTime(at)} (${at})`}>${said}</time>`
}

const instants = /(\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+Z)/

/** What Custody says in a sentence: its instants stand in the reader's own time. @param {{ value: string }} props */
export function Sentence({ value }) {
  return value
    .split(instants)
    .map((part, i) =>
      i % 2 === 1 ? html`<${When} at=${part} exact />` : html`<bdi>${visible(part)}</bdi>`,
    )
}

/** Whatever a field holds, as a person reads it. @param {{ value: any }} props */
export function Value({ value }) {
  if (typeof value === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value))
    return html`<${When} at=${value} exact />`
  if (typeof value === 'boolean') return html`${value ? 'yes' : 'no'}`
  if (Array.isArray(value) && value.every((v) => typeof v !== 'object'))
    return html`<${Text} value=${value.join(', ')} />`
  return html`<${Text} value=${value} />`
}

/**
 * Names and values, a line each; what is null is left out.
 * @param {{ facts: readonly (readonly [string, any])[] }} props values may be markup
 */
export function Facts({ facts }) {
  return html`<dl class="facts">
    ${facts
      .filter(([, value]) => value !== null && value !== undefined && value !== '')
      .map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
  </dl>`
}
