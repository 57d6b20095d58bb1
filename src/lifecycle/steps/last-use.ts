import type { ServiceAccount } from '../../domain/account.ts'
import type { Principal } from '../../domain/credential.ts'
import { timeoutOf } from '../../domain/time.ts'
import type { Call } from '../../provider/contract.ts'
import { urgentCall } from '../bulkhead.ts'
import { termsOf } from '../credential-terms.ts'
import { verdictOn } from '../offboard.ts'
import { noteUse } from '../uses.ts'
import type { StepContext } from './step.ts'

/** A leaving is answered in seconds: so long one provider may take, and all of them for one claim. */
const oneMs = 3_000
const allMs = 10_000

/**
 * Asks providers when keys were last used, where it may decide between containing an account and
 * disabling it. Bounded, for closing comes first: a provider that does not answer once is not asked
 * again, and what is known decides.
 */
export class LastUse {
  readonly #ctx: StepContext
  readonly #until: number
  readonly #silent = new Set<string>()

  constructor(ctx: StepContext) {
    this.#ctx = ctx
    this.#until = ctx.life.clock.monotonic() + allMs
  }

  async refresh(account: ServiceAccount): Promise<void> {
    const { life } = this.#ctx
    if (!termsOf(life, account).leaver.contain) return
    const { decision } = await verdictOn(life, account)
    if (decision.rule !== 'noHeir') return
    const principals = await life.store.read.principalsOf(account.tenant, account.id)
    await Promise.all(principals.map((principal) => this.#ask(principal)))
  }

  async #ask({ tenant, account, provider: name, external }: Principal): Promise<void> {
    const { life } = this.#ctx
    const provider = life.providers.get(name)
    const tells = Object.values(provider?.capabilities ?? {}).some((kind) => kind.canLastUsed)
    const isOver = life.clock.monotonic() >= this.#until
    if (!provider || !tells || external === null || isOver || this.#silent.has(name)) return
    try {
      const { items } = await provider.list(external, this.#call())
      const keys = await life.store.read.keysOfAccount(tenant, account)
      for (const { keyId, lastUsedAt } of items) {
        const key = keys.find((k) => k.keyId === keyId && k.provider === name)
        if (key && lastUsedAt !== null) await noteUse(life, key, lastUsedAt)
      }
    } catch {
      this.#silent.add(name)
    }
  }

  #call(): Call {
    const call = this.#ctx.call()
    const signal = AbortSignal.any([call.signal, timeoutOf(this.#ctx.life.clock, oneMs)])
    return urgentCall({ ...call, signal })
  }
}
