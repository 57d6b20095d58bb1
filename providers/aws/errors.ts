import type { Instant, Seconds } from '../../src/domain/time.ts'
import { instantOf, seconds } from '../../src/domain/time.ts'
import type { ProviderErrorKind } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

interface Meaning {
  readonly kind: ProviderErrorKind
  readonly outcome: 'notApplied' | 'unknown'
}

const refused = (kind: ProviderErrorKind): Meaning => ({ kind, outcome: 'notApplied' })
const lost: Meaning = { kind: 'unavailable', outcome: 'unknown' }

/**
 * What the names that IAM, STS, Secrets Manager, the SDK and the socket use mean to Custody.
 * A 4xx is an answer: nothing happened. A 5xx or a broken connection is no answer: the effect may
 * have happened, and for CreateAccessKey, which has no idempotency token, nobody can tell.
 */
const meanings: Readonly<Record<string, Meaning>> = {
  Throttling: refused('throttled'),
  ThrottlingException: refused('throttled'),
  ThrottledException: refused('throttled'),
  RequestLimitExceeded: refused('throttled'),
  RequestThrottled: refused('throttled'),
  TooManyRequestsException: refused('throttled'),
  SlowDown: refused('throttled'),

  AccessDenied: refused('denied'),
  AccessDeniedException: refused('denied'),
  UnauthorizedOperation: refused('denied'),
  OptInRequired: refused('denied'),
  InvalidClientTokenId: refused('denied'),
  UnrecognizedClientException: refused('denied'),
  SignatureDoesNotMatch: refused('denied'),
  InvalidSignatureException: refused('denied'),
  MissingAuthenticationToken: refused('denied'),
  MissingAuthenticationTokenException: refused('denied'),
  IncompleteSignature: refused('denied'),
  ExpiredToken: refused('denied'),
  ExpiredTokenException: refused('denied'),
  RequestExpired: refused('denied'),
  CredentialsProviderError: refused('denied'),
  TokenProviderError: refused('denied'),

  NoSuchEntity: refused('notFound'),
  NoSuchEntityException: refused('notFound'),
  ResourceNotFoundException: refused('notFound'),

  EntityAlreadyExists: refused('conflict'),
  EntityAlreadyExistsException: refused('conflict'),
  DeleteConflict: refused('conflict'),
  DeleteConflictException: refused('conflict'),
  ConcurrentModificationException: refused('conflict'),
  EntityTemporarilyUnmodifiableException: refused('conflict'),
  ResourceExistsException: refused('conflict'),
  PreconditionNotMetException: refused('conflict'),

  LimitExceeded: refused('limit'),
  LimitExceededException: refused('limit'),

  InvalidAction: refused('invalid'),
  InvalidInputException: refused('invalid'),
  InvalidParameterException: refused('invalid'),
  InvalidRequestException: refused('invalid'),
  MalformedPolicyDocumentException: refused('invalid'),
  PolicyNotAttachableException: refused('invalid'),
  UnmodifiableEntityException: refused('invalid'),
  ValidationError: refused('invalid'),
  ValidationException: refused('invalid'),

  // The KMS key of a secret could not be used: nothing was stored.
  EncryptionFailure: refused('unavailable'),
  DecryptionFailure: refused('unavailable'),
  // Never reached the other side.
  ECONNREFUSED: refused('unavailable'),
  ENOTFOUND: refused('unavailable'),
  EAI_AGAIN: refused('unavailable'),
  EHOSTUNREACH: refused('unavailable'),
  ENETUNREACH: refused('unavailable'),
}

interface SdkError {
  readonly name?: string
  readonly message?: string
  readonly code?: string
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

/**
 * Turns whatever the SDK threw into the one error a provider may throw.
 * The SDK's error is not kept as `cause`: it holds the raw response, and the body of a half-read
 * CreateAccessKey answer contains the secret.
 * @param operation the AWS operation, for the message
 */
export function providerErrorOf(error: unknown, operation: string): ProviderError {
  if (error instanceof ProviderError) return error
  const sdk = (error ?? {}) as SdkError
  const status = sdk.$metadata?.httpStatusCode
  const meaning =
    meanings[sdk.name ?? ''] ??
    meanings[sdk.code ?? ''] ??
    byStatus(sdk.$metadata?.requestId === undefined && status !== 429 ? undefined : status)
  const name = sdk.name === 'Error' ? (sdk.code ?? 'Error') : (sdk.name ?? 'Error')
  const facts = [
    status === undefined ? null : `HTTP ${status}`,
    sdk.$metadata?.requestId ? `request ${sdk.$metadata.requestId}` : null,
  ].filter((fact) => fact !== null)
  // Only the text of an answer we know is repeated: anything else may quote a response body.
  const said = sdk.name !== undefined && meanings[sdk.name] ? `: ${clip(sdk.message ?? '')}` : ''
  const where = facts.length > 0 ? ` (${facts.join(', ')})` : ''
  return new ProviderError(meaning.kind, `AWS ${operation}: ${name}${where}${said}`, {
    outcome: meaning.outcome,
    retryAfter: retryAfterOf(sdk),
  })
}

/**
 * An answer of 4xx that nobody listed is still an answer; anything else may have had its effect, and
 * so may what a proxy answered in AWS's place (`undefined`).
 */
function byStatus(status: number | undefined): Meaning {
  if (status === 429) return refused('throttled')
  if (status === 401 || status === 403) return refused('denied')
  return status !== undefined && status >= 400 && status < 500 ? refused('invalid') : lost
}

function retryAfterOf(sdk: SdkError): Seconds | null {
  const value = Number(sdk.$response?.headers?.['retry-after'] ?? Number.NaN)
  return Number.isFinite(value) && value >= 0 ? seconds(value) : null
}

function clip(message: string): string {
  return message.length > 200 ? `${message.slice(0, 200)}…` : message
}

interface Stack {
  add(
    middleware: (
      next: (args: unknown) => Promise<unknown>,
      context: { readonly commandName?: string },
    ) => (args: unknown) => Promise<unknown>,
    options: { readonly step: 'initialize'; readonly priority: 'high'; readonly name: string },
  ): void
}

/** Makes an SDK client throw `ProviderError`s and nothing else, each naming its operation. */
export function mapErrors<C extends { readonly middlewareStack: object }>(
  client: C,
  sawDate?: (date: Instant) => void,
): C {
  const stack = client.middlewareStack as Stack
  stack.add(
    (next, context) => async (args) => {
      const operation = (context.commandName ?? 'call').replace(/Command$/, '')
      try {
        const answer = await next(args)
        tellDate(answer, sawDate)
        assertFromAws(answer, operation)
        return answer
      } catch (error) {
        tellDate({ response: (error as SdkError | null)?.$response }, sawDate)
        throw providerErrorOf(error, operation)
      }
    },
    { step: 'initialize', priority: 'high', name: 'custodyErrors' },
  )
  return client
}

/** Every answer of AWS has a `Date` (RFC 9110 §6.6.1), refusals too. */
function tellDate(answer: unknown, sawDate: ((date: Instant) => void) | undefined): void {
  const { response } = answer as {
    readonly response?: { readonly headers?: Readonly<Record<string, string>> }
  }
  const date = Date.parse(response?.headers?.['date'] ?? '')
  if (!Number.isNaN(date)) sawDate?.(instantOf(date))
}

/**
 * A proxy's page under a status of success parses as an answer with everything missing: an empty
 * listing, a switch that worked. AWS names each request in a header; such a page does not.
 */
function assertFromAws(answer: unknown, operation: string): void {
  const { output } = answer as { readonly output?: SdkError }
  if (output?.$metadata?.requestId !== undefined) return
  throw new ProviderError(lost.kind, `AWS ${operation}: the answer bears no request id of AWS`, {
    outcome: lost.outcome,
  })
}

/** Null instead of an error when what was asked for is not there. */
export async function unlessGone<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ProviderError && error.kind === 'notFound') return null
    throw error
  }
}
