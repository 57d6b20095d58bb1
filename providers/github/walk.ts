import type { Call } from '../../src/provider/contract.ts'
import { refusal } from './refusals.ts'

interface Page {
  readonly next: string | null
}

/** One kind's part of a walk over everything. */
interface Part<P extends Page> {
  readonly name: string
  readonly page: (from: string | null, call: Call) => Promise<P>
}

/**
 * One page of several walks, one after the other: `next` names whose turn it is.
 * @throws ProviderError `invalid` for a `from` that names a walk there is not
 */
export async function walk<P extends Page>(
  parts: readonly Part<P>[],
  from: string | null,
  call: Call,
): Promise<P> {
  const m = from === null ? null : /^([a-z-]+) (.*)$/s.exec(from)
  const at = m ? parts.findIndex((part) => part.name === m[1]) : 0
  const part = parts[at]
  if (!part || (from !== null && !m)) {
    throw refusal('invalid', 'This is no place in a walk over GitHub; start again.')
  }
  const page = await part.page(m?.[2] || null, call)
  const following = parts[at + 1]
  const next =
    page.next === null ? (following ? `${following.name} ` : null) : `${part.name} ${page.next}`
  return { ...page, next }
}
