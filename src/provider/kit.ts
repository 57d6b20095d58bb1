/** What the published package exports as `custody/provider`: all that a provider or sink is made of. */
export type * from './contract.ts'
export { ProviderError, shownVersion } from './contract.ts'
export type { CredentialKind } from '../domain/credential.ts'
export type { AccountId, CredentialId, OperationId, TenantId } from '../domain/ids.ts'
export { Secret } from '../domain/secret.ts'
export type { Clock, Instant, Seconds } from '../domain/time.ts'
export {
  addSeconds,
  instantOf,
  parseDuration,
  parseInstant,
  seconds,
  secondsBetween,
  timeoutOf,
} from '../domain/time.ts'
