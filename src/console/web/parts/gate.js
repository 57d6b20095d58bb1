import { html } from '../lib/html.js'
import { Status } from './status.js'
import { When } from './text.js'

/** How calls to a provider fare in this process. @param {{ gate: any }} props */
export function Gate({ gate }) {
  if (gate === null) return html`<span class="soft">not called from this process</span>`
  /** @type {Readonly<Record<string, readonly [string, 'good' | 'warn' | 'bad']>>} */
  const said = { open: ['free', 'good'], slowed: ['slowed', 'warn'], resting: ['resting', 'bad'] }
  const [word, tone] = said[gate.state] ?? [gate.state, 'warn']
  return html`<${Status} value=${word} tone=${tone} />${
      gate.restsUntil ? html` until <${When} at=${gate.restsUntil} />` : null
    }${gate.callsPerSecond === null ? null : html` ${gate.callsPerSecond} calls a second`}${
      gate.waiting > 0 ? html`, ${gate.waiting} waiting` : null
    }`
}
