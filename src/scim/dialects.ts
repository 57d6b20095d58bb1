import type { Dialect } from '../domain/client.ts'

/** One point in which clients, profiles and the RFCs disagree, and who gets which answer. */
export interface Quirk {
  readonly area: 'body' | 'filter' | 'patch' | 'search' | 'answer'
  /** What a request looks like in which this matters. */
  readonly when: string
  readonly yes: string
  readonly no: string
  readonly dialects: Readonly<Record<Dialect, boolean>>
}

const only = {
  lenient: { lenient: true, rfc: false, interop: false },
  interop: { lenient: false, rfc: false, interop: true },
  notInterop: { lenient: true, rfc: true, interop: false },
} as const

/**
 * Every difference between the dialects, in one place: the code asks `does(dialect, …)`, the
 * reference (docs/reference/scim.md) is printed from it. `lenient` absorbs what Okta, Entra,
 * OneLogin, Ping, JumpCloud and authentik are known to send, `rfc` keeps to RFC 7643 and 7644,
 * `interop` to draft-zollner-scim-interop-profile.
 */
const table = {
  repairsSchemas: {
    area: 'body',
    when: '`schemas` is missing, no list, a SCIM 1 URN, or without an extension whose data is there',
    yes: 'repaired from the data',
    no: '400 `invalidSyntax`',
    dialects: only.lenient,
  },
  refusesForeignUrn: {
    area: 'body',
    when: '`schemas` lists a URN that no resource type has (Entra sends one with each group)',
    yes: '400 `invalidSyntax`',
    no: 'ignored',
    dialects: only.interop,
  },
  ignoresUnknownAttributes: {
    area: 'body',
    when: 'an attribute that no schema has (never inside our own extension: there it is 400)',
    yes: 'ignored',
    no: '400',
    dialects: only.lenient,
  },
  callsUnknownSyntax: {
    area: 'body',
    when: 'an unknown attribute is refused',
    yes: '`scimType` `invalidSyntax`',
    no: '`scimType` `invalidValue`',
    dialects: only.interop,
  },
  readsOneAsList: {
    area: 'body',
    when: 'one value where a list belongs, or a list of one where one value belongs (OneLogin)',
    yes: 'read as meant',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  keepsFirstPrimary: {
    area: 'body',
    when: 'several elements of a list with `primary: true` (PingOne)',
    yes: 'the first one keeps the mark',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  readsBooleanWords: {
    area: 'body',
    when: '`"True"` or `"false"` as text for a boolean (Entra); `active` is read so in every dialect',
    yes: 'read as true or false',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  emptyTextUnassigns: {
    area: 'body',
    when: '`""` for an attribute that is not required (OneLogin)',
    yes: 'the same as leaving it out',
    no: 'kept as empty text; 400 `invalidValue` for dates and booleans',
    dialects: only.lenient,
  },
  readsNumberAsText: {
    area: 'body',
    when: 'a number for an attribute of type string',
    yes: 'kept as text',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  respellsCanonicalValues: {
    area: 'body',
    when: 'a canonical value of a case-exact attribute in another case',
    yes: 'respelt as published',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  bindsCanonicalValues: {
    area: 'body',
    when: 'a value outside the published `canonicalValues` of a standard attribute',
    yes: '400 `invalidValue`',
    no: 'kept',
    dialects: only.interop,
  },
  readsBareReference: {
    area: 'body',
    when: 'a complex attribute given as its bare `value`: `manager: "id"` (Entra)',
    yes: 'read as `{ "value": "id" }`',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  readsMemberNames: {
    area: 'body',
    when: 'a member of a group with `displayName` for `display`',
    yes: 'read as `display`',
    no: 'an unknown attribute',
    dialects: only.lenient,
  },
  keepsUnknownMembers: {
    area: 'body',
    when: 'a member of a group that is nobody of its directory, or of another `type` than it says',
    yes: 'kept as sent; it counts for nothing until it is there',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  readsDottedUrn: {
    area: 'body',
    when: 'a dot for the colon behind a URN: `urn:…:User.manager` (Entra)',
    yes: 'read as meant',
    no: 'an unknown attribute',
    dialects: only.lenient,
  },
  unknownFilterMatchesNothing: {
    area: 'filter',
    when: 'a filter on an attribute that no schema has',
    yes: 'matches nothing',
    no: '400 `invalidFilter`',
    dialects: only.lenient,
  },
  readsLooseValues: {
    area: 'filter',
    when: 'values in single quotes, bare words, numbers for text, `"true"` for a boolean',
    yes: 'read as meant',
    no: '400 `invalidFilter`',
    dialects: only.lenient,
  },
  comparesComplexByValue: {
    area: 'filter',
    when: 'a single complex attribute compared as a whole: `manager eq "id"`',
    yes: 'compares its `value`',
    no: '400 `invalidFilter`',
    dialects: only.lenient,
  },
  patchesWithoutSchemas: {
    area: 'patch',
    when: 'a PATCH body whose `schemas` lacks the PatchOp URN',
    yes: 'accepted',
    no: '400 `invalidSyntax`',
    dialects: only.lenient,
  },
  readsEmptyPathAsNone: {
    area: 'patch',
    when: 'an operation with `path: ""`',
    yes: 'read as one without a path',
    no: '400 `invalidPath`',
    dialects: only.lenient,
  },
  requiresPath: {
    area: 'patch',
    when: 'an operation without a path (Okta, Entra, authentik)',
    yes: '400 `invalidSyntax`',
    no: 'each member of the value is merged',
    dialects: only.interop,
  },
  ignoresUnknownPaths: {
    area: 'patch',
    when: 'a path to an attribute that no schema has',
    yes: 'the operation is ignored',
    no: '400 `invalidPath`',
    dialects: only.lenient,
  },
  ignoresReadOnlyMembers: {
    area: 'patch',
    when: 'a read-only attribute such as `id` inside the value of a path-less operation (Okta)',
    yes: 'ignored',
    no: '400 `mutability`',
    dialects: only.lenient,
  },
  patchesWholeElements: {
    area: 'patch',
    when: 'a path that ends in a filter: `emails[type eq "work"]`',
    yes: 'the whole element is meant',
    no: '400 `invalidPath`',
    dialects: only.notInterop,
  },
  patchesSeveralElements: {
    area: 'patch',
    when: 'a filter in a path that several elements match',
    yes: 'all of them change',
    no: '400 `invalidFilter`',
    dialects: only.notInterop,
  },
  mergesElements: {
    area: 'patch',
    when: '`replace` of a filtered element with some of its sub-attributes',
    yes: 'the others stay',
    no: 'the element is replaced whole',
    dialects: only.lenient,
  },
  replacesComplexWhole: {
    area: 'patch',
    when: '`replace` of a complex attribute with some of its sub-attributes',
    yes: 'replaced whole',
    no: 'the others stay (RFC 7644 §3.5.2.3)',
    dialects: only.interop,
  },
  removesNothing: {
    area: 'patch',
    when: '`remove` of what is not there (a repeated request)',
    yes: 'success, nothing changes',
    no: '400 `noTarget`',
    dialects: only.lenient,
  },
  ignoresUnknownOrder: {
    area: 'search',
    when: '`sortBy` names an attribute that no schema has, or one without a value of its own',
    yes: 'ignored: the list is in order of `id`',
    no: '400 `invalidValue`',
    dialects: only.lenient,
  },
  leavesMembersOut: {
    area: 'answer',
    when: 'a PATCH of a group that names no `attributes` (Entra adds one member to 50 000)',
    yes: 'answered without `members`',
    no: 'answered with all of them',
    dialects: only.lenient,
  },
  searchesByPost: {
    area: 'search',
    when: 'a filter in `POST …/.search`',
    yes: 'answered like the GET',
    no: '501: the profile has queries by GET only',
    dialects: only.notInterop,
  },
} as const satisfies Record<string, Quirk>

export type QuirkName = keyof typeof table

export const quirks: Readonly<Record<QuirkName, Quirk>> = table

/** Whether a client of this dialect gets the behaviour described as `yes`. */
export function does(dialect: Dialect, quirk: QuirkName): boolean {
  return table[quirk].dialects[dialect]
}
