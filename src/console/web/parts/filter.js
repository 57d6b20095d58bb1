import { dayAt } from '../lib/accounts.js'
import { html, useId, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { setQuery } from '../lib/router.js'

/** What an account can be filtered by, with the values that a few of them have. @type {readonly { name: string, title: string, values?: readonly string[], kind: 'text' | 'date' | 'boolean' | 'choice' }[]} */
const attributes = [
  { name: 'userName', title: 'name of the account', kind: 'text' },
  {
    name: 'status',
    title: 'status',
    kind: 'choice',
    values: [
      'requested',
      'provisioning',
      'active',
      'orphaned',
      'expired',
      'disabling',
      'disabled',
      'retiring',
      'failed',
    ],
  },
  { name: 'environment', title: 'environment', kind: 'text' },
  { name: 'purpose', title: 'purpose', kind: 'text' },
  { name: 'labels', title: 'label, key=value', kind: 'text' },
  {
    name: 'kind',
    title: 'kind',
    kind: 'choice',
    values: ['serviceAccount', 'workload', 'agent', 'bot'],
  },
  { name: 'owner.value', title: 'id of the owner', kind: 'text' },
  { name: 'expiresAt', title: 'end date', kind: 'date' },
  { name: 'protected', title: 'protected', kind: 'boolean', values: ['true', 'false'] },
  { name: 'meta.created', title: 'created', kind: 'date' },
  { name: 'meta.lastModified', title: 'changed', kind: 'date' },
]

/** @type {readonly { op: string, title: string, kinds: string }[]} */
const operators = [
  { op: 'eq', title: 'is', kinds: 'text choice boolean date' },
  { op: 'ne', title: 'is not', kinds: 'text choice' },
  { op: 'sw', title: 'begins with', kinds: 'text' },
  { op: 'co', title: 'contains', kinds: 'text' },
  { op: 'ew', title: 'ends with', kinds: 'text' },
  { op: 'lt', title: 'before', kinds: 'date' },
  { op: 'gt', title: 'after', kinds: 'date' },
  { op: 'pr', title: 'has a value', kinds: 'text choice date boolean' },
]

/**
 * What could be typed next.
 * @param {string} text up to where one types
 * @returns {readonly { text: string, title: string }[]} each with the whole text it would make
 */
export function suggestions(text) {
  const words = text.match(/"(?:[^"\\]|\\.)*"?|\S+/g) ?? []
  const isBetween = text === '' || /\s$/.test(text)
  const last = isBetween ? '' : (words.at(-1) ?? '')
  const before = isBetween ? words : words.slice(0, -1)
  const head = text.slice(0, text.length - last.length)
  // Each condition is attribute, operator, value; after it stands a word that joins.
  let place = 0
  let attribute = attributes[0]
  for (const word of before) {
    if (/^(and|or)$/i.test(word) && place === 3) place = 0
    else if (/^not$|^\($/i.test(word)) place = 0
    else if (place === 0) {
      attribute = attributes.find((a) => same(a.name, word.replace(/^\(+/, ''))) ?? attribute
      place = 1
    } else if (place === 1) place = /^pr$/i.test(word) ? 3 : 2
    else if (place === 2) place = 3
  }
  const bare = last.replace(/^[("]+/, '').toLowerCase()
  const open = /^\(+/.exec(last)?.[0] ?? ''
  if (place === 0) {
    return attributes
      .filter((a) => a.name.toLowerCase().includes(bare) || a.title.includes(bare))
      .map((a) => ({ text: `${head}${open}${a.name} `, title: a.title }))
  }
  if (place === 1) {
    return operators
      .filter((o) => o.op.startsWith(bare) && o.kinds.includes(attribute?.kind ?? 'text'))
      .map((o) => ({ text: `${head}${o.op} `, title: o.title }))
  }
  if (place === 2) {
    const values =
      attribute?.kind === 'date'
        ? [dayAt(0), dayAt(7), dayAt(30), dayAt(-30)]
        : (attribute?.values ?? [])
    return values
      .filter((v) => v.toLowerCase().startsWith(bare))
      .map((v) => ({ text: `${head}${attribute?.kind === 'boolean' ? v : `"${v}"`} `, title: '' }))
  }
  return ['and', 'or']
    .filter((w) => w.startsWith(bare))
    .map((w) => ({ text: `${head}${w} `, title: w === 'and' ? 'both' : 'one of both' }))
}

/** @param {string} a @param {string} b */
function same(a, b) {
  return a.toLowerCase() === b.toLowerCase()
}

/**
 * A SCIM filter, with what could come next under it; Enter runs it, or takes what the arrow keys
 * went to. One word alone is the beginning of a name.
 * @param {{ text: string }} props
 */
export function FilterBox({ text: given }) {
  const [text, setText] = useState(given)
  const [at, setAt] = useState(-1)
  const [isOpen, setOpen] = useState(false)
  const field = useRef(/** @type {HTMLInputElement | null} */ (null))
  const id = useId()
  // With the drawing: later it would take away what has been typed meanwhile.
  useLayoutEffect(() => setText(given), [given])
  const offered = isOpen ? suggestions(text).slice(0, 12) : []
  const take = (/** @type {number} */ index) => {
    const chosen = offered[index]
    if (chosen === undefined) return
    setText(chosen.text)
    setAt(-1)
    field.current?.focus()
  }
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault()
      setOpen(true)
      const by = event.key === 'ArrowDown' ? 1 : -1
      setAt((n) => (offered.length === 0 ? -1 : (n + by + offered.length) % offered.length))
    } else if (event.key === 'Escape') {
      // It would empty the field as well, which whoever only closes the list does not want.
      if (offered.length > 0) event.preventDefault()
      setOpen(false)
      setAt(-1)
    } else if (event.key === 'Enter' && at >= 0) {
      event.preventDefault()
      take(at)
    }
  }
  return html`<form
    class="filter"
    role="search"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault()
      setOpen(false)
      const isName = /^[^\s"()]+$/.test(text.trim())
      setQuery({
        filter: isName ? null : text.trim(),
        q: isName ? text.trim() : null,
        status: null,
        owner: null,
        expiresBefore: null,
        expiresAfter: null,
      })
    }}
  >
    <label class="field" for=${`${id}-field`}>Filter</label>
    <div class="filter-line">
      <input
        id=${`${id}-field`}
        ref=${field}
        name="filter"
        data-find
        type="search"
        autocomplete="off"
        spellcheck=${false}
        role="combobox"
        aria-expanded=${offered.length > 0}
        aria-controls=${`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant=${at >= 0 ? `${id}-${at}` : null}
        placeholder='billing, or: status eq "active" and userName co "api"'
        value=${text}
        onInput=${(/** @type {any} */ event) => {
          setText(event.target.value)
          setOpen(true)
          setAt(-1)
        }}
        onFocus=${() => setOpen(true)}
        onBlur=${() => setTimeout(() => setOpen(false), 150)}
        onKeyDown=${onKey}
      />
      <button type="submit" class="primary">Filter</button>
    </div>
    <ul
      id=${`${id}-list`}
      class="offers"
      role="listbox"
      aria-label="What could come next"
      hidden=${offered.length === 0}
    >
      ${offered.map(
        (offer, index) =>
          html`<li
            id=${`${id}-${index}`}
            key=${offer.text}
            role="option"
            aria-selected=${index === at}
            onMouseDown=${(/** @type {Event} */ event) => {
              event.preventDefault()
              take(index)
            }}
          >
            <code>${offer.text.slice(lastWordAt(offer.text))}</code>
            <span class="small">${offer.title}</span>
          </li>`,
      )}
    </ul>
  </form>`
}

/** Where the word begins that an offer would put. @param {string} text */
function lastWordAt(text) {
  return text.trimEnd().lastIndexOf(' ') + 1
}
