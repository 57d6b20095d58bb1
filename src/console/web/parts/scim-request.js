import { visible } from '../lib/format.js'
import { html } from '../lib/html.js'
import { Dialog } from './dialog.js'
import { Named } from './named.js'
import { Status } from './status.js'
import { Code, Facts, Text, When } from './text.js'

/** @param {{ value: number }} props */
export function ScimStatus({ value }) {
  return html`<${Status}
    value=${String(value)}
    tone=${value < 300 ? 'good' : value < 400 ? 'off' : value < 500 ? 'warn' : 'bad'}
  />`
}

/** What whoever runs the connection can do about it. @param {any} request @returns {string | null} */
export function adviceOn({ status, scimType }) {
  if (status === 401)
    return 'The token was revoked, has expired or was mistyped: make a new client, and paste its token into the identity provider.'
  if (status === 403)
    return 'The role of this client may not do that. An identity provider needs the role directory.'
  if (status === 409)
    return 'Somebody has this name already. If it is the same person, let the identity provider match by userName; if another connection made them, move the people over instead of making them twice.'
  if (status === 412)
    return 'It was changed in between; a client that reads anew and sends again gets through.'
  if (status === 413) return 'The request is larger than is read; let the client send smaller ones.'
  if (status === 429)
    return 'More requests came than are answered at once; the answer said in Retry-After when to go on.'
  if (status === 404)
    return 'It is unknown here: it was deleted, or belongs to another directory. Let the identity provider look it up by userName and provision anew.'
  if (scimType === 'mutability' || scimType === 'invalidValue' || scimType === 'invalidPath')
    return 'Change or remove the mapping of the attribute that is named; "What clients send" shows them all.'
  if (status >= 500)
    return 'The fault is here, not at the client: the log of the server names the request. Once that is mended, run it again under "Failed".'
  return null
}

/**
 * @param {{ request: any, client: string, onClose: () => void }} props
 */
export function RequestDialog({ request, client, onClose }) {
  return html`<${Dialog} title=${`${request.method} ${request.route}`} isWide onClose=${onClose}>
    <${RequestFacts} request=${request} client=${client} />
  <//>`
}

/** @param {{ request: any, client: string }} props */
export function RequestFacts({ request, client }) {
  const advice = adviceOn(request)
  return html`${
      request.error
        ? html`<div class="problem">
            <p><${Text} value=${request.error} /></p>
            ${advice ? html`<p class="small">${advice}</p>` : null}
          </div>`
        : null
    }
    <${Facts}
      facts=${[
        ['Answer', html`<${ScimStatus} value=${request.status} />`],
        ['SCIM type', request.scimType ? html`<${Code} value=${request.scimType} />` : null],
        ['When', html`<${When} at=${request.at ?? request.lastAt} exact />`],
        ['First', request.firstAt ? html`<${When} at=${request.firstAt} exact />` : null],
        ['Times', request.times ? String(request.times) : null],
        ['Client', html`<${Text} value=${client} />`],
        ['Program', request.agent ? html`<${Text} value=${request.agent} />` : null],
        ['Resource', request.target ? html`<${Named} type="user" id=${request.target} />` : null],
        ['Resource id', request.target ? html`<${Code} value=${request.target} />` : null],
        ['Query', request.query ? html`<${Code} value=${request.query} />` : null],
        ['Request', html`<${Code} value=${request.id} />`],
      ]}
    />
    ${
      request.body === undefined
        ? null
        : html`<h3>What was sent, masked</h3>
            <${Body} text=${request.body} />`
    }`
}

/** JSON laid out; what was cut off, or is none, as it came. @param {{ text: string | null }} props */
function Body({ text }) {
  if (!text) return html`<p class="soft">No body.</p>`
  let laidOut = text
  try {
    laidOut = JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    // A body longer than is kept ends in the middle.
  }
  const shown = laidOut.split('\n').map(visible).join('\n')
  return html`<pre class="body" tabindex="0">${shown}</pre>`
}
