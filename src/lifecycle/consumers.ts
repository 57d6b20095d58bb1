import type { ServiceAccount } from '../domain/account.ts'
import type { Consumer, ConsumerReport } from '../domain/consumer.ts'
import { anyone, consumerId, consumersOf, parseConsumerId } from '../domain/consumer.ts'
import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import { formatDuration, seconds } from '../domain/time.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, save } from './context.ts'
import { capabilitiesOf } from './credential-terms.ts'
import { credentialResource } from './credentials.ts'
import type { MoveState, Promotion } from './moved.ts'
import { moveOf } from './moved.ts'
import { operationResource, visibleOperation } from './operations.ts'
import { visibleAccount } from './visible.ts'

export interface ConsumerState {
  readonly credential: string
  /** The generation that is served now. */
  readonly generation: number
  /** The highest that it said it has; null = it never said. */
  readonly seen: number | null
  readonly seenAt: Instant | null
  /** `settled`: no older key works any more, so nothing waits for it. */
  readonly state: MoveState | 'settled'
  /** Since when it is waited for. */
  readonly behindSince: Instant | null
}

export interface ConsumerView {
  readonly id: string
  readonly account: string
  readonly name: string
  readonly kind: string | null
  readonly cacheTtl: string | null
  readonly reloadHook: string | null
  readonly credentials: readonly ConsumerState[]
}

/** The consumers an account declares, and how far each of them is. @throws notFound */
export async function listConsumers(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<readonly ConsumerView[]> {
  const account = await visibleAccount(life, caller, id, { retiredToo: true })
  const { tenant } = account
  const { read } = life.store
  const consumers = consumersOf(account)
  const credentials = (await read.credentialsOf(tenant, account.id)).filter(
    (c) => c.generation > 0 && c.status === 'active',
  )
  const reports = await read.consumerReports(tenant, account.id)
  const open = await read.openOperations(tenant, account.id)
  const served = await Promise.all(
    credentials.map(async (credential) => ({
      credential,
      ...(await promotionOf(life, credential, reports, open)),
    })),
  )
  return consumers.map((consumer) => ({
    id: consumerId(account.id, consumer.name),
    account: account.id,
    name: consumer.name,
    kind: consumer.kind,
    cacheTtl: consumer.cacheTtl === null ? null : formatDuration(consumer.cacheTtl),
    reloadHook: consumer.reloadHook,
    credentials: served.map((s) => stateOf(consumer, s)),
  }))
}

interface Served {
  readonly credential: Credential
  readonly promotion: Promotion
  readonly isWaiting: boolean
}

async function promotionOf(
  life: Lifecycle,
  credential: Credential,
  reports: readonly ConsumerReport[],
  open: readonly Operation[],
): Promise<Omit<Served, 'credential'>> {
  const keys = await life.store.read.keysOf(credential.tenant, credential.id)
  const current = keys.find((k) => k.generation === credential.generation)
  const now = life.clock.now()
  const { generation } = credential
  const lag = capabilitiesOf(life, credential)
  const rotates = open.find((o) => o.kind === 'rotate' && o.subject === credential.id)
  return {
    isWaiting: keys.some((k) => k.generation < generation && k.status === 'superseded'),
    promotion: {
      generation,
      activatedAt: current?.activatedAt ?? now,
      now,
      lag: lag?.canLastUsed ? lag.lastUsedLag : seconds(0),
      newKeyUsed: rotates?.memo['newKeyUsed'] === generation,
      reports: reports.filter((r) => r.credential === credential.id),
    },
  }
}

function stateOf(consumer: Consumer, { credential, promotion, isWaiting }: Served): ConsumerState {
  const said = promotion.reports.find((r) => r.consumer === consumer.name && r.kind === 'seen')
  const move = moveOf(consumer, promotion)
  return {
    credential: credential.id,
    generation: credential.generation,
    seen: said?.generation ?? null,
    seenAt: said?.at ?? null,
    state: isWaiting ? move : move === 'seen' ? 'seen' : 'settled',
    behindSince: isWaiting && move === 'behind' ? promotion.activatedAt : null,
  }
}

/** Why the old key of a credential goes on working after its overlap; null when it does not. */
export async function waitsFor(life: Lifecycle, credential: Credential): Promise<string | null> {
  const open = await life.store.read.openOperations(credential.tenant, credential.account)
  const waiting = open.find((o) => o.subject === credential.id && waitsForConsumers(o))
  return waiting?.failure?.message ?? null
}

function waitsForConsumers({ status, failure }: Operation): boolean {
  const isBehind = failure?.code === 'consumersBehind' || failure?.code === 'oldKeyInUse'
  return status === 'waiting' && isBehind
}

export interface SeenWord {
  readonly credential: string
  readonly generation: number
}

/**
 * A consumer has read a generation. Repeating it changes nothing, and a lower one neither.
 * @throws notFound, forbidden, invalidValue for a generation that consumers never had
 */
export async function reportSeen(
  life: Lifecycle,
  caller: Caller,
  id: string,
  { credential: credentialId, generation }: SeenWord,
): Promise<ConsumerView> {
  const { account, consumer } = await namedConsumer(life, caller, id)
  const { tenant } = account
  const resource = credentialResource(account, credentialId)
  const decision = authorise(life, caller, 'consumer.seen', resource)
  const credential = await life.store.read.credential(tenant, credentialId)
  if (credential?.account !== account.id) {
    const reason = `the account of this consumer has no credential "${credentialId}".`
    throw errors.invalidValue({ path: 'credential', reason })
  }
  const keys = await life.store.read.keysOf(tenant, credential.id)
  if (!keys.some((k) => k.generation === generation && k.activatedAt !== null)) {
    const reason = `consumers never had generation ${generation} of it; now served is ${credential.generation}.`
    throw errors.invalidValue({ path: 'generation', reason })
  }
  const reports = await life.store.read.consumerReports(tenant, account.id)
  const isNews = !reports.some(
    (r) =>
      r.consumer === consumer.name &&
      r.credential === credential.id &&
      r.kind === 'seen' &&
      r.generation >= generation,
  )
  if (isNews) {
    const report: ConsumerReport = {
      tenant,
      account: account.id,
      credential: credential.id,
      consumer: consumer.name,
      kind: 'seen',
      generation,
      at: life.clock.now(),
      by: caller.actor.name,
    }
    const row = auditRow(life, {
      tenant,
      actor: caller.actor,
      action: 'consumer.seen',
      target: { type: 'credential', id: credential.id },
      decision,
      facts: { account: account.id, consumer: consumer.name, generation },
    })
    await save(life, [{ type: 'consumerReport', report }, row], { what: 'Consumer', id })
    await wakeRotation(life, credential)
  }
  const views = await listConsumers(life, caller, account.id)
  return views.find((v) => v.name === consumer.name)!
}

async function namedConsumer(
  life: Lifecycle,
  caller: Caller,
  id: string,
): Promise<{ readonly account: ServiceAccount; readonly consumer: Consumer }> {
  const named = parseConsumerId(id)
  if (named === null) throw errors.notFound({ what: 'Consumer', id })
  const account = await visibleAccount(life, caller, named.account).catch((cause: unknown) => {
    throw errors.notFound({ what: 'Consumer', id }, { cause })
  })
  const consumer = consumersOf(account).find((c) => c.name === named.name)
  if (!consumer) throw errors.notFound({ what: 'Consumer', id })
  return { account, consumer }
}

/**
 * A person answers for a consumer that does not report: the rotation no longer waits for it. For
 * `*` they answer for everybody, even for a use of the old key that is recent.
 * @throws notFound, forbidden, wrongState unless a rotation with a new key is open, invalidValue
 */
export async function waiveConsumer(
  life: Lifecycle,
  caller: Caller,
  id: string,
  { consumer, reason }: { readonly consumer: string; readonly reason: string },
): Promise<Operation> {
  const operation = await visibleOperation(life, caller, id)
  const resource = await operationResource(life, operation)
  const decision = authorise(life, caller, 'consumer.waive', resource)
  const { tenant } = operation
  const credential =
    operation.kind === 'rotate' && operation.finishedAt === null
      ? await life.store.read.credential(tenant, operation.subject)
      : null
  if (!credential || operation.memo['activatedAt'] === undefined) {
    const status = `${operation.kind} (${operation.status})`
    const next = 'Only a rotation whose new key is served waits for consumers.'
    throw errors.wrongState({ what: 'Operation', id, status, action: 'waived', next })
  }
  const account = await visibleAccount(life, caller, credential.account)
  const names = [...consumersOf(account).map((c) => c.name), anyone]
  if (!names.includes(consumer)) {
    const shown = names.map((name) => `"${name}"`).join(', ')
    const problem = `the account names no such consumer; there are ${shown} ("*" stands for everybody).`
    throw errors.invalidValue({ path: 'consumer', reason: problem })
  }
  const { generation } = credential
  const report: ConsumerReport = {
    tenant,
    account: account.id,
    credential: credential.id,
    consumer,
    kind: 'waived',
    generation,
    at: life.clock.now(),
    by: caller.actor.name,
  }
  const row = auditRow(life, {
    tenant,
    actor: caller.actor,
    action: 'consumer.waived',
    target: { type: 'credential', id: credential.id },
    decision,
    operation: operation.id,
    facts: { account: account.id, consumer, generation, reason },
  })
  await save(life, [{ type: 'consumerReport', report }, row], { what: 'Operation', id })
  await wakeRotation(life, credential)
  return (await life.store.read.operation(tenant, operation.id)) ?? operation
}

/** What waits for consumers looks again now; what cannot be woken looks by itself. */
async function wakeRotation(life: Lifecycle, { tenant, account, id }: Credential): Promise<void> {
  const at = life.clock.now()
  for (const operation of await life.store.read.openOperations(tenant, account)) {
    const { fence, subject } = operation
    if (subject !== id || !waitsForConsumers(operation)) continue
    const set = { runAt: at }
    await life.store.commit([{ type: 'advance', id: operation.id, fence, set, release: true, at }])
  }
  life.wake()
}
