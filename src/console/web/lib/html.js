import { Fragment, h, render } from 'preact'
import htm from 'htm'

const bound = htm.bind(h)

/** Around these no space can be seen: a table of 2 000 rows needs none of the nodes. */
const blocks =
  '(?:table|thead|tbody|tr|th|td|caption|ul|ol|li|dl|dt|dd|div|p|h1|h2|h3|section|article|aside|header|footer|main|nav|form|fieldset|legend|select|option|progress|svg|g|rect|line|circle|title|dialog|details|summary)'
const beforeBlock = new RegExp(String.raw`\s*\n\s*(?=</?${blocks}[\s>])`, 'g')
const afterBlock = new RegExp(String.raw`(</?${blocks}(?:\s[^<>]*)?>)\s*\n\s*`, 'g')

/** @type {WeakMap<TemplateStringsArray, readonly string[]>} */
const known = new WeakMap()

/**
 * A line break between two words is a space, as in HTML; htm alone would drop it, and how a template
 * is laid out would change what is read.
 * @param {TemplateStringsArray} strings
 */
function spaced(strings) {
  let found = known.get(strings)
  if (found === undefined) {
    found = strings.map((s) =>
      s
        .replace(beforeBlock, '')
        .replace(afterBlock, '$1')
        .replace(/\s*\n\s*/g, ' '),
    )
    known.set(strings, found)
  }
  return /** @type {TemplateStringsArray} */ (found)
}

/**
 * Markup as a tagged template: what stands in `${…}` becomes text, never markup.
 * @param {TemplateStringsArray} strings
 * @param {any[]} values
 * @returns {any}
 */
export function html(strings, ...values) {
  return bound(spaced(strings), ...values)
}

export { Fragment, render }
export {
  useCallback,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from 'preact/hooks'
