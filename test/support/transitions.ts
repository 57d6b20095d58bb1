import { accountTransitions } from '../../src/domain/account.ts'
import { credentialTransitions } from '../../src/domain/credential.ts'
import type { TenantId } from '../../src/domain/ids.ts'
import { operationTransitions } from '../../src/domain/operation.ts'
import type { Change, Store } from '../../src/store/store.ts'

/** A change of status as a commit made it, e.g. `account active → disabling`. */
interface Transition {
  readonly text: string
  readonly isKnown: boolean
}

/**
 * A store that notices every change of status which the tables of `src/domain` do not name: what the
 * code does and what its tables, and the documentation drawn from them, say cannot drift apart.
 */
export function watchTransitions(
  store: Store,
  tenant: TenantId,
): { readonly store: Store; readonly unknown: readonly string[] } {
  const unknown: string[] = []

  const transitionOf = async (change: Change): Promise<Transition | null> => {
    switch (change.type) {
      case 'account': {
        const before = await store.read.account(tenant, change.account.id)
        if (before?.version !== change.expectedVersion) return null
        return transition('account', accountTransitions, before?.status, change.account.status)
      }
      case 'credential': {
        const { id, status } = change.credential
        const before = await store.read.credential(tenant, id)
        if (before?.version !== change.expectedVersion) return null
        return transition('credential', credentialTransitions, before?.status, status)
      }
      case 'advance': {
        const before = await store.read.operation(tenant, change.id)
        if (before?.fence !== change.fence) return null
        return transition('operation', operationTransitions, before.status, change.set.status)
      }
      default:
        return null
    }
  }

  return {
    unknown,
    store: {
      ...store,
      async commit(changes) {
        const transitions = await Promise.all(changes.map(transitionOf))
        const result = await store.commit(changes)
        if (result === 'saved') {
          unknown.push(...transitions.flatMap((t) => (t && !t.isKnown ? [t.text] : [])))
        }
        return result
      },
    },
  }
}

function transition<S extends string>(
  what: string,
  table: Readonly<Record<S, readonly S[]>>,
  from: S | undefined,
  to: S | undefined,
): Transition | null {
  if (from === undefined || to === undefined || from === to) return null
  return { text: `${what} ${from} → ${to}`, isKnown: table[from].includes(to) }
}
