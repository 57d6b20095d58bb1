import { useList } from '../lib/data.js'
import { html, useEffect, useState } from '../lib/html.js'
import { useName } from '../lib/names.js'
import { link, setQuery } from '../lib/router.js'
import { Empty, Shown } from './states.js'
import { Status } from './status.js'
import { More, Table } from './table.js'
import { Text, When } from './text.js'

const waitMs = 200

/**
 * Finds a person by the beginning of a name, or goes through all of them.
 * @param {{ q: string, hrefOf: (person: any) => string }} props
 */
export function FindPerson({ q, hrefOf }) {
  const [text, setText] = useState(q)
  useEffect(() => {
    if (text === q) return undefined
    const timer = setTimeout(() => setQuery({ q: text }, { replace: true }), waitMs)
    return () => clearTimeout(timer)
  }, [text])
  const route = `/api/v1/owners${q === '' ? '' : `?q=${encodeURIComponent(q)}`}`
  const list = useList(route, { concerns: (c) => c.subject.type === 'person', limit: 50 })
  return html`<form
      class="toolbar"
      role="search"
      onSubmit=${(/** @type {Event} */ e) => e.preventDefault()}
    >
      <label class="field grow"
        >Who
        <input
          type="search"
          name="q"
          data-find
          autocomplete="off"
          placeholder="Beginning of a name or user name"
          value=${text}
          onInput=${(/** @type {any} */ e) => setText(e.target.value)}
      /></label>
    </form>
    <${Shown} read=${list} what="Looking for people">
      ${(/** @type {any} */ data) =>
        data.items.length === 0
          ? html`<${Empty} title=${q === '' ? 'No people yet.' : 'Nobody of that name.'}>
              ${
                q === ''
                  ? 'Connect a directory: docs/how-to/okta.md and entra-id.md say how.'
                  : 'Only the beginning of a user name or display name is looked for.'
              }
            <//>`
          : html`<${Table}
                caption="People"
                rows=${data.items}
                keyOf=${(/** @type {any} */ p) => p.id}
                hrefOf=${hrefOf}
                columns=${columns}
              />
              <${More} list=${list} shown=${data.items.length} what="people" />`}
    <//>`
}

/** @type {readonly import('./table.js').Column[]} */
const columns = [
  {
    title: 'Person',
    isMain: true,
    show: (p) => html`<${Text} value=${p.displayName ?? p.userName} />`,
  },
  { title: 'User name', show: (p) => html`<${Text} value=${p.userName} />` },
  { title: 'Directory', show: (p) => html`<${Text} value=${p.directory} />` },
  {
    title: 'State',
    show: (p) =>
      p.heldBy
        ? html`<${Status} value="held" tone="warn" />`
        : p.active
          ? html`<${Status} value="active" />`
          : html`<${Status} value="left" tone="off" />`,
  },
  {
    title: 'Left',
    show: (p) =>
      p.leftAt
        ? html`<${When} at=${p.leftAt} />`
        : p.leavesAt
          ? html`leaves <${When} at=${p.leavesAt} />`
          : html`<span class="none">–</span>`,
  },
]

/** The name of an owner; a person's leads to what leaving would mean. @param {{ owner: { type?: string, id: string } | null }} props */
export function OwnerName({ owner }) {
  const isGroup = owner?.type === 'Group'
  const name = useName(isGroup ? 'group' : 'person', owner?.id ?? null)
  if (owner === null) return html`<span class="none">–</span>`
  return isGroup
    ? html`<span><${Text} value=${name ?? owner.id} /> <span class="small">group</span></span>`
    : html`<a href=${link(['leaver'], { person: owner.id })}
        ><${Text} value=${name ?? owner.id}
      /></a>`
}

/** @param {{ id: string }} props */
export function AccountName({ id }) {
  const name = useName('account', id)
  return html`<a href=${link(['account', id])}><${Text} value=${name ?? id} /></a>`
}
