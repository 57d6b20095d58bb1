import { html, useState } from '../lib/html.js'
import { kindOf } from './description.js'

/** @typedef {import('./description.js').Schema} SchemaNode */
/** @typedef {import('./description.js').Description['resolve']} Resolve */

/**
 * A schema as a tree: what lies deeper is drawn when it is opened, for schemas may hold themselves.
 * @param {{ of: SchemaNode, resolve: Resolve }} props
 */
export function Schema({ of, resolve }) {
  const { schema } = resolve(of)
  const members = Object.entries(schema.properties ?? {})
  if (members.length > 0) {
    const required = new Set(schema.required ?? [])
    return html`<ul class="members">
      ${members.map(
        ([name, member]) =>
          html`<${Member}
            key=${name}
            name=${name}
            of=${member}
            isRequired=${required.has(name)}
            resolve=${resolve}
          />`,
      )}
      ${
        schema.additionalProperties === true
          ? html`<li class="small soft">Other members may be there.</li>`
          : null
      }
    </ul>`
  }
  if (schema.anyOf) {
    return html`<div>
      <p class="small soft">One of these:</p>
      ${schema.anyOf.map(
        (/** @type {SchemaNode} */ one, /** @type {number} */ i) =>
          html`<div class="either" key=${i}><${Schema} of=${one} resolve=${resolve} /></div>`,
      )}
    </div>`
  }
  if (schema.items)
    return html`<div>
      <p class="small soft">A list of:</p>
      <${Schema} of=${schema.items} resolve=${resolve} />
    </div>`
  return html`<${Words} schema=${schema} name=${null} />`
}

/** @param {{ name: string, of: SchemaNode, isRequired: boolean, resolve: Resolve }} props */
function Member({ name, of, isRequired, resolve }) {
  const [isOpen, setOpen] = useState(false)
  const mayBeNull = of.anyOf?.length === 2 && of.anyOf[1].type === 'null'
  const found = resolve(mayBeNull ? of.anyOf[0] : of)
  const inner = innerOf(found.schema, resolve)
  const about = of.description ?? found.schema.description
  return html`<li>
    <p>
      <code class="code">${name}</code>${isRequired ? '' : html`<span class="soft">?</span>`}
      ${' '}<${Words} schema=${found.schema} name=${found.name} />${
        mayBeNull ? html`<span class="small soft"> · null</span>` : null
      }
    </p>
    ${about ? html`<p class="small">${about}</p>` : null}
    ${
      inner === null
        ? null
        : html`<details onToggle=${(/** @type {any} */ e) => setOpen(e.currentTarget.open)}>
            <summary>What is in it</summary>
            ${isOpen ? html`<${Schema} of=${inner} resolve=${resolve} />` : null}
          </details>`
    }
  </li>`
}

/** What can be opened: an object, or the elements of a list. @param {SchemaNode} schema @param {Resolve} resolve @returns {SchemaNode | null} */
function innerOf(schema, resolve) {
  if (schema.properties) return schema
  if (schema.items) {
    const { schema: item } = resolve(schema.items)
    return item.properties || item.anyOf ? schema.items : null
  }
  if (!schema.anyOf) return null
  const shown = schema.anyOf.map((/** @type {SchemaNode} */ s) => resolve(s).schema)
  return shown.some((/** @type {SchemaNode} */ s) => s.properties) ? schema : null
}

/** @param {{ schema: SchemaNode, name: string | null }} props */
function Words({ schema, name }) {
  const known = schema.enum ?? (schema.const === undefined ? null : [schema.const])
  return html`<span class="small soft">
    ${name === null ? null : html`<span class="type-name">${name}</span>`}
    ${' '}${schema.anyOf ? 'one of several' : kindOf(schema)}
    ${known === null ? null : html` ${known.map(String).join(' | ')}`}
  </span>`
}
