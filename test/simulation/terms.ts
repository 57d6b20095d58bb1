import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { LifecyclePolicy } from '../../src/policy/lifecycle.ts'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import { unbraked } from '../support/engine.ts'

const file = fileURLToPath(new URL('../../policies/lifecycle.yaml', import.meta.url))

/**
 * The policy one life is led under: as shipped, with a grace for what the directory deactivated, or
 * with rotations for what somebody could read who is gone from a group.
 */
export const allTerms = ['shipped', 'grace', 'readers'] as const
export type Terms = (typeof allTerms)[number]

/** The label of accounts that the policy only watches. */
export const watched = 'watched'

const watching = `
  - name: those that are only watched
    when: { label: ${watched} }
    set: { enforcement: observe }
`
const edits: Readonly<Record<Terms, readonly (readonly [string, string])[]>> = {
  shipped: [],
  grace: [['deactivatedGrace: PT0S', 'deactivatedGrace: PT20M']],
  readers: [['onMemberLeft: nothing', 'onMemberLeft: rotate']],
}

/** Seconds that a deactivation rests. */
export function graceOf(terms: Terms): number {
  return terms === 'grace' ? 20 * 60 : 0
}

const compiled = new Map<string, Promise<LifecyclePolicy>>()

/** @param watches false: nothing is only watched */
export function policyOf(terms: Terms, watches: boolean): Promise<LifecyclePolicy> {
  const name = `${terms} ${watches}`
  const known = compiled.get(name) ?? compile(terms, watches)
  compiled.set(name, known)
  return known
}

async function compile(terms: Terms, watches: boolean): Promise<LifecyclePolicy> {
  const shipped = await readFile(file, 'utf8')
  let text = watches ? shipped.replace('\nrules:\n', `\nrules:${watching}`) : shipped
  for (const [from, to] of edits[terms]) {
    if (!text.includes(from)) throw new Error(`the policy as shipped has no "${from}"`)
    text = text.replace(from, to)
  }
  // Most of its people leave within the hour; what is held is not what it looks at.
  return { ...compileLifecycle(text, file), brake: unbraked }
}
