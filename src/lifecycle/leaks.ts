import type { Decision } from '../domain/audit.ts'
import type { IssuedKey } from '../domain/credential.ts'
import { AppError, errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { leakFingerprint, leakTraits } from '../domain/leak.ts'
import type { Secret } from '../domain/secret.ts'
import { timeoutOf } from '../domain/time.ts'
import { sameHash } from '../domain/token.ts'
import type { Provider } from '../provider/contract.ts'
import { leakedMax, ProviderError } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, replanned } from './context.ts'
import { revokeCredential } from './revocation.ts'

/** What became of one leaked text. */
export type LeakOutcome =
  /** It is a key of ours: the operation that ends its credential has begun. */
  | 'revoking'
  /** It opened Custody's own API, and is refused from now on. */
  | 'ended'
  | 'alreadyEnded'
  /** Not ours: handed to whoever issued it, who does not say whether it was alive. */
  | 'submitted'
  /** Not ours, and could be ended for good, everywhere: only when told to. */
  | 'needsConfirmation'
  | 'unknown'
  | 'failed'

export interface LeakItem {
  /** Place in the request, from 0. */
  readonly index: number
  /** The first 16 digits of the SHA-256 of the text, without blanks around it. */
  readonly fingerprint: string
  readonly outcome: LeakOutcome
  /** What it was recognised as; null when it was not. */
  readonly kind: string | null
  readonly provider: string | null
  readonly account: string | null
  readonly credential: string | null
  readonly operation: string | null
  /** In one sentence; never anything of the text. */
  readonly message: string
}

export interface LeakReport {
  /** At most `leakedMax`; disposed of by the caller. */
  readonly credentials: readonly Secret[]
  /** Where they were found, in the finder's words. */
  readonly source: string | null
  /** End what is not Custody's as well: for good, and everywhere. */
  readonly revokeForeign: boolean
  /** Which provider hands foreign ones on, where several could. */
  readonly provider: string | null
  /** The keyed hash that client tokens are stored as. */
  readonly hash: (secret: Secret) => string
}

/** As many commits at once as go into one write of the database. */
const together = 25
const callMilliseconds = 20_000

/**
 * Ends what somebody found: our own keys through their credential's revocation, tokens of our own API
 * at once, and, when told to, tokens of others through the provider that takes them. Never braked.
 * Nothing of the texts is kept: rows and answers name them by fingerprint.
 * @throws forbidden, invalidValue when it is not told which of several providers to use
 */
export async function reportLeaks(
  life: Lifecycle,
  caller: Caller,
  report: LeakReport,
): Promise<{ readonly report: string; readonly items: readonly LeakItem[] }> {
  const target = { type: 'tenant', id: caller.tenant } as const
  const decision = authorise(life, caller, 'leak.report', target)
  const taker = takerOf(life, report)
  const id = life.ids.next()
  const { source, revokeForeign, credentials } = report
  const facts = { source, count: credentials.length, revokeForeign }
  await commit(life, [leakRow(life, caller, { action: 'leak.reported', id, facts, decision })])

  const intake = new Intake(life, caller, report, id)
  const items = await intake.run(taker)
  const outcomes: Record<string, number> = {}
  for (const { outcome } of items) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  await commit(life, [leakRow(life, caller, { action: 'leak.handled', id, facts: { outcomes } })])
  return { report: id, items }
}

/** The provider that ends what is not ours; null when there is none, or nobody asked for it. */
function takerOf(life: Lifecycle, { revokeForeign, provider }: LeakReport): Provider | null {
  const able = [...life.providers.values()].filter(
    (p) => p.revokeLeaked !== undefined && p.endsLeaked !== undefined,
  )
  const names = able.map(({ name }) => name).join(', ') || 'none'
  if (provider !== null) {
    const found = able.find(({ name }) => name === provider)
    if (found) return found
    const reason = `cannot end what others issued; these can: ${names}.`
    throw errors.invalidValue({ path: 'provider', reason })
  }
  if (revokeForeign && able.length > 1) {
    const reason = `is needed with revokeForeign, as several could do it: ${names}.`
    throw errors.invalidValue({ path: 'provider', reason })
  }
  return able[0] ?? null
}

interface Known {
  readonly index: number
  readonly secret: Secret
  readonly fingerprint: string
}

class Intake {
  readonly #life: Lifecycle
  readonly #caller: Caller
  readonly #report: LeakReport
  readonly #id: string
  readonly #items: LeakItem[] = []
  /** One text, or one credential, may be there many times. */
  readonly #revocations = new Map<string, Promise<Partial<LeakItem>>>()

  constructor(life: Lifecycle, caller: Caller, report: LeakReport, id: string) {
    this.#life = life
    this.#caller = caller
    this.#report = report
    this.#id = id
  }

  async run(taker: Provider | null): Promise<readonly LeakItem[]> {
    const all = this.#report.credentials.map((secret, index): Known => {
      return { index, secret, fingerprint: textOf(secret, leakFingerprint) }
    })
    const rest: Known[] = []
    const keys = await this.#keys(all)
    for (let at = 0; at < all.length; at += together) {
      await Promise.all(
        all.slice(at, at + together).map(async (leak) => {
          const key = keys.get(leak.index)
          if (key) this.#add(leak, await this.#end(key))
          else if (!(await this.#endClientToken(leak))) rest.push(leak)
        }),
      )
    }
    const foreign = rest.filter(({ secret }) => textOf(secret, (t) => taker?.endsLeaked!(t)))
    for (const leak of rest.filter((l) => !foreign.includes(l))) {
      this.#add(leak, {
        message: 'No key is known by its id or its fingerprint, and nobody here could end it.',
      })
    }
    if (taker && foreign.length > 0) await this.#handOn(taker, foreign)
    return this.#items.toSorted((a, b) => a.index - b.index)
  }

  #add({ index, fingerprint }: Known, of: Partial<LeakItem> & { readonly message?: string }): void {
    this.#items.push({
      index,
      fingerprint,
      outcome: 'unknown',
      kind: null,
      provider: null,
      account: null,
      credential: null,
      operation: null,
      message: '',
      ...of,
    })
  }

  /** The journal's key for each text that has one: by id first, which needs no walk. */
  async #keys(all: readonly Known[]): Promise<ReadonlyMap<number, IssuedKey>> {
    const { read } = this.#life.store
    const traits = all.map((leak) => ({ leak, traits: textOf(leak.secret, leakTraits) }))
    const found = new Map<number, IssuedKey>()
    for (const provider of this.#life.providers.keys()) {
      const byId = await read.keysById(
        provider,
        traits.flatMap((t) => t.traits.keyIds),
      )
      const left = traits.filter(({ leak }) => !found.has(leak.index))
      this.#match(left, byId, found, (t) => t.keyIds, 'keyId')
      const unknown = left.filter(({ leak }) => !found.has(leak.index))
      if (unknown.length === 0) continue
      const prints = unknown.flatMap((t) => t.traits.fingerprints)
      const byPrint = await read.keysByFingerprint(provider, prints)
      this.#match(unknown, byPrint, found, (t) => t.fingerprints, 'fingerprint')
    }
    return found
  }

  #match(
    all: readonly { readonly leak: Known; readonly traits: ReturnType<typeof leakTraits> }[],
    keys: readonly IssuedKey[],
    found: Map<number, IssuedKey>,
    traitsOf: (traits: ReturnType<typeof leakTraits>) => readonly string[],
    by: 'keyId' | 'fingerprint',
  ): void {
    // Of a key in two lines (a stray that was taken over) the later generation counts.
    const known = new Map(
      keys
        .filter(({ tenant }) => tenant === this.#caller.tenant)
        .toSorted((a, b) => a.generation - b.generation)
        .map((key) => [key[by], key]),
    )
    for (const { leak, traits } of all) {
      const key = traitsOf(traits)
        .map((trait) => known.get(trait))
        .find((k) => k !== undefined)
      if (key) found.set(leak.index, key)
    }
  }

  async #end(key: IssuedKey): Promise<Partial<LeakItem>> {
    const { credential, account, provider } = key
    const row = await this.#life.store.read.credential(this.#caller.tenant, credential)
    const of = { credential, account, provider, kind: row?.kind ?? null }
    if (key.deletedAt !== null || key.status === 'revoked') {
      const message = `Generation ${key.generation} of the credential, which has ended already.`
      return { ...of, outcome: 'alreadyEnded', message }
    }
    if (key.status === 'released') {
      const message = `A key that was handed back with its account: end it at ${provider} yourself.`
      return { ...of, outcome: 'failed', message }
    }
    const known = this.#revocations.get(credential)
    if (known) return { ...of, ...(await known) }
    const revocation = this.#revoke(credential)
    this.#revocations.set(credential, revocation)
    return { ...of, ...(await revocation) }
  }

  async #revoke(credential: string): Promise<Partial<LeakItem>> {
    try {
      const reason = `leaked (report ${this.#id})`
      const operation = await replanned(() =>
        revokeCredential(this.#life, this.#caller, credential, reason, 'leaked'),
      )
      const message = 'A key of ours: its credential is being revoked; request a new one.'
      return { outcome: 'revoking', operation: operation.id, message }
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      return error.code === 'wrongState'
        ? { outcome: 'alreadyEnded', message: 'A key of ours whose credential is revoked already.' }
        : { outcome: 'failed', message: error.message }
    }
  }

  /** @returns false when the text is no token of ours */
  async #endClientToken(leak: Known): Promise<boolean> {
    const id = textOf(leak.secret, leakTraits).clientToken
    if (id === null) return false
    const { store, clock } = this.#life
    const found = await store.read.clientToken(id)
    const isReal = found !== null && sameHash(found.token.hash, this.#report.hash(leak.secret))
    if (!isReal || found.client.tenant !== this.#caller.tenant) return false
    const { token, client } = found
    const of = { kind: 'client-token' }
    if (token.revokedAt !== null || client.revokedAt !== null) {
      const message = `A token of client "${client.name}", which has ended already.`
      this.#add(leak, { ...of, outcome: 'alreadyEnded', message })
      return true
    }
    await commit(this.#life, [
      { type: 'clientToken', token: { ...token, revokedAt: clock.now() } },
      auditRow(this.#life, {
        tenant: this.#caller.tenant,
        actor: this.#caller.actor,
        action: 'client.tokenRevoked',
        target: { type: 'client', id: client.id },
        facts: { token: id, reason: 'leaked', report: this.#id },
      }),
    ])
    const message = `A token of client "${client.name}": it is refused from now on.`
    this.#add(leak, { ...of, outcome: 'ended', message })
    return true
  }

  async #handOn(taker: Provider, foreign: readonly Known[]): Promise<void> {
    const provider = taker.name
    if (!this.#report.revokeForeign) {
      const message = `Not ours. ${provider} can end it for good, everywhere: repeat with revokeForeign.`
      for (const leak of foreign)
        this.#add(leak, { provider, outcome: 'needsConfirmation', message })
      return
    }
    const { clock, ids } = this.#life
    const fingerprints = foreign.map(({ fingerprint }) => fingerprint)
    const note = (action: string, facts: JsonObject) =>
      commit(this.#life, [leakRow(this.#life, this.#caller, { action, id: this.#id, facts })])
    await note('leak.submitting', { provider, fingerprints })
    try {
      const call = {
        key: ids.next(),
        operation: null,
        signal: timeoutOf(clock, callMilliseconds),
        fence: () => Promise.resolve(true),
      }
      await taker.revokeLeaked!(
        foreign.map(({ secret }) => secret),
        call,
      )
      await note('leak.submitted', { provider, count: foreign.length })
      const message = `Handed to ${provider}, which ends it if it was alive, and does not say whether it was.`
      for (const leak of foreign) this.#add(leak, { provider, outcome: 'submitted', message })
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      await note('leak.notSubmitted', { provider, reason: error.kind })
      const wait = error.retryAfter === null ? '' : ` Repeat in ${error.retryAfter} s.`
      const message = `${error.message}${wait}`
      for (const leak of foreign) this.#add(leak, { provider, outcome: 'failed', message })
    }
  }
}

export { leakedMax }

function textOf<T>(secret: Secret, read: (text: string) => T): T {
  return secret.use((bytes) => read(bytes.toString('utf8')))
}

function leakRow(
  life: Lifecycle,
  caller: Caller,
  row: {
    readonly action: string
    readonly id: string
    readonly facts: JsonObject
    readonly decision?: Decision
  },
): Change {
  const { action, id, facts, decision = null } = row
  const target = { type: 'leak', id }
  return auditRow(life, {
    tenant: caller.tenant,
    actor: caller.actor,
    action,
    target,
    facts,
    decision,
  })
}

async function commit(life: Lifecycle, changes: readonly Change[]): Promise<void> {
  const result = await life.store.commit(changes)
  if (result !== 'saved') throw new Error(`a leak could not be written: ${result.reason}`)
}
