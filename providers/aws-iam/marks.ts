import type { Tag } from '@aws-sdk/client-iam'
import { isJsonObject } from '../../src/domain/json.ts'
import type { ProviderErrorKind } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

/** The tags by which Custody knows users and roles of its own; they never hold a secret. */
export const tagAccount = 'custody:id'
export const tagTenant = 'custody:tenant'
export const tagOperation = 'custody:operation'
export const tagGeneration = 'custody:generation'
/** `<tenant>/<account>` on what was there before Custody. */
export const tagAdopted = 'custody:adopted'

/** On a user: the account has roles beside it, in a path of their own. */
export const tagRoles = 'custody:roles'
/** On a role: the credential it is. */
export const tagCredential = 'custody:credential'

interface Tagged {
  readonly Tags?: readonly Tag[] | undefined
}

export function tagOf(tagged: Tagged, key: string): string | null {
  return tagged.Tags?.find((tag) => tag.Key === key)?.Value ?? null
}

/** The keys of all tags that Custody set. */
export function ownTags({ Tags }: Tagged): string[] {
  return (Tags ?? []).flatMap(({ Key }) => (Key?.startsWith('custody:') ? [Key] : []))
}

/** By its tags, which `GetUser` and `GetRole` show and the listings do not. */
export function accountOf(tagged: Tagged): string | null {
  return tagOf(tagged, tagAccount) ?? tagOf(tagged, tagAdopted)?.split('/')[1] ?? null
}

const nameMax = 64

export function nameEnd(account: string): string {
  return `-${account.slice(-12)}`
}

/** Readable, and unique by the random end of the account's id, so that it never depends on luck. */
export function nameFor(want: { readonly account: string; readonly userName: string }): string {
  const suffix = nameEnd(want.account)
  const readable = want.userName.replaceAll(/[^\w+=,.@-]+/g, '-')
  return readable.slice(0, nameMax - suffix.length) + suffix
}

/** A refusal of our own: nothing was sent. */
export function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}

/** An empty object for anything else, so that no part of a malformed secret reaches an error. */
export function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : {}
  } catch {
    return {}
  }
}
