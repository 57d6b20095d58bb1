import { defaultTenant } from '../../src/domain/ids.ts'
import type { WireAnswer, WireRequest } from '../../src/provider/contract.ts'
import type { Change, Store } from '../../src/store/store.ts'

/** Something that a provider did on our request, as its answer told. */
export interface Effect {
  readonly what: 'mint' | 'delete'
  readonly keyId: string
}

const deployKeyPath = /^\/repos\/[^/]+\/[^/]+\/keys\/(\d+)$/
/** What may take a working credential away from somebody. */
const takers = new Set([
  'UpdateAccessKey',
  'DeleteAccessKey',
  'PutUserPolicy',
  'UpdateSecretVersionStage',
  'DeleteSecret',
])

/**
 * Stands between Custody and the rest of the world and remembers: what was really done at the
 * providers, which secrets went over the wire, all that was written to the database, and whether a
 * worker wrote after it had lost its claim. What the laws on records are judged by.
 */
export class Witness {
  readonly effects: Effect[] = []
  readonly secrets = new Set<string>()
  readonly #written: string[] = []
  #isTouched = false
  staleWrite: string | null = null
  /** Provider calls that had their chance to do something. */
  calls = 0

  /** Whether anything was taken away since the last time that was asked. */
  wasTouched(): boolean {
    const was = this.#isTouched
    this.#isTouched = false
    return was
  }

  saw(operation: string, request: WireRequest, { status, body }: WireAnswer): void {
    this.calls += 1
    if (status >= 300) return
    if (takers.has(operation) || request.method === 'DELETE') this.#isTouched = true
    const deployKey = deployKeyPath.exec(request.url.pathname)
    if (operation === 'CreateAccessKey') {
      this.effects.push({ what: 'mint', keyId: textOf(body, 'AccessKeyId') })
      this.secrets.add(textOf(body, 'SecretAccessKey'))
    } else if (operation === 'DeleteAccessKey') {
      const keyId = new URLSearchParams(request.body).get('AccessKeyId')!
      this.effects.push({ what: 'delete', keyId })
    } else if (operation === 'CreateSecret' || operation === 'PutSecretValue') {
      const { SecretString } = JSON.parse(request.body) as { readonly SecretString?: string }
      if (SecretString !== undefined) this.secrets.add(canaryIn(SecretString))
    } else if (request.method === 'POST' && request.url.pathname.endsWith('/keys')) {
      const { id } = JSON.parse(body) as { readonly id: number }
      this.effects.push({ what: 'mint', keyId: String(id) })
    } else if (request.method === 'POST' && request.url.pathname.endsWith('/access_tokens')) {
      this.secrets.add((JSON.parse(body) as { readonly token: string }).token)
    } else if (request.method === 'DELETE' && deployKey !== null) {
      this.effects.push({ what: 'delete', keyId: deployKey[1]! })
    }
  }

  /** What a process asks the store to write: a worker that lost its claim must be refused. */
  watch(store: Store): Store {
    return {
      ...store,
      commit: async (changes) => {
        const stale = await staleAmong(store, changes)
        const result = await store.commit(changes)
        if (result === 'saved') this.staleWrite ??= stale
        return result
      },
    }
  }

  /** What is really written. */
  record(store: Store): Store {
    return {
      ...store,
      commit: async (changes) => {
        const result = await store.commit(changes)
        if (result !== 'saved') return result
        this.#written.push(JSON.stringify(changes))
        if (changes.some((c) => c.type === 'key' || c.type.startsWith('issuedToken'))) {
          this.#isTouched = true
        }
        return result
      },
    }
  }

  /** A secret that stands where it must not, by its first characters; null when none does. */
  spill(others: readonly string[]): string | null {
    const text = [...this.#written, ...others].join('\n')
    for (const secret of this.secrets) {
      if (text.includes(secret)) return `${secret.slice(0, 6)}…`
    }
    return null
  }
}

/** Fences only rise: whoever is behind before a commit is behind in it, and must not be let through. */
async function staleAmong(store: Store, changes: readonly Change[]): Promise<string | null> {
  for (const change of changes) {
    if (change.type !== 'advance') continue
    const operation = await store.read.operation(defaultTenant, change.id)
    if (operation !== null && operation.fence > change.fence) {
      return `${operation.kind} ${change.id} was written with fence ${change.fence}, ${operation.fence} holds`
    }
  }
  return null
}

function textOf(xml: string, element: string): string {
  return new RegExp(`<${element}>([^<]+)</${element}>`).exec(xml)![1]!
}

/** The part of a delivered secret that is in nothing else: of a PEM one of its lines. */
function canaryIn(delivered: string): string {
  if (delivered.startsWith('{')) {
    return (JSON.parse(delivered) as { readonly secretAccessKey: string }).secretAccessKey
  }
  return delivered.startsWith('-----') ? delivered.split('\n')[3]! : delivered
}
