import type { CredentialKind } from '../../src/domain/credential.ts'
import type { Clock } from '../../src/domain/time.ts'
import { seconds } from '../../src/domain/time.ts'
import type {
  ExternalCredential,
  KindCapabilities,
  ProbeAnswer,
  Provider,
  ProviderModule,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

interface Entry {
  readonly holder: string
  readonly operation: string
  readonly createdAt: ReturnType<Clock['now']>
  open: boolean
}

/**
 * A building whose doors open for those on a list: who stands there needs no secret. As each kind
 * it can do something else, so that one list has all that kinds without a secret may claim.
 */
export class DoorList {
  readonly entries = new Map<string, Entry>()
  readonly holders = new Map<string, { off: boolean }>()
  /** Calls by name, in order. */
  readonly calls: string[] = []
  /** The answer to the next `issue` is lost after its effect. */
  losesAnswer = false
  /** Why nothing can be made at the moment. */
  outage: string | null = null
  /** Nobody looks at the list: every door opens. */
  porterSleeps = false

  module(): ProviderModule {
    return {
      type: 'doors',
      role: 'provider',
      configSchema: { type: 'object', additionalProperties: false },
      create: ({ name, clock }) => this.#provider(name, clock),
    }
  }

  opens(key: string): boolean {
    const entry = this.entries.get(key)
    if (this.porterSleeps) return true
    return entry?.open === true && this.holders.get(entry.holder)?.off !== true
  }

  #provider(name: string, clock: Clock): Provider {
    const { entries, holders, calls } = this
    const entryOf = (key: string): Entry => {
      const entry = entries.get(key)
      if (entry) return entry
      throw new ProviderError('notFound', `no entry ${key}`, { outcome: 'notApplied' })
    }
    const kinds = new Map<string, CredentialKind>()
    return {
      name,
      type: 'doors',
      capabilities: {
        // On and off, and the door tells whether it opens.
        'federated-role': plain({ canDisable: true, canProbe: true }),
        // Struck off for good, and nobody can try it.
        manual: plain({}),
        // Only the landlord ends it.
        'app-installation': plain({ canRevoke: false }),
        'pat-grant': plain({ canCreate: false }),
      },
      checkScopes: () => null,
      ensurePrincipal: ({ account }) => {
        const created = !holders.has(account)
        if (created) holders.set(account, { off: false })
        return Promise.resolve({ external: account, created })
      },
      issue: async (holder, want) => {
        calls.push('issue')
        if (this.outage !== null) {
          throw new ProviderError('unavailable', this.outage, { outcome: 'notApplied' })
        }
        const key = `door-${want.credential}-${want.generation}`
        kinds.set(key, want.kind)
        if (!entries.has(key)) {
          const { operation } = want
          entries.set(key, { holder, operation, createdAt: clock.now(), open: true })
        }
        if (this.losesAnswer) {
          this.losesAnswer = false
          throw new ProviderError('unavailable', 'the line went dead', { outcome: 'unknown' })
        }
        return { keyId: key, secret: null, fingerprint: key, expiresAt: null }
      },
      disable: async (_, key) => {
        entryOf(key).open = false
      },
      enable: async (_, key) => {
        entryOf(key).open = true
      },
      revoke: async (_, key) => {
        calls.push('revoke')
        if (kinds.get(key) === 'app-installation' && entries.has(key)) {
          throw new ProviderError('denied', `ask the landlord to take ${key} off the list`, {
            outcome: 'notApplied',
          })
        }
        entries.delete(key)
      },
      shutOff: async (holder) => {
        holders.get(holder)!.off = true
      },
      turnOn: async (holder) => {
        holders.get(holder)!.off = false
      },
      probe: () => Promise.resolve<ProbeAnswer>('untestable'),
      probeKey: async (_, key) => (this.opens(key) ? 'accepted' : 'refused'),
      list: async (holder) => ({
        complete: true,
        items: [...entries].flatMap(([keyId, entry]): readonly ExternalCredential[] => {
          const { operation, createdAt, open: active } = entry
          const kind = kinds.get(keyId)!
          if (entry.holder !== holder) return []
          return [
            { keyId, fingerprint: keyId, kind, active, createdAt, lastUsedAt: null, operation },
          ]
        }),
      }),
      deletePrincipal: async (holder) => {
        holders.delete(holder)
      },
      close: () => Promise.resolve(),
    }
  }
}

function plain(more: Partial<KindCapabilities>): KindCapabilities {
  return {
    canCreate: true,
    canRevoke: true,
    canList: true,
    maxLive: null,
    canDisable: false,
    canRescope: false,
    canProbe: false,
    canLastUsed: false,
    lastUsedLag: seconds(0),
    mint: 'none',
    lease: null,
    keepsSecret: false,
    settleMin: seconds(0),
    settleMax: seconds(0),
    quota: null,
    probe: { count: 1, every: seconds(0) },
    cannot: [],
    ...more,
  }
}
