import { html, useEffect, useRef } from '../lib/html.js'
import { Schema } from './schema.js'
import { Try } from './try.js'

/** @typedef {import('./description.js').Operation} Operation */

const who = {
  public: 'Needs no token.',
  any: 'Any token; each sees what is theirs.',
}

/**
 * One operation: who may, what it takes, what it answers, and a place to try it.
 * @param {{ operation: Operation, resolve: any, token: string }} props
 */
export function OperationView({ operation, resolve, token }) {
  const { method, path, summary, description, roles, body, answers } = operation
  const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null))
  useEffect(() => {
    document.title = `${method} ${path} · Custody API`
    heading.current?.focus({ preventScroll: true })
    window.scrollTo(0, 0)
  }, [operation.id])
  const first = roles[0] ?? 'any'
  const said =
    first === 'public' || first === 'any' ? who[first] : `Roles as shipped: ${roles.join(', ')}.`
  return html`<article class="page operation">
    <header class="page-head">
      <div>
        <h1 tabindex="-1" ref=${heading}>
          <span class="method">${method}</span> <code class="path">${path}</code>
        </h1>
        <p class="lead">${summary}</p>
        ${description ? html`<p>${description}</p>` : null}
        <p class="small soft">${said}</p>
      </div>
    </header>
    ${
      body === null
        ? null
        : html`<section class="card">
            <header><h2>What is sent</h2></header>
            <p class="small soft">
              ${body.types.join(' or ')}; ${body.required ? 'required' : 'may be left out'}
            </p>
            <${Schema} of=${body.schema} resolve=${resolve} />
          </section>`
    }
    <section class="card">
      <header><h2>What is answered</h2></header>
      ${answers.map(
        (answer) =>
          html`<details class="status-answer" key=${answer.status} open=${answer.status < '300'}>
            <summary><strong>${answer.status}</strong> ${answer.says}</summary>
            ${
              answer.headers.length === 0
                ? null
                : html`<p class="small soft">Headers: ${answer.headers.join(', ')}</p>`
            }
            ${
              answer.schema === null
                ? html`<p class="small soft">Nothing is in it.</p>`
                : html`<p class="small soft">${answer.type}</p>
                    <${Schema} of=${answer.schema} resolve=${resolve} />`
            }
          </details>`,
      )}
    </section>
    <section class="card">
      <${Try} key=${operation.id} operation=${operation} resolve=${resolve} token=${token} />
    </section>
  </article>`
}
