import type { SecretSink } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'

/**
 * Where what was imported would be delivered before anybody said where. It holds nothing, and takes
 * nothing: a new secret is refused before one is made.
 */
export const noSink: SecretSink = {
  name: 'nowhere',
  type: 'none',
  canRead: false,
  check: nowhereYet,
  deliver: nowhereYet,
  promote: nowhereYet,
  find: () => Promise.resolve(null),
  read: () => Promise.resolve(null),
  current: () => Promise.resolve(null),
  discard: () => Promise.resolve(),
  remove: () => Promise.resolve(),
  close: () => Promise.resolve(),
}

function nowhereYet(): Promise<never> {
  const message =
    'This credential was imported and has nowhere to deliver a new secret; set its deliverTo, then retry.'
  return Promise.reject(new ProviderError('denied', message, { outcome: 'notApplied' }))
}
