import { visible } from '../lib/format.js'
import { html } from '../lib/html.js'

/**
 * What was checked, one after the other.
 * @param {{ steps: readonly import('../lib/proof.js').Step[] }} props
 */
export function Steps({ steps }) {
  return html`<ol class="steps">
    ${steps.map(
      (step) =>
        html`<li class=${step.isGood ? 'good' : 'bad'}>
          <span aria-hidden="true">${step.isGood ? '✓' : '✕'}</span>
          <span
            >${step.isGood ? '' : 'Does not hold: '}${step.what}
            <code class="small code">${visible(step.detail)}</code></span
          >
        </li>`,
    )}
  </ol>`
}
