import { call } from '../lib/api.js'
import { download } from '../lib/files.js'
import { html, useState } from '../lib/html.js'
import { pinnedOf } from '../lib/pinned.js'
import { cannotVerify, parseKey, verifyProof } from '../lib/proof.js'
import { link } from '../lib/router.js'
import { session } from '../lib/session.js'
import { Dialog } from './dialog.js'
import { Diff } from './diff.js'
import { Named } from './named.js'
import { Problem, Shown } from './states.js'
import { Steps } from './steps.js'
import { Code, Facts, Text, When } from './text.js'
import { markSeen } from './tour.js'

/**
 * All that one entry of the log says, and its proof.
 * @param {{ row: any, read: import('../lib/data.js').Read<any>, onClose: () => void }} props
 */
export function AuditEntry({ row, read, onClose }) {
  return html`<${Dialog} title=${row ? row.action : 'Audit entry'} isWide onClose=${onClose}>
    ${
      row
        ? html`<${Entry} row=${row} />`
        : html`<${Shown} read=${read} what="Reading the entry">${() => null}<//>`
    }
  <//>`
}

/** @param {{ row: any }} props */
function Entry({ row }) {
  const { actor, decision, operation } = row
  return html`<${Facts}
      facts=${[
        ['When', html`<${When} at=${row.at} exact />`],
        [
          'Who',
          html`<${Text} value=${actor?.name} />${' '}<span class="soft">${actor?.type}</span>`,
        ],
        [
          'Target',
          html`<span class="soft">${row.targetType}</span>${' '}<${Named}
              type=${row.targetType}
              id=${row.target}
            />`,
        ],
        ['Target id', html`<${Code} value=${row.target} />`],
        [
          'Decision',
          decision
            ? html`${decision.effect}, by ${(decision.reasons ?? []).join(', ') || 'no rule'}`
            : html`<span class="soft">none was needed: it follows from an earlier one</span>`,
        ],
        [
          'Operation',
          operation
            ? html`<a href=${link(['audit'], { operation })}><${Code} value=${operation} /></a>`
            : null,
        ],
        ['Entry', html`<${Code} value=${row.id} />`],
        ['Place', row.seq === null ? 'not yet placed; that takes seconds' : String(row.seq)],
      ]}
    />
    <h3>Before and after</h3>
    <${Diff} facts=${row.facts} />
    <${Proof} row=${row} />
    <details>
      <summary>The entry as it is signed</summary>
      <pre tabindex="0">${JSON.stringify(row, null, 2)}</pre>
    </details>`
}

/** @param {{ row: any }} props */
function Proof({ row }) {
  const [state, setState] = useState(
    /** @type {{ isBusy: boolean, error: Error | null, proof: any, verdict: any, key: string | null }} */ ({
      isBusy: false,
      error: null,
      proof: null,
      verdict: null,
      key: null,
    }),
  )
  const prove = async () => {
    if (state.isBusy) return
    setState({ ...state, isBusy: true, error: null })
    try {
      const key = pinnedOf(session.get()?.tenant ?? '')?.key ?? null
      if (key === null) throw new Error('No key is known: verify the log first.')
      const parsed = await parseKey(key)
      const reason = cannotVerify()
      if (reason !== null) throw new Error(reason)
      if (parsed === null) throw new Error('The remembered key cannot be read.')
      const proof = await call('GET', `/api/v1/audit/proof/${row.id}`)
      const verdict = await verifyProof(proof, parsed)
      setState({ isBusy: false, error: null, proof, verdict, key })
      if (verdict.isGood) markSeen('verified')
    } catch (caught) {
      setState({ ...state, isBusy: false, error: /** @type {Error} */ (caught) })
    }
  }
  const { verdict, proof, key, error, isBusy } = state
  const save = () =>
    download(
      `custody-proof-${proof.seq}.json`,
      'application/json',
      JSON.stringify({ proof: 'custody-proof/1', key, ...proof }, null, 2),
    )
  return html`<section class="stack tight" aria-label="Proof of this entry">
    <div class="row">
      <button type="button" onClick=${prove} aria-disabled=${isBusy}>
        ${isBusy ? 'Verifying…' : 'Verify this entry'}
      </button>
      ${proof ? html`<button type="button" onClick=${save}>Download proof</button>` : null}
    </div>
    ${error ? html`<${Problem} error=${error} />` : null}
    ${
      verdict
        ? html`<div role="status" class="stack tight">
            <p>
              <strong
                >${
                  verdict.isGood
                    ? `This entry is in the signed log of ${verdict.checkpoint.size} entries, at place ${proof.seq}.`
                    : 'This entry is NOT as it was signed.'
                }</strong
              >
            </p>
            <${Steps} steps=${verdict.steps} />
            <p class="small">
              Anybody checks the download without this server:${' '}
              <code>custody audit verify custody-proof-${proof.seq}.json --key KEY</code>
            </p>
          </div>`
        : null
    }
  </section>`
}
