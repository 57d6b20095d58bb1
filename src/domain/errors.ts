/**
 * The one catalogue of errors a client may read. Each message says what happened and what to do
 * next; the `cause` stays with the operator. A code is never reused for another meaning.
 * Retired codes: none yet.
 */
export type ScimType =
  | 'invalidFilter'
  | 'tooMany'
  | 'uniqueness'
  | 'mutability'
  | 'invalidSyntax'
  | 'invalidPath'
  | 'noTarget'
  | 'invalidValue'
  | 'invalidVers'
  | 'sensitive'
  | 'invalidCursor'
  | 'expiredCursor'
  | 'invalidCount'

export type Facts = Readonly<Record<string, string | number | boolean | null>>

/** A fact about the world that the client caused or may mend; our own bugs are plain `Error`s. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly code: ErrorCode
  readonly status: number
  readonly scimType: ScimType | null
  readonly facts: Facts

  constructor(
    code: ErrorCode,
    status: number,
    scimType: ScimType | null,
    message: string,
    facts: Facts,
    cause: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = status
    this.scimType = scimType
    this.facts = facts
  }
}

interface Definition<F extends Facts> {
  readonly status: number
  readonly scimType: ScimType | null
  readonly message: (facts: F) => string
}

function def<F extends Facts>(
  status: number,
  scimType: ScimType | null,
  message: (facts: F) => string,
): Definition<F> {
  return { status, scimType, message }
}

const definitions = {
  // Reading a request
  malformedJson: def<{ reason: string }>(
    400,
    'invalidSyntax',
    (f) => `The body is not JSON that can be read: ${f.reason}. Send one JSON object in UTF-8.`,
  ),
  unsupportedMediaType: def<{ type: string }>(
    415,
    null,
    (f) =>
      `Content-Type "${f.type}" is not understood; send application/scim+json or application/json.`,
  ),
  unsupportedEncoding: def<{ encoding: string }>(
    415,
    null,
    (f) => `Content-Encoding "${f.encoding}" is not understood; send the body as it is.`,
  ),
  bodyTooLarge: def<{ limit: number }>(
    413,
    null,
    (f) => `The body is larger than ${f.limit} bytes; split the request.`,
  ),
  tooDeep: def<{ limit: number }>(
    400,
    'invalidSyntax',
    (f) => `The body nests deeper than ${f.limit} levels; flatten it.`,
  ),
  invalidSyntax: def<{ reason: string }>(400, 'invalidSyntax', (f) => f.reason),
  invalidValue: def<{ path: string; reason: string }>(
    400,
    'invalidValue',
    (f) => `${f.path}: ${f.reason}`,
  ),
  requiredMissing: def<{ path: string }>(
    400,
    'invalidValue',
    (f) => `${f.path} is required; add it to the request.`,
  ),
  unknownAttribute: def<{ path: string; nearest: string | null }>(
    400,
    'invalidValue',
    (f) =>
      `${f.path} is not an attribute of this schema${f.nearest ? `; did you mean "${f.nearest}"?` : '.'}`,
  ),
  mutability: def<{ path: string; reason: string }>(
    400,
    'mutability',
    (f) => `${f.path}: ${f.reason}`,
  ),
  invalidPath: def<{ path: string; reason: string }>(
    400,
    'invalidPath',
    (f) => `Path "${f.path}" cannot be used: ${f.reason}`,
  ),
  noTarget: def<{ path: string }>(
    400,
    'noTarget',
    (f) =>
      `Path "${f.path}" matches nothing in this resource; read it again and adjust the filter.`,
  ),
  pathRequired: def<{ operation: string }>(
    400,
    'noTarget',
    (f) => `${f.operation} removes nothing in particular; give it a path.`,
  ),
  invalidFilter: def<{ reason: string; position: number | null }>(
    400,
    'invalidFilter',
    (f) =>
      `The filter cannot be used${f.position === null ? '' : ` (at character ${f.position + 1})`}: ${f.reason}`,
  ),
  tooMany: def<{ reason: string }>(400, 'tooMany', (f) => f.reason),
  invalidCount: def<{ name: string }>(
    400,
    'invalidValue',
    (f) => `${f.name} must be a whole number.`,
  ),
  invalidPageCount: def<{ name: string }>(
    400,
    'invalidCount',
    (f) => `${f.name} must be a whole number, not below 0; leave it out for the default.`,
  ),
  invalidCursor: def<Facts>(
    400,
    'invalidCursor',
    () =>
      'The cursor cannot be used: send it exactly as it came, with the same client and the same parameters.',
  ),
  expiredCursor: def<{ seconds: number }>(
    400,
    'expiredCursor',
    (f) => `The cursor is older than ${f.seconds} seconds; start again with the first page.`,
  ),
  tooManyOperations: def<{ count: number; limit: number }>(
    413,
    null,
    (f) => `The request has ${f.count} operations, at most ${f.limit} are allowed; split it.`,
  ),
  bulkIdUnresolved: def<{ bulkId: string }>(
    409,
    'invalidValue',
    (f) =>
      `"bulkId:${f.bulkId}" stands for nothing: no operation of this request creates it, or that one failed.`,
  ),

  // Who may
  unauthenticated: def<{ reason: string }>(
    401,
    null,
    (f) => `${f.reason} Send "Authorization: Bearer <token>" with a live client token.`,
  ),
  forbidden: def<{ action: string; role: string; reason: string }>(
    403,
    null,
    (f) => `Role "${f.role}" may not ${f.action}${f.reason ? `: ${f.reason}` : '.'}`,
  ),
  noPerson: def<{ client: string }>(
    404,
    null,
    (f) =>
      `Client "${f.client}" stands for no person, so there is no /Me; link one with "custody client create --person".`,
  ),
  tooManyRequests: def<{ seconds: number }>(
    429,
    null,
    (f) => `This client sends too many requests; try again in ${f.seconds} s.`,
  ),
  notFound: def<{ what: string; id: string }>(
    404,
    null,
    (f) =>
      `${f.what} "${f.id}" was not found; it may never have existed, been deleted, or belong to someone else.`,
  ),
  noSuchRoute: def<{ method: string; path: string }>(
    404,
    null,
    (f) =>
      `${f.method} ${f.path} is not part of this service; see /scim/v2/ResourceTypes for SCIM, and docs/reference for the rest.`,
  ),
  methodNotAllowed: def<{ method: string; allow: string }>(
    405,
    null,
    (f) => `${f.method} is not allowed here; allowed: ${f.allow}.`,
  ),
  notImplemented: def<{ what: string }>(
    501,
    null,
    (f) => `${f.what} is not supported; see /scim/v2/ServiceProviderConfig.`,
  ),

  // Conflicts
  userNameTaken: def<{ userName: string; id: string }>(
    409,
    'uniqueness',
    (f) =>
      `userName "${f.userName}" is taken by ${f.id}; update that resource or choose another name.`,
  ),
  displayNameTaken: def<{ displayName: string; id: string }>(
    409,
    'uniqueness',
    (f) =>
      `displayName "${f.displayName}" is taken by group ${f.id} of the same directory; update that group or choose another name.`,
  ),
  externalIdTaken: def<{ externalId: string; id: string }>(
    409,
    'uniqueness',
    (f) =>
      `externalId "${f.externalId}" is already used by ${f.id} of the same client; update that resource.`,
  ),
  pathTaken: def<{ sink: string; path: string }>(
    409,
    'uniqueness',
    (f) =>
      `Path "${f.path}" in sink "${f.sink}" already holds another credential; choose another deliverTo.path.`,
  ),
  changedMeanwhile: def<{ what: string; id: string }>(
    409,
    null,
    (f) =>
      `${f.what} ${f.id} was changed by someone else at the same moment; read it again and repeat.`,
  ),
  preconditionFailed: def<{ etag: string }>(
    412,
    'invalidVers',
    (f) => `The resource is now at version ${f.etag}; read it again and repeat with that If-Match.`,
  ),
  preconditionRequired: def<{ reason: string }>(
    428,
    'invalidVers',
    (f) => `${f.reason} Read the resource and send its ETag as If-Match.`,
  ),
  busy: def<{ what: string; id: string; operation: string; kind: string }>(
    409,
    null,
    (f) =>
      `${f.what} ${f.id} is being changed by operation ${f.operation} (${f.kind}); wait until it has finished; GET /api/v1/operations/${f.operation} tells how far it is.`,
  ),
  planChanged: def<{ id: string; changes: string; hash: string }>(
    409,
    null,
    (f) =>
      `The plan of approval ${f.id} is not the one you saw: ${f.changes}. Read it again (GET /api/v1/approvals/${f.id}) and decide on hash ${f.hash}.`,
  ),
  ownLeaving: def<{ subject: string }>(
    403,
    null,
    (f) =>
      `The leaving of ${f.subject} was sent by you, or is your own; somebody else has to decide about it.`,
  ),
  wrongState: def<{ what: string; id: string; status: string; action: string; next?: string }>(
    409,
    null,
    (f) =>
      `${f.what} ${f.id} is ${f.status} and cannot be ${f.action} now.${f.next ? ` ${f.next}` : ''}`,
  ),
  secondPersonNeeded: def<{ id: string; act: string; by: string; until: string }>(
    409,
    null,
    (f) =>
      `Account ${f.id} is protected: "${f.by}" asked to ${f.act} it, and nothing was done. Somebody else of the roles admin or security has to ask for the same until ${f.until}.`,
  ),
  brakeNotOn: def<{ brake: string; on: string }>(
    404,
    null,
    (f) =>
      `The brake "${f.brake}" is not on; on are: ${f.on} (GET /api/v1/brakes). One of a listing is named with its provider as subject.`,
  ),

  // Lifecycle terms
  ownerGone: def<{ owner: string }>(
    400,
    'invalidValue',
    (f) =>
      `owner: ${f.owner} is not an active person or a group with an active member; name an owner who is active.`,
  ),
  backupGone: def<{ owner: string }>(
    400,
    'invalidValue',
    (f) => `backupOwners.value: ${f.owner} is not an active person; name heirs who are.`,
  ),
  ownerUnknown: def<{ owner: string; path: string }>(
    400,
    'invalidValue',
    (f) =>
      `${f.path}: no person and no group "${f.owner}" is known here; create it first or check the id.`,
  ),
  noActiveOwner: def<{ account: string }>(
    409,
    null,
    (f) =>
      `Account ${f.account} has no active owner, so it gets nothing that works; transfer it to an active person first.`,
  ),
  memberUnknown: def<{ member: string }>(
    400,
    'invalidValue',
    (f) =>
      `members.value: "${f.member}" is no person and no group of this directory; create it first or check the id.`,
  ),
  expiryTooFar: def<{ path: string; cap: string }>(
    400,
    'invalidValue',
    (f) =>
      `${f.path} lies beyond the longest life this policy allows (${f.cap}); choose an earlier date.`,
  ),
  expiryPast: def<{ path: string }>(
    400,
    'invalidValue',
    (f) => `${f.path} lies in the past; choose a date after now.`,
  ),
  unknownProvider: def<{ provider: string; known: string }>(
    400,
    'invalidValue',
    (f) => `credentials.provider "${f.provider}" is not configured; configured: ${f.known}.`,
  ),
  unknownSink: def<{ sink: string; known: string }>(
    400,
    'invalidValue',
    (f) => `deliverTo.sink "${f.sink}" is not configured; configured: ${f.known}.`,
  ),
  sinkAmbiguous: def<{ known: string }>(
    400,
    'invalidValue',
    (f) => `deliverTo.sink is required because several sinks are configured: ${f.known}.`,
  ),
  kindUnsupported: def<{ provider: string; kind: string; kinds: string }>(
    400,
    'invalidValue',
    (f) => `Provider "${f.provider}" does not issue "${f.kind}"; it issues: ${f.kinds}.`,
  ),
  kindRequired: def<{ provider: string; kind: string; required: string }>(
    400,
    'invalidValue',
    (f) =>
      `Policy takes no "${f.kind}" of provider "${f.provider}" for consumers of this kind; ask for: ${f.required}.`,
  ),
  scopeRefused: def<{ scope: string; reason: string }>(
    400,
    'invalidValue',
    (f) => `Scope "${f.scope}" is refused: ${f.reason}`,
  ),
  tooManyCredentials: def<{ provider: string; kind: string; limit: number }>(
    400,
    'invalidValue',
    (f) =>
      `At most ${f.limit} credential(s) of kind "${f.kind}" per account at "${f.provider}", so that rotation always has a free slot; revoke one first.`,
  ),
  badPath: def<{ path: string }>(
    400,
    'invalidValue',
    (f) =>
      `deliverTo.path "${f.path}" is not allowed; use 1 to 201 letters, digits, ".", "_", "/" or "-", starting with a letter, digit, "_" or "-", without ".." and without empty or "." segments.`,
  ),
  reasonRequired: def<{ action: string }>(
    400,
    'invalidValue',
    (f) => `"reason" is required to ${f.action}; it is kept in the audit log.`,
  ),
  providerFailed: def<{ provider: string; reason: string }>(
    502,
    null,
    (f) => `Provider "${f.provider}" did not do it: ${f.reason}`,
  ),
  notDiscoverable: def<{ provider: string; can: string }>(
    400,
    'invalidValue',
    (f) =>
      `Provider "${f.provider}" has nothing to discover or adopt; those that have: ${f.can || 'none'}.`,
  ),
  adoptOnly: def<{ provider: string; kind: string }>(
    400,
    'invalidValue',
    (f) =>
      `Provider "${f.provider}" makes no ${f.kind}; one that is there is adopted: custody provider import ${f.provider}.`,
  ),
  notRotatable: def<{ credential: string; kind: string }>(
    409,
    null,
    (f) => `Credential ${f.credential} is a ${f.kind}, which has no secret to rotate.`,
  ),
  deliverToMissing: def<{ credential: string }>(
    409,
    null,
    (f) =>
      `Credential ${f.credential} was imported and has nowhere to deliver a new secret; set its deliverTo first (PATCH /scim/v2/Credentials/${f.credential}).`,
  ),
  unknownSweep: def<{ name: string; known: string }>(
    404,
    null,
    (f) => `There is no sweep "${f.name}"; there are: ${f.known}.`,
  ),
  acceptanceDate: def<{ until: string; latest: string }>(
    400,
    'invalidValue',
    (f) =>
      `until: a finding is accepted until a date ahead, at latest ${f.latest}; ${f.until} is not.`,
  ),
  tokenLimit: def<{ limit: number }>(
    409,
    null,
    (f) => `This client already has ${f.limit} live tokens; revoke one first.`,
  ),
  idempotencyMismatch: def<{ key: string }>(
    422,
    null,
    (f) =>
      `Idempotency-Key "${f.key}" was used with another body; use a new key for a new request.`,
  ),
  idempotencyInFlight: def<{ key: string }>(
    409,
    null,
    (f) => `A request with Idempotency-Key "${f.key}" is still running; repeat in a moment.`,
  ),
  alreadyIssued: def<{ what: string }>(
    409,
    null,
    (f) => `${f.what} was shown once and is not stored; create a new one if it was lost.`,
  ),
  notUndoable: def<{ id: string; reason: string }>(
    409,
    null,
    (f) => `Event "${f.id}" cannot be undone: ${f.reason}`,
  ),
  endsWithCustody: def<{ id: string; tokens: number }>(
    409,
    null,
    (f) =>
      `Account "${f.id}" has ${f.tokens} token(s) that live only in Custody and end with it; replace them, or say includeTokens (--include-tokens).`,
  ),
  notReplayable: def<{ id: string; reason: string }>(
    409,
    null,
    (f) => `Request "${f.id}" cannot be run again: ${f.reason}`,
  ),
  overtaken: def<{ id: string; target: string; at: string }>(
    409,
    null,
    (f) =>
      `Request "${f.id}" failed before ${f.target} was last written (${f.at}); look at what it would change, and send force: true to run it all the same.`,
  ),
  providerRefused: def<{ provider: string; reason: string }>(
    502,
    null,
    (f) => `Provider "${f.provider}" did not do it: ${f.reason}`,
  ),
  // With `mayBeKept` nobody knows whether the write came out: it is not to be repeated blindly.
  notReady: def<{ reason: string; mayBeKept?: true }>(
    503,
    null,
    (f) => `The service is not ready: ${f.reason}.${f.mayBeKept ? '' : ' Try again shortly.'}`,
  ),
  internal: def<{ request: string }>(
    500,
    null,
    (f) =>
      `Something failed on our side; nothing was changed. Give the operator request id ${f.request}.`,
  ),

  // Starting up (exit 2, 5 or 9, never over HTTP)
  configInvalid: def<{ problems: string }>(500, null, (f) => f.problems),
  policyInvalid: def<{ problems: string }>(500, null, (f) => f.problems),
  masterKeyWrong: def<{ path: string }>(
    500,
    null,
    (f) =>
      `The master key in ${f.path} does not belong to this database; start with the key it was created with.`,
  ),
  masterKeyMissing: def<{ path: string; database: string }>(
    500,
    null,
    (f) =>
      `${f.path} is missing, and the database ${f.database} was made with it; restore the file, or set CUSTODY_MASTER_KEY to the key. None was made, for a new key opens nothing.`,
  ),
  homeInUse: def<{ path: string; pid: number; url: string | null }>(
    409,
    null,
    (f) =>
      `A server already runs on ${f.path}: process ${f.pid}${f.url === null ? '' : ` at ${f.url}`}. Stop it first, or give this one a home of its own with CUSTODY_HOME.`,
  ),
  databaseNewer: def<{ found: number; known: number }>(
    500,
    null,
    (f) =>
      `The database is at migration ${f.found}, this version knows ${f.known}; start the newer version.`,
  ),
  copyUnfinished: def<{ engine: string }>(
    409,
    null,
    (f) =>
      `The ${f.engine} database holds part of a copy that was not finished; run the same custody db copy again, then start.`,
  ),
  migrationChanged: def<{ name: string }>(
    500,
    null,
    (f) =>
      `Migration ${f.name} differs from the one this database was built with; use the version that made it.`,
  ),
} as const satisfies Record<string, Definition<never>>

export type ErrorCode = keyof typeof definitions
type FactsOf<C extends ErrorCode> = (typeof definitions)[C] extends Definition<infer F> ? F : never

/** `throw errors.ownerGone({ owner: id }, { cause })` */
export const errors = Object.fromEntries(
  Object.entries(definitions).map(([code, d]) => [
    code,
    (facts: Facts, options?: { cause?: unknown }) =>
      new AppError(
        code as ErrorCode,
        d.status,
        d.scimType,
        (d.message as (facts: Facts) => string)(facts),
        facts,
        options?.cause,
      ),
  ]),
) as unknown as {
  readonly [C in ErrorCode]: (facts: FactsOf<C>, options?: { cause?: unknown }) => AppError
}

export const errorCatalogue: Readonly<
  Record<ErrorCode, { readonly status: number; readonly scimType: ScimType | null }>
> = definitions

/** The closest of `known` by edit distance, when it is close enough to be a slip of the pen. */
export function nearest(word: string, known: readonly string[]): string | null {
  const target = word.toLowerCase()
  let best: string | null = null
  let bestDistance = Math.max(2, Math.floor(target.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(target, candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit || a.length > 64) return limit
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = a[i - 1] === b[j - 1] ? 0 : 1
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + swap))
    }
    row = next
  }
  return row[b.length]!
}
