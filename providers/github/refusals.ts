import { ProviderError, type ProviderErrorKind } from '../../src/provider/contract.ts'

/** An error of which it is certain that nothing happened. */
export function refusal(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}

export function isKind(
  error: unknown,
  ...kinds: readonly ProviderErrorKind[]
): error is ProviderError {
  return error instanceof ProviderError && kinds.includes(error.kind)
}

/** Before a credential exists, 404 means that the App may not, or that the scope names nothing. */
export function deniedIfNotFound(error: unknown): never {
  if (isKind(error, 'notFound')) throw refusal('denied', error.message)
  throw error
}
