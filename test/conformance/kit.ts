import path from 'node:path'
import { Secret } from '../../src/domain/secret.ts'
import type { Clock } from '../../src/domain/time.ts'
import type { HostContext } from '../../src/provider/contract.ts'

/** What the published package exports as `custody/conformance`; it needs vitest beside it. */
export * from './provider.ts'
export { sinkCall, sinkConformance, sinkTarget, type SinkUnderTest } from './sink.ts'
export { ManualClock } from '../support/manual-clock.ts'

/** A host for a provider or sink under test; paths of its configuration lie in `folder`. */
export function hostFor(options: {
  readonly clock: Clock
  readonly folder: string
  readonly name?: string
}): HostContext {
  return {
    name: options.name ?? 'under-test',
    clock: options.clock,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
    resolvePath: (file) => path.resolve(options.folder, file),
    // Only the embedded `token` provider has a book.
    tokens: null as never,
    pepper: Secret.ofText('a pepper for tests'),
  }
}
