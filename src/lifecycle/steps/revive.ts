import type { Credential } from '../../domain/credential.ts'
import type { Change } from '../../store/store.ts'
import type { Instant } from '../../domain/time.ts'
import { planOperation } from '../context.ts'
import { endedSince } from '../undo.ts'
import { forget, revokeKey } from './held.ts'
import type { Doomed } from './doomed.ts'
import { doomedKeys, notConfigured, subjectCredentials } from './doomed.ts'
import type { Step, StepContext } from './step.ts'
import {
  NotConfigured,
  audit,
  externalOf,
  memoOf,
  loadAccount,
  putAccount,
  putCredential,
  targetOf,
} from './step.ts'
import { catchUp } from './rescope.ts'
import { moveConsumers } from './verify.ts'

/**
 * Takes a switch-off back. After an operator's pause the same keys work again; in every other case
 * somebody may know them, so each is deleted and a new generation is issued.
 */
export const turnOn: Step = async (ctx) => {
  const { life, operation } = ctx
  const now = life.clock.now()
  const sameKeys = operation.memo['sameKeys'] === true
  for (const principal of await life.store.read.principalsOf(
    operation.tenant,
    operation.account!,
  )) {
    if (principal.state !== 'off') continue
    const provider = life.providers.get(principal.provider)
    if (!provider) throw new NotConfigured(notConfigured(principal.provider))
    await provider.turnOn(externalOf(principal), ctx.call())
    await ctx.checkpoint({}, [
      { type: 'principal', principal: { ...principal, state: 'live', updatedAt: now } },
      audit(
        ctx,
        'principal.turnedOn',
        { type: 'account', id: principal.account },
        { provider: principal.provider },
      ),
    ])
  }
  const changes: Change[] = []
  const revived: string[] = []
  const doomed = await doomedKeys(ctx)
  for (const credential of sameKeys ? await subjectCredentials(ctx) : []) {
    const current = doomed.find((d) => isCurrent(d, credential))
    if (!current || credential.status !== 'disabled') continue
    if (current.key.deletedAt !== null || !current.place().capabilities.canDisable) continue
    changes.push(...(await reviveKey(ctx, current)))
    changes.push(...(await reviveOverlap(ctx, doomed, credential)))
    // What was taken from it meanwhile must not come back with it.
    changes.push(...(await catchUp(ctx, await loadAccount(ctx, credential.account), credential)))
    revived.push(credential.id)
  }
  // Planned by a version that did not try what it had switched on.
  const isLast = operation.steps.at(-1) === 'turn-on'
  if (isLast) changes.push(...(await bringUp(ctx, new Set(revived))))
  return { go: 'next', memo: { revived, revivedAt: now }, changes }
}

const isCurrent = ({ key }: Doomed, credential: Credential): boolean =>
  key.credential === credential.id &&
  key.generation === credential.generation &&
  key.status === 'disabled'

/**
 * Makes anew what was not revived, and says that the account is up.
 * @param revived credentials whose key works again
 */
export async function bringUp(
  ctx: StepContext,
  revived: ReadonlySet<string>,
): Promise<readonly Change[]> {
  const { life, operation } = ctx
  const changes: Change[] = []
  const doomed = await doomedKeys(ctx)
  let reissued = 0
  for (const credential of await subjectCredentials(ctx)) {
    // A failed one never worked: enabling is how an operator says "try again".
    const isOff = credential.status === 'disabled' || credential.status === 'failed'
    if (!isOff || revived.has(credential.id)) continue
    changes.push(...(await reissue(ctx, credential, doomed)))
    reissued += 1
  }
  const account = await loadAccount(ctx, operation.account!)
  const status = reissued > 0 ? 'provisioning' : 'active'
  changes.push(putAccount({ ...account, status, statusReason: null }, life.clock.now()))
  return changes
}

/**
 * The old key of a rotation that the switching off cut short works again too, when that is undone:
 * some consumers may hold it still. What ends it is the rotation sweep, as it ends all left behind.
 */
async function reviveOverlap(
  ctx: StepContext,
  doomed: readonly Doomed[],
  credential: Credential,
): Promise<readonly Change[]> {
  const since = memoOf<Instant>(ctx, 'since')
  if (since === null) return []
  const changes: Change[] = []
  for (const { key, place } of doomed) {
    if (key.credential !== credential.id || !endedSince(key, since)) continue
    const { provider, external } = place()
    await provider.enable(external, key.keyId, ctx.call())
    const back = { disabledAt: null, refusedAt: null, settledAt: null, outcome: null }
    const { keyId, generation } = key
    changes.push(
      { type: 'key', key: { ...key, ...back, status: 'superseded' } },
      audit(
        ctx,
        'key.enabled',
        { type: 'credential', id: credential.id },
        { provider: key.provider, keyId, generation },
      ),
    )
  }
  return changes
}

async function reviveKey(
  ctx: StepContext,
  { key, credential, place }: Doomed,
): Promise<readonly Change[]> {
  const { provider, external, sink } = place()
  await provider.enable(external, key.keyId, ctx.call())
  if (sink && key.sinkVersion !== null) {
    // A rotation that the pause cut off may have moved consumers to the key that never came to be.
    const keys = await ctx.life.store.read.keysOf(credential.tenant, credential.id)
    await moveConsumers(ctx, { keys, sink, target: targetOf(credential) }, key)
  }
  return [
    {
      type: 'key',
      key: {
        ...key,
        status: 'active',
        disabledAt: null,
        refusedAt: null,
        settledAt: null,
        outcome: null,
      },
    },
    putCredential(
      { ...credential, status: 'active', refusedAt: null, settledAt: null },
      ctx.life.clock.now(),
    ),
    audit(
      ctx,
      'key.enabled',
      { type: 'credential', id: credential.id },
      { provider: key.provider, keyId: key.keyId, generation: key.generation },
    ),
  ]
}

async function reissue(
  ctx: StepContext,
  credential: Credential,
  doomed: readonly Doomed[],
): Promise<readonly Change[]> {
  const { life, operation } = ctx
  for (const { key, place } of doomed) {
    if (key.credential !== credential.id || key.status !== 'disabled') continue
    const at = place()
    await revokeKey(ctx, at, key)
    await ctx.checkpoint({}, [
      ...forget(at.capabilities, key),
      {
        type: 'key',
        key: { ...key, status: 'revoked', deletedAt: key.deletedAt ?? life.clock.now() },
      },
      // What cannot be switched off was deleted, and told, when it was to stop.
      ...(key.deletedAt === null
        ? [
            audit(
              ctx,
              'key.deleted',
              { type: 'credential', id: credential.id },
              { provider: key.provider, keyId: key.keyId, generation: key.generation },
            ),
          ]
        : []),
    ])
  }
  const issue = planOperation(life, {
    tenant: operation.tenant,
    kind: 'issue',
    subjectType: 'credential',
    subject: credential.id,
    account: operation.account,
    provider: credential.provider,
    actor: operation.actor,
    cause: operation.cause,
  })
  return [
    putCredential(
      { ...credential, status: 'pending', keyId: null, previousKeyId: null },
      life.clock.now(),
    ),
    { type: 'enqueue', operation: issue, preempt: false },
  ]
}
