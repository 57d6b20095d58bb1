import { mayBeTriedAgain, Refusal, Unreachable } from '../lib/api.js'
import { visible } from '../lib/format.js'
import { html } from '../lib/html.js'

/** Nothing to show, and what one could do. @param {{ title: string, children?: any }} props */
export function Empty({ title, children }) {
  return html`<div class="empty">
    <p class="empty-title">${title}</p>
    ${children ? html`<p>${children}</p>` : null}
  </div>`
}

/** @param {{ what?: string }} props */
export function Loading({ what = 'Loading' }) {
  return html`<p class="loading" role="status">${what}…</p>`
}

/**
 * What went wrong, in the server's words, and what to do.
 * @param {{ error: Error, again?: () => void }} props
 */
export function Problem({ error, again }) {
  const isKnown = error instanceof Refusal || error instanceof Unreachable
  const sentence = isKnown ? error.message : `The console failed: ${error.message}`
  return html`<div class="problem" role="alert">
    <p>${visible(sentence)}</p>
    ${
      error instanceof Refusal && error.request
        ? html`<p class="small">Request <code>${error.request}</code>, which the log names too.</p>`
        : null
    }
    ${
      error instanceof Refusal && error.status === 403
        ? html`<p class="small">
            Somebody with another role sees it: log out, and in again with a token that may.
          </p>`
        : null
    }
    ${again && mayBeTriedAgain(error) ? html`<button type="button" onClick=${again}>Try again</button>` : null}
  </div>`
}

/**
 * The frame of whatever was read: loading, a failure, nothing, or the thing itself with a word
 * above it when it could not be read anew.
 * @param {{ read: { data: any, error: Error | null, isLoading: boolean, isOld?: boolean, reload: () => void }, what?: string, children: any }} props `children` is one function of what was read
 */
export function Shown({ read, what = 'Loading', children }) {
  const draw = [children].flat().find((child) => typeof child === 'function')
  if (read.data === null) {
    return read.error
      ? html`<${Problem} error=${read.error} again=${read.reload} />`
      : html`<${Loading} what=${what} />`
  }
  return html`${read.error ? html`<${Problem} error=${read.error} again=${read.reload} />` : null}
  ${draw(read.data)}`
}
