import { html } from '../lib/html.js'
import { words } from '../lib/format.js'
import { isUuid } from '../lib/names.js'
import { Named } from './named.js'
import { Value } from './text.js'

/**
 * One fact of an audit entry or a finding: a change has both sides, anything else a value.
 * @typedef {{ name: string, before?: any, after?: any, value?: any, isChange: boolean }} Fact
 */

/** The pairs in which the code writes what was and what is. @type {readonly (readonly [string, string])[]} */
const pairs = [
  ['before', 'after'],
  ['from', 'to'],
  ['before', 'now'],
  ['granted', 'actual'],
]

/**
 * The facts of an entry, changes first. `{before: {a, b}, after: {a, b}}` becomes one change for
 * each member that differs; `{before, expiresAt}` is one of `expiresAt`.
 * @param {Readonly<Record<string, any>> | null | undefined} facts
 * @returns {readonly Fact[]}
 */
export function factsOf(facts) {
  if (!facts) return []
  const left = new Set(Object.keys(facts))
  /** @type {Fact[]} */
  const changes = []
  for (const [was, is] of pairs) {
    if (!left.has(was) || !left.has(is)) continue
    changes.push(...changesBetween(nameOf(facts, left, was, is), facts[was], facts[is]))
    left.delete(was)
    left.delete(is)
    if (was === 'granted') left.delete('name')
  }
  if (left.has('before')) {
    const is = ['expiresAt', 'leavesAt', 'scopes', 'status'].find((name) => left.has(name))
    if (is !== undefined) {
      changes.push({ name: is, before: facts['before'], after: facts[is], isChange: true })
      left.delete('before')
      left.delete(is)
    }
  }
  const values = [...left]
    .filter((name) => facts[name] !== null && facts[name] !== undefined)
    .map((name) => ({ name, value: facts[name], isChange: false }))
  return [...changes, ...values]
}

/**
 * @param {Readonly<Record<string, any>>} facts @param {Set<string>} left @param {string} was @param {string} is
 */
function nameOf(facts, left, was, is) {
  if (was === 'from') return 'owner' in facts ? 'owner' : 'from → to'
  if (was === 'granted') return left.has('name') ? String(facts['name']) : 'right'
  return is === 'now' ? 'inventory' : 'value'
}

/** @param {string} name @param {any} before @param {any} after @returns {Fact[]} */
function changesBetween(name, before, after) {
  if (!isObject(before) || !isObject(after)) return [{ name, before, after, isChange: true }]
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return names
    .filter((n) => JSON.stringify(before[n]) !== JSON.stringify(after[n]))
    .map((n) => ({ name: n, before: before[n], after: after[n], isChange: true }))
}

/** @param {any} value */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * What changed, as before and after, and what else is known.
 * @param {{ facts: Readonly<Record<string, any>> | null | undefined, most?: number }} props
 *   `most`: in a row of a table only so many
 */
export function Diff({ facts, most = Infinity }) {
  const all = factsOf(facts)
  if (all.length === 0) return html`<span class="none">–</span>`
  const rest = all.length - most
  return html`<ul class=${most === Infinity ? 'fact-list' : 'fact-list dense'}>
    ${all.slice(0, most).map(
      (fact, i) =>
        html`<li>
          <span class="soft">${words(fact.name)}:</span>${' '}
          ${
            fact.isChange
              ? html`<span class="hidden">was${' '}</span>
                  <del><${Side} name=${fact.name} value=${fact.before} /></del>
                  <span aria-hidden="true"> → </span><span class="hidden">is${' '}</span>
                  <ins><${Side} name=${fact.name} value=${fact.after} /></ins>`
              : html`<${Side} name=${fact.name} value=${fact.value} />`
          }${most !== Infinity && i + 1 < all.length ? '; ' : ''}
        </li>`,
    )}
    ${rest > 0 ? html`<li class="soft">and ${rest} more</li>` : null}
  </ul>`
}

const people = new Set(['owner', 'account', 'from → to', 'heir', 'person', 'into'])

/** An id as who or what it is, anything else as it is. @param {{ name: string, value: any }} props */
function Side({ name, value }) {
  if (isUuid(value)) return html`<${Named} type=${people.has(name) ? 'user' : name} id=${value} />`
  return html`<${Value} value=${value ?? null} />`
}
