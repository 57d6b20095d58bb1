import { call } from '../lib/api.js'
import { words } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { mayAct, session } from '../lib/session.js'
import { Confirm } from './dialog.js'
import { isWithin } from './impact.js'
import { notify } from './notices.js'
import { Empty } from './states.js'
import { Status } from './status.js'
import { Code, Facts, Text, When } from './text.js'

const ended = new Set(['revoked', 'revoking', 'failed'])

/** What an account authenticates with. @param {{ account: any, reload: () => void }} props */
export function Credentials({ account, reload }) {
  const [asking, setAsking] = useState(
    /** @type {null | { verb: 'rotate' | 'revoke', credential: any }} */ (null),
  )
  if (account.credentials.length === 0) {
    return html`<${Empty} title="No credential yet.">
      Request one: <code>custody account request</code> or a SCIM PATCH of <code>credentials</code>.
    <//>`
  }
  const mayTry = mayAct() || ['owner', 'requester'].includes(session.get()?.client.role ?? '')
  return html`<ul class="stack">
      ${account.credentials.map(
        (/** @type {any} */ credential) =>
          html`<li class="credential" key=${credential.id}>
            <header class="row">
              <h3><${Text} value=${`${credential.provider} ${credential.kind}`} /></h3>
              <${Status} value=${credential.status} />
              <span class="spring"></span>
              ${
                mayTry && !ended.has(credential.status)
                  ? html`<button
                        type="button"
                        class="small-button"
                        onClick=${() => setAsking({ verb: 'rotate', credential })}
                      >
                        Rotate…
                      </button>
                      <button
                        type="button"
                        class="small-button danger"
                        onClick=${() => setAsking({ verb: 'revoke', credential })}
                      >
                        Revoke…
                      </button>`
                  : null
              }
            </header>
            <${Facts} facts=${factsOf(credential)} />
            ${
              credential.lastError
                ? html`<p class="small warn-text">
                    <${Text} value=${credential.lastError.message ?? credential.lastError} />
                  </p>`
                : null
            }
            <${Keys} keys=${credential.keys ?? []} />
          </li>`,
      )}
    </ul>
    ${
      asking
        ? html`<${Ask}
            account=${account}
            ...${asking}
            onClose=${() => setAsking(null)}
            onDone=${reload}
          />`
        : null
    }`
}

/** @param {any} c @returns {readonly (readonly [string, any])[]} */
function factsOf(c) {
  return [
    ['Key', html`<${Code} value=${c.keyId} />`],
    ['Scopes', c.scopes.length > 0 ? html`<${Text} value=${c.scopes.join(', ')} />` : null],
    ['Read from', c.secretRef ? html`<${Code} value=${c.secretRef} />` : null],
    ['Issued', c.issuedAt ? html`<${When} at=${c.issuedAt} />` : null],
    ['Last used', html`<${When} at=${c.lastUsedAt} none="never seen" />`],
    ['Rotates', c.rotateAfter ? html`<${When} at=${c.rotateAfter} />` : null],
    ['Ends', c.expiresAt ? html`<${When} at=${c.expiresAt} />` : null],
    ['Tried and refused', c.refusedAt ? html`<${When} at=${c.refusedAt} exact />` : null],
    ['Settled', c.settledAt ? html`<${When} at=${c.settledAt} exact />` : null],
    [
      'Also read by',
      c.readers?.length > 0 ? html`<${Text} value=${c.readers.join(', ')} />` : null,
    ],
  ]
}

/** Every key it ever had: a gone one keeps what became of it. @param {{ keys: readonly any[] }} props */
function Keys({ keys }) {
  if (keys.length < 2) return null
  return html`<details>
    <summary>All ${keys.length} keys</summary>
    <ul class="tight">
      ${keys
        .toSorted((a, b) => b.generation - a.generation)
        .map(
          (k) =>
            html`<li>
              <${Code} value=${k.keyId} /> <${Status} value=${k.status} />
              <span class="small"
                >${k.disabledAt ? html`off <${When} at=${k.disabledAt} />, ` : null}${
                  k.outcome ? `${words(k.outcome)}, ` : null
                }issued <${When} at=${k.issuedAt}
              /></span>
            </li>`,
        )}
    </ul>
  </details>`
}

/** @param {{ account: any, credential: any, verb: 'rotate' | 'revoke', onClose: () => void, onDone: () => void }} props */
function Ask({ account, credential, verb, onClose, onDone }) {
  const name = `${credential.provider} ${credential.kind}`
  const isRevoke = verb === 'revoke'
  return html`<${Confirm}
    title=${`${isRevoke ? 'Revoke' : 'Rotate'} ${name}`}
    verb=${isRevoke ? 'Revoke' : 'Rotate'}
    isDestructive=${isRevoke}
    typed=${isRevoke ? account.userName : undefined}
    reason=${isRevoke ? 'optional' : 'none'}
    onClose=${onClose}
    act=${async (/** @type {{ reason: string | null, key: string }} */ { reason, key }) => {
      const body = reason === null ? {} : { reason }
      await call('POST', `/api/v1/credentials/${credential.id}/${verb}`, body, { key })
      notify(`${account.userName}: ${isRevoke ? 'revocation' : 'rotation'} of ${name} has begun.`)
      onDone()
    }}
  >
    <p>
      ${
        isRevoke
          ? 'The key is switched off at the provider, tried, and deleted once it was refused. Whoever uses it stops working; it does not come back.'
          : 'A new key is made, tried and delivered; the old one works until its consumers have moved, or the overlap is over.'
      }
    </p>
    <p>Last used: <${When} at=${credential.lastUsedAt} none="never seen" /></p>
    ${
      isRevoke && isWithin(credential.lastUsedAt, 7)
        ? html`<div class="banner bad">
            <p><strong>In use within the last 7 days.</strong></p>
          </div>`
        : null
    }
  <//>`
}
