import { isJsonObject } from '../../src/domain/json.ts'
import type { Drift, WantedScopes } from '../../src/provider/contract.ts'
import { parsed, tagAccount, tagTenant } from './marks.ts'
import type { Scope } from './policies.ts'
import {
  boundaryPolicyName,
  parseScope,
  scopesDocument,
  scopesPolicyName,
  shutOffPolicyName,
} from './policies.ts'
import { endedPolicyName } from './role-switch.ts'
import { withEffect } from './trust.ts'

/** What a user or a role may do, as IAM shows it. */
export interface Holder {
  readonly inline: ReadonlyMap<string, string>
  readonly attached: readonly string[]
  readonly groups: readonly string[]
  readonly boundary: string | null
  readonly tags: ReadonlyMap<string, string>
  /** Of a role; null for a user. */
  readonly trust: string | null
  /** Other ways to act as it: a console password, certificates, keys of other services. */
  readonly ways: readonly { readonly what: string; readonly name: string }[]
}

/** What Custody granted it, in IAM's words. */
export interface Granted {
  readonly want: Pick<WantedScopes, 'account' | 'tenant' | 'scopes' | 'keyId'>
  readonly document: string | null
  readonly managed: readonly string[]
  readonly boundary: string
  readonly trust: string | null
  /** Made by Custody. What hangs on an adopted one besides is its people's decision. */
  readonly ours: boolean
  /** By ARN, the scope that would grant it. */
  readonly vocabulary: ReadonlyMap<string, string>
  readonly allowedPolicies: readonly string[]
  /** AWS's AWSDenyAll, which takes the place of our own refusal where inline policies are full. */
  readonly denyAll: string
}

type Found = Omit<Drift, 'keyId'>

/** Everything about a user or a role that Custody did not make, or made and somebody changed. */
export function driftsOf(holder: Holder, granted: Granted): readonly Drift[] {
  const found = [
    ...attachedDrifts(holder, granted),
    ...inlineDrifts(holder, granted),
    ...(granted.ours ? ownDrifts(holder, granted) : []),
    ...trustDrifts(holder, granted),
  ]
  const keyId = holder.trust === null ? null : granted.want.keyId
  return found.map((drift) => ({ ...drift, keyId }))
}

function attachedDrifts(holder: Holder, granted: Granted): readonly Found[] {
  const { managed, ours, vocabulary, denyAll } = granted
  const what = 'attachedPolicy'
  const asScopes = (arn: string, side: 'add' | 'remove') => {
    const scope = vocabulary.get(arn)
    return scope === undefined ? {} : { asScopes: { add: [], remove: [], [side]: [scope] } }
  }
  const missing = managed
    .filter((arn) => !holder.attached.includes(arn))
    .map((arn): Found => {
      const seen = { granted: arn, actual: null, reach: 'less' } as const
      return { what, name: arn, ...seen, ...asScopes(arn, 'remove') }
    })
  const extra = holder.attached
    .filter((arn) => ours && !managed.includes(arn) && arn !== denyAll)
    .map((arn): Found => {
      const seen = { granted: null, actual: arn, reach: 'more' } as const
      return { what, name: arn, ...seen, ...asScopes(arn, 'add') }
    })
  return [...missing, ...extra]
}

const textMax = 1_000

function inlineDrifts(holder: Holder, granted: Granted): readonly Found[] {
  const { document, ours } = granted
  const what = 'inlinePolicy'
  const found: Found[] = []
  const actual = holder.inline.get(scopesPolicyName) ?? null
  if (!sameDocument(actual, document) && (ours || document !== null)) {
    const scopes = scopesIn(actual, granted.allowedPolicies)
    const now = granted.want.scopes.filter(isAction)
    found.push({
      what,
      name: scopesPolicyName,
      granted: shortened(document),
      actual: shortened(actual),
      reach: reachOf(document, actual),
      ...(scopes === null
        ? {}
        : {
            asScopes: {
              add: scopes.filter((scope) => !granted.want.scopes.includes(scope)),
              remove: now.filter((scope) => !scopes.includes(scope)),
            },
          }),
    })
  }
  if (!ours) return found
  for (const [name, text] of holder.inline) {
    if (name === scopesPolicyName || isRefusalOfOurs(name, text)) continue
    const reach = allows(text) ? 'more' : 'less'
    found.push({ what, name, granted: null, actual: shortened(text), reach })
  }
  return found
}

function ownDrifts(holder: Holder, { boundary, want }: Granted): readonly Found[] {
  const found: Found[] = holder.ways.map(({ what, name }) => {
    const reach = what === 'mfaDevice' ? 'other' : 'more'
    return { what, name, granted: null, actual: name, reach }
  })
  for (const name of holder.groups) {
    found.push({ what: 'group', name, granted: null, actual: name, reach: 'more' })
  }
  if (!isBoundary(holder.boundary, boundary)) {
    const seen = { granted: boundary, actual: holder.boundary, reach: 'more' } as const
    found.push({ what: 'boundary', name: boundary, ...seen })
  }
  const marks = [
    [tagAccount, want.account],
    [tagTenant, want.tenant],
  ] as const
  for (const [name, value] of marks) {
    const actual = holder.tags.get(name) ?? null
    if (actual !== value) {
      found.push({ what: 'mark', name, granted: value, actual, reach: 'other' })
    }
  }
  return found
}

function trustDrifts({ trust }: Holder, granted: Granted): readonly Found[] {
  if (trust === null || granted.trust === null) return []
  // Turned into a refusal by Custody, and not yet turned back.
  const own = [granted.trust, withEffect(granted.trust, 'Deny')]
  if (own.some((document) => sameDocument(trust, document))) return []
  const reach = allows(trust) ? 'more' : 'less'
  const texts = { granted: shortened(granted.trust), actual: shortened(trust) }
  return [{ what: 'trust', name: granted.want.keyId, ...texts, reach }]
}

/** A changed boundary document gets a new name; its users move there when they are next ensured. */
function isBoundary(actual: string | null, wanted: string): boolean {
  if (actual === wanted) return true
  const version = /-v\d+$/
  return (
    actual !== null &&
    wanted.endsWith(`/${boundaryPolicyName}`) &&
    version.test(actual) &&
    actual.replace(version, '') === wanted.replace(version, '')
  )
}

function isRefusalOfOurs(name: string, text: string): boolean {
  return (name === shutOffPolicyName || name === endedPolicyName) && !allows(text)
}

/** What cannot be read might allow anything. */
function allows(document: string): boolean {
  const statements = statementsOf(document)
  return statements === null || statements.some((one) => one['Effect'] !== 'Deny')
}

function statementsOf(document: string): readonly Readonly<Record<string, unknown>>[] | null {
  const { Statement } = parsed(document)
  const statements = [Statement].flat().filter(isJsonObject)
  return statements.length === 0 ? null : statements
}

/** By what they say: neither the order of statements and actions nor white space matters. */
export function sameDocument(a: string | null, b: string | null): boolean {
  if (a === b) return true
  if (a === null || b === null) return false
  const [one, other] = [meaningOf(a), meaningOf(b)]
  return one !== null && other !== null && JSON.stringify(one) === JSON.stringify(other)
}

function meaningOf(document: string): readonly string[] | null {
  return statementsOf(document)?.map(statementText).sort() ?? null
}

function statementText(statement: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(statement)
    .filter(([key]) => key !== 'Sid')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => [key, isJsonObject(value) ? value : [value].flat().map(String).sort()])
  return JSON.stringify(entries)
}

/** `less` only when all that is there was granted. */
function reachOf(granted: string | null, actual: string | null): Drift['reach'] {
  const has = actionsIn(actual)
  const had = actionsIn(granted)
  if (has === null || had === null) return 'more'
  return has.every((scope) => had.includes(scope)) ? 'less' : 'more'
}

/** `<action> on <resource>` for each right of a document that is written as Custody would. */
function actionsIn(document: string | null): readonly string[] | null {
  if (document === null) return []
  const found: string[] = []
  for (const one of statementsOf(document) ?? [{}]) {
    const { Effect, Action, Resource, Sid: _, ...rest } = one
    if (Effect !== 'Allow' || Object.keys(rest).length > 0) return null
    for (const action of [Action].flat()) {
      for (const resource of [Resource].flat()) {
        if (typeof action !== 'string' || typeof resource !== 'string') return null
        found.push(resource === '*' ? action : `${action} on ${resource}`)
      }
    }
  }
  return found
}

/** The document as scopes that this configuration would grant; null when it cannot be said so. */
function scopesIn(
  document: string | null,
  allowedPolicies: readonly string[],
): readonly string[] | null {
  const scopes = actionsIn(document)
  if (scopes === null) return null
  const read = scopes.map((scope) => parseScope(scope, allowedPolicies))
  if (read.some((scope) => typeof scope === 'string')) return null
  return sameDocument(scopesDocument(read as Scope[]), document) ? scopes : null
}

function isAction(scope: string): boolean {
  const read = parseScope(scope, [])
  return typeof read !== 'string' && read.type === 'action'
}

function shortened(text: string | null): string | null {
  return text !== null && text.length > textMax ? `${text.slice(0, textMax)}…` : text
}
