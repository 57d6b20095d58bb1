import { randomUUID } from 'node:crypto'
import type { CredentialKind } from '../../src/domain/credential.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  DiscoveryPage,
  ExternalCredential,
  KindCapabilities,
  LeftPerson,
  Listing,
  Prepared,
  ProbeAnswer,
  Provider,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { ProviderError, type ProviderErrorKind } from '../../src/provider/contract.ts'
import type { ManualClock } from './manual-clock.ts'

interface Thing {
  readonly id: string
  readonly name: string
  owner: string | null
  /** As a server keeps it. */
  readonly hash: string
  readonly createdAt: ReturnType<ManualClock['now']>
  readonly endsAt: ReturnType<ManualClock['now']> | null
  active: boolean
  scopes?: readonly string[]
}

const none = seconds(0)

/** What most targets can do; each test takes something away. */
export const ableKind: KindCapabilities = {
  canCreate: true,
  canRevoke: true,
  canList: true,
  canDisable: true,
  canProbe: true,
  canRescope: 'inPlace',
  canLastUsed: false,
  lastUsedLag: none,
  mint: 'server',
  maxLive: null,
  lease: null,
  keepsSecret: false,
  settleMin: none,
  settleMax: none,
  quota: null,
  probe: { count: 1, every: none },
  cannot: [],
}

/** A provider in memory that can exactly what its flags say, with every optional method. */
export class MemoryProvider implements Provider {
  readonly name = 'memory'
  readonly type = 'memory'
  readonly capabilities
  readonly things = new Map<string, Thing>()
  readonly members = new Set<string>()
  isWrong = false
  isSuspended = false
  readonly #kind: CredentialKind
  readonly #able: KindCapabilities
  readonly #clock: ManualClock

  constructor(clock: ManualClock, kind: CredentialKind, flags: Partial<KindCapabilities>) {
    this.#able = { ...ableKind, ...flags }
    this.#kind = kind
    this.#clock = clock
    this.capabilities = { [kind]: this.#able }
  }

  plant(owner: string | null, hash = ''): Thing {
    const id = randomUUID()
    const at = this.#clock.now()
    const endsAt = this.#able.lease ? addSeconds(at, this.#able.lease.lifetime) : null
    const thing = { id, name: `thing ${id}`, owner, hash, createdAt: at, endsAt, active: true }
    this.things.set(id, thing)
    return thing
  }

  checkScopes() {
    return null
  }

  async ensurePrincipal(want: WantedPrincipal, call: Call) {
    this.#begin(call)
    return { external: want.account as string, created: true }
  }

  prepare(): Prepared {
    const secret = Secret.ofText(`secret of ${randomUUID()}`)
    const publicPart = secret.fingerprint()
    return { secret, publicPart, fingerprint: publicPart }
  }

  async issue(principal: string, want: WantedCredential, call: Call) {
    this.#begin(call)
    if (!this.#able.canCreate) throw refuse('invalid', 'Nothing is made here.')
    if (this.isSuspended) throw refuse('denied', 'It is suspended.')
    const id = `${want.credential}/${want.generation}`
    const isRepeatable = this.#able.mint !== 'server'
    const known = isRepeatable ? this.things.get(id) : undefined
    const own = [...this.things.values()].filter((thing) => thing.owner === principal)
    if (!known && this.#able.maxLive !== null && own.length >= this.#able.maxLive) {
      throw refuse('limit', 'No more of them.')
    }
    if (!(await call.fence())) throw refuse('fenced', 'Somebody else took over.')
    const secret = isRepeatable ? null : Secret.ofText(`secret of ${randomUUID()}`)
    let thing = known
    if (!thing) {
      const planted = this.plant(principal, want.publicPart ?? secret?.fingerprint())
      this.things.delete(planted.id)
      thing = { ...planted, id: isRepeatable ? id : planted.id }
      this.things.set(thing.id, thing)
    }
    return { keyId: thing.id, secret, fingerprint: thing.id, expiresAt: thing.endsAt }
  }

  async rescope(_: string, { keyId, scopes }: WantedScopes, call: Call) {
    this.#begin(call)
    const thing = this.things.get(keyId)
    if (thing) thing.scopes = scopes
  }

  async disable(_: string, keyId: string, call: Call) {
    this.#switch(keyId, false, call)
  }

  async enable(_: string, keyId: string, call: Call) {
    this.#switch(keyId, true, call)
  }

  async revoke(_: string, keyId: string, call: Call, held: Secret | null = null) {
    this.#begin(call)
    if (!this.#able.canRevoke) throw refuse('invalid', 'Nothing is ended here.')
    if (this.#able.keepsSecret && !held) throw refuse('invalid', 'It takes the secret to end it.')
    this.things.delete(keyId)
  }

  async shutOff(_: string, call: Call) {
    this.#begin(call)
  }

  async turnOn(_: string, call: Call) {
    this.#begin(call)
  }

  async probe(secret: Secret, _: CredentialKind, call: Call): Promise<ProbeAnswer> {
    this.#begin(call)
    const hash = secret.fingerprint()
    return this.#answer([...this.things.values()].find((thing) => thing.hash === hash))
  }

  async probeKey(_: string, keyId: string, call: Call): Promise<ProbeAnswer> {
    this.#begin(call)
    return this.#answer(this.things.get(keyId))
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    this.#begin(call)
    if (!this.#able.canList) return { items: [], complete: false }
    const own = [...this.things.values()].filter((thing) => thing.owner === principal)
    return { items: own.map((thing) => this.#shown(thing)), complete: true }
  }

  async deletePrincipal(principal: string, call: Call) {
    this.#begin(call)
    for (const { id, owner } of this.things.values()) {
      if (owner === principal) this.things.delete(id)
    }
  }

  /** Two to a page, so that there are pages. */
  async discover(from: string | null, call: Call): Promise<DiscoveryPage> {
    this.#begin(call)
    const at = from === null ? 0 : Number(from)
    if (!Number.isInteger(at)) throw refuse('invalid', 'No such place; start again.')
    const all = [...this.things.values()]
    const items = all.slice(at, at + 2).map((thing) => {
      const { lastUsedAt: _, ...key } = this.#shown(thing)
      return {
        external: thing.id,
        name: thing.name,
        kind: this.#kind,
        createdAt: thing.createdAt,
        keys: [key],
        owners: [{ hint: 'mona@acme.example', from: 'creator' as const }],
        vendor: null,
        account: thing.owner,
        obstacle: null,
      }
    })
    const next = at + 2 < all.length ? String(at + 2) : null
    return { items, next, complete: true, total: all.length }
  }

  async adopt(external: string, want: WantedPrincipal, call: Call) {
    this.#begin(call)
    const thing = this.things.get(external)
    if (!thing) throw refuse('notFound', 'It is gone.')
    if (thing.owner !== null && thing.owner !== want.account) {
      throw refuse('conflict', 'It is somebody else’s by now.')
    }
    thing.owner = want.account
    return { external: want.account as string, created: false }
  }

  async check() {
    const state = this.isWrong ? ('failed' as const) : ('ok' as const)
    const message = this.isWrong ? 'Nothing answers.' : 'It answers.'
    const remedy = this.isWrong ? 'Switch it on.' : null
    return { findings: [{ name: 'connection', state, message, remedy }], leastPolicy: null }
  }

  async suspend(call: Call) {
    this.#begin(call)
    this.isSuspended = true
  }

  async resume(call: Call) {
    this.#begin(call)
    this.isSuspended = false
  }

  async removePerson({ userName }: LeftPerson, call: Call) {
    this.#begin(call)
    return this.members.delete(userName) ? [`membership of ${userName}`] : []
  }

  async close() {}

  #begin({ signal }: Call): void {
    if (signal.aborted) throw refuse('unavailable', 'Given up before it began.')
  }

  #switch(keyId: string, active: boolean, call: Call): void {
    this.#begin(call)
    if (!this.#able.canDisable) throw refuse('invalid', 'There is no such switch.')
    const thing = this.things.get(keyId)
    if (thing) thing.active = active
  }

  #answer(thing: Thing | undefined): ProbeAnswer {
    if (!this.#able.canProbe) return 'untestable'
    const isOver = thing?.endsAt != null && thing.endsAt <= this.#clock.now()
    return thing?.active && !isOver ? 'accepted' : 'refused'
  }

  #shown({ id, active, createdAt }: Thing): ExternalCredential {
    return { keyId: id, fingerprint: id, kind: this.#kind, active, createdAt, lastUsedAt: null }
  }
}

function refuse(kind: ProviderErrorKind, message: string): ProviderError {
  return new ProviderError(kind, message, { outcome: 'notApplied' })
}
