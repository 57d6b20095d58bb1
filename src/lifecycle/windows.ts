import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { Frozen } from '../policy/windows.ts'
import { frozenFor } from '../policy/windows.ts'
import type { Lifecycle } from './context.ts'
import { capabilitiesOf, termsOf } from './credential-terms.ts'
import type { StepContext, StepResult } from './steps/step.ts'

type Looks = Pick<Lifecycle, 'policy' | 'clock' | 'providers'>

/** Until when planned acts on an account as a whole wait; null = they may be done. */
export function frozenAccount(
  life: Pick<Lifecycle, 'policy' | 'clock'>,
  account: ServiceAccount,
): Frozen | null {
  const { freeze } = termsOf(life, account)
  return frozenFor(freeze ?? [], account.id, life.clock.now())
}

/** The same of a credential. A lease is renewed all the same: without, it stops within the hour. */
export function frozenCredential(
  life: Looks,
  account: ServiceAccount,
  credential: Credential,
): Frozen | null {
  if (capabilitiesOf(life, credential)?.lease) return null
  const { freeze } = termsOf(life, account, credential)
  return frozenFor(freeze ?? [], credential.id, life.clock.now())
}

/** The wait of a planned step inside a freeze window; null = go on. It counts no attempt. */
export function waitForWindow(
  { life }: StepContext,
  { account, credential }: { readonly account: ServiceAccount; readonly credential: Credential },
): StepResult | null {
  const frozen = frozenCredential(life, account, credential)
  if (frozen === null) return null
  const { window, until } = frozen
  return {
    go: 'wait',
    until,
    sameAttempt: true,
    failure: {
      code: 'frozen',
      message: `the freeze window "${window}" holds; this goes on at ${until}`,
    },
  }
}
