import { errors } from '../domain/errors.ts'
import type { Instant } from '../domain/time.ts'
import { timeoutOf } from '../domain/time.ts'
import type { Call } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise } from './context.ts'

export type SwitchAct = 'suspend' | 'resume'

export interface Switched {
  readonly name: string
  readonly type: string
  readonly state: 'suspended' | 'resumed'
  readonly at: Instant
}

/** Below the 30 s that the command line waits for an answer. */
const switchMilliseconds = 25_000
const states = { suspend: 'suspended', resume: 'resumed' } as const

/**
 * The kill switch of everything at one provider, or its taking back. It is in the audit log before it
 * is thrown, and its outcome after, so that a process that dies in between leaves a trace. It goes
 * past the bulkhead as a revocation does: a provider in trouble is just what it is for.
 * @throws notFound, forbidden, invalidValue (no such switch there), providerRefused
 */
export async function switchProvider(
  life: Lifecycle,
  caller: Caller,
  name: string,
  want: { readonly act: SwitchAct; readonly reason: string },
): Promise<Switched> {
  const { act, reason } = want
  const decision = authorise(life, caller, `provider.${act}`, { type: 'provider', id: name })
  const provider = life.providers.get(name)
  if (!provider) throw errors.notFound({ what: 'Provider', id: name })
  if (!provider.suspend || !provider.resume) {
    const words = `provider "${name}" of type ${provider.type} has no kill switch; disable its accounts, or revoke its credentials.`
    throw errors.invalidValue({ path: 'name', reason: words })
  }
  const record = (action: string, more: Readonly<Record<string, string>> = {}) =>
    life.store.commit([
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action,
        target: { type: 'provider', id: name },
        decision,
        facts: { reason, ...more },
      }),
    ])
  await record(`provider.${act}Asked`)
  const call: Call = {
    key: life.ids.next(),
    operation: null,
    signal: timeoutOf(life.clock, switchMilliseconds),
    fence: async () => true,
  }
  try {
    await (act === 'suspend' ? provider.suspend(call) : provider.resume(call))
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    await record(`provider.${act}Failed`, { kind: error.kind, outcome: error.outcome })
    throw errors.providerRefused({ provider: name, reason: error.message }, { cause: error })
  }
  await record(`provider.${states[act]}`)
  return { name, type: provider.type, state: states[act], at: life.clock.now() }
}
