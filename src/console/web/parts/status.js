import { words } from '../lib/format.js'
import { html } from '../lib/html.js'

/** How a state is to be taken; the sign says the same as the colour. @type {Readonly<Record<string, 'good' | 'busy' | 'warn' | 'bad' | 'off'>>} */
const tones = {
  // accounts and credentials
  active: 'good',
  requested: 'busy',
  provisioning: 'busy',
  pending: 'busy',
  issuing: 'busy',
  superseded: 'busy',
  disabling: 'warn',
  revoking: 'warn',
  retiring: 'warn',
  orphaned: 'warn',
  disabled: 'off',
  expired: 'off',
  retired: 'off',
  revoked: 'off',
  failed: 'bad',
  // operations
  queued: 'busy',
  running: 'busy',
  waiting: 'warn',
  succeeded: 'good',
  needsOperator: 'bad',
  cancelled: 'off',
  // probes
  refused: 'good',
  absent: 'good',
  untestable: 'warn',
  // decisions
  open: 'warn',
  approved: 'good',
  denied: 'off',
  expiredBatch: 'off',
  ready: 'good',
  healthy: 'good',
  suspended: 'warn',
  unreachable: 'bad',
}

const signs = { good: '●', busy: '◐', warn: '▲', bad: '✕', off: '○' }

/**
 * A state in the contract's own word.
 * @param {{ value: string, tone?: 'good' | 'busy' | 'warn' | 'bad' | 'off' }} props
 */
export function Status({ value, tone = tones[value] ?? 'off' }) {
  return html`<span class="status ${tone}"
    ><span aria-hidden="true">${signs[tone]}</span> ${words(value)}</span
  >`
}
