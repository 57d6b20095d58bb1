import type { Credential, IssuedKey, ProbeOutcome } from '../../domain/credential.ts'
import { isDelivered } from '../../domain/credential.ts'
import type { KindCapabilities, SecretSink } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { waitForBrake } from './braked.ts'
import { closed, doomedKeys, forEachIsolated, notConfigured, subjectCredentials } from './doomed.ts'
import type { Doomed } from './doomed.ts'
import { forget, isOver, listKeys, revokeKey } from './held.ts'
import { TaskOpen, awaited, onlyByHand } from './by-hand.ts'
import type { Step, StepContext } from './step.ts'
import { accountAfter } from './verify.ts'
import {
  NotConfigured,
  audit,
  externalOf,
  loadAccount,
  putAccount,
  putCredential,
  targetOf,
} from './step.ts'

/** Physical deletion: the key at the provider, then what consumers could still read. */
export const deleteKeys: Step = async (ctx) => {
  const { life } = ctx
  // What a person revoked is deleted whatever brake is on; what only the hold's end asks for waits.
  const braked = ctx.operation.kind === 'delete' ? await waitForBrake(ctx, 'delete') : null
  if (braked) return braked
  const gone = new Map<string, IssuedKey>()
  const doomed = await doomedKeys(ctx)
  await forEachIsolated(doomed, async (d) => {
    gone.set(d.key.keyId, isUnfinished(d.key) ? await deleteKey(ctx, d) : d.key)
  })
  const credentials = await subjectCredentials(ctx)
  const left: Change[] = []
  await forEachIsolated(credentials, async (credential) => {
    if (!isDelivered(credential)) return
    const sink = life.sinks.get(credential.deliverTo.sink)
    const why = sink
      ? await removeFrom(sink, credential, ctx)
      : 'the sink is not configured any more'
    if (why === null) return
    left.push(
      audit(
        ctx,
        'secret.leftInPlace',
        { type: 'credential', id: credential.id },
        { sink: credential.deliverTo.sink, path: credential.deliverTo.path, why },
      ),
    )
  })
  const now = life.clock.now()
  const ended = credentials.map((c): Credential => ({
    ...closed(c, [...gone.values()], true, life.providers.get(c.provider)?.capabilities[c.kind]),
    secretRef: null,
    previousKeyId: null,
  }))
  // The account may have waited for this one credential to come up.
  const [only] = ctx.operation.subjectType === 'credential' ? ended : []
  const after = only ? await accountAfter(ctx, await loadAccount(ctx, only.account), only) : []
  return {
    go: 'next',
    changes: [...ended.map((c) => putCredential(c, now)), ...after, ...left],
  }
}

/**
 * What lies in a sink is dead by now. A foreign object at the path is not ours to remove, so it is
 * no reason to try for ever.
 * @returns why it was left there; null = removed
 */
async function removeFrom(
  sink: SecretSink,
  credential: Credential,
  ctx: StepContext,
): Promise<string | null> {
  try {
    await sink.remove(targetOf(credential), ctx.call())
    return null
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error
    if (error.kind === 'conflict') return 'it is not what Custody put there'
    // A target or an index that the sink cannot make sense of will not mend by trying.
    if (error.kind === 'invalid' && error.outcome === 'notApplied') return error.message
    throw error
  }
}

/** A key that an earlier rotation deleted in haste was never proven dead: that is made up for here. */
function isUnfinished(key: IssuedKey): boolean {
  const proven = key.outcome === 'refused' || key.outcome === 'absent'
  return key.status === 'disabled' || (key.status === 'revoked' && !proven)
}

function finalOutcome(
  { attested }: KindCapabilities,
  key: IssuedKey,
  absent: boolean,
): ProbeOutcome {
  if (attested) return 'untestable'
  if (key.outcome === 'refused') return 'refused'
  return absent ? 'absent' : 'untestable'
}

/** @throws StillListed unless it was refused before or a complete listing no longer has it */
async function deleteKey(ctx: StepContext, { key, place }: Doomed): Promise<IssuedKey> {
  const { provider, capabilities } = place()
  if (!onlyByHand(capabilities)) await revokeKey(ctx, place(), key)
  const listing = await listKeys(ctx, place())
  const absent =
    capabilities.canList &&
    listing.complete &&
    !listing.items.some((item) => item.keyId === key.keyId)
  if (key.outcome !== 'refused' && !absent && !isOver(ctx, capabilities, key.issuedAt)) {
    const open = await awaited(ctx, key)
    if (open !== null) throw new TaskOpen(open)
    throw new StillListed(
      `key ${key.keyId} was deleted at ${provider.name} but no complete listing confirms it yet`,
    )
  }
  const now = ctx.life.clock.now()
  const deleted: IssuedKey = {
    ...key,
    status: 'revoked',
    outcome: finalOutcome(capabilities, key, absent),
    deletedAt: key.deletedAt ?? now,
    settledAt: absent ? now : key.settledAt,
  }
  await ctx.checkpoint({}, [
    { type: 'key', key: deleted },
    ...forget(capabilities, key),
    audit(
      ctx,
      // What cannot be switched off was deleted, and told, when it was to stop: this is the proof.
      key.deletedAt === null ? 'key.deleted' : `key.${deleted.outcome}`,
      { type: 'credential', id: key.credential },
      {
        provider: key.provider,
        keyId: key.keyId,
        generation: key.generation,
        outcome: deleted.outcome,
      },
    ),
  ])
  return deleted
}

/** Deleted, says the provider; not proven yet, say we. Tried again. */
export class StillListed extends Error {
  override readonly name = 'StillListed'
}

/** The account's identities at the providers, with everything that is attached to them. */
export const deletePrincipals: Step = async (ctx) => {
  const braked = await waitForBrake(ctx, 'delete')
  if (braked) return braked
  const { life, operation } = ctx
  const principals = await life.store.read.principalsOf(operation.tenant, operation.account!)
  await forEachIsolated(principals, async (principal) => {
    if (principal.state === 'absent' || principal.external === null) return
    const provider = life.providers.get(principal.provider)
    if (!provider) throw new NotConfigured(notConfigured(principal.provider))
    // What was there before Custody is handed back switched off, never deleted.
    if (principal.created) await provider.deletePrincipal(externalOf(principal), ctx.call())
    const state = principal.created ? 'absent' : 'off'
    await ctx.checkpoint({}, [
      { type: 'principal', principal: { ...principal, state, updatedAt: life.clock.now() } },
      audit(
        ctx,
        principal.created ? 'principal.deleted' : 'principal.left',
        { type: 'account', id: principal.account },
        { provider: principal.provider },
      ),
    ])
  })
  const account = await loadAccount(ctx, operation.account!)
  const now = life.clock.now()
  return {
    go: 'next',
    changes: [
      putAccount(
        {
          ...account,
          status: 'retired',
          retiredAt: account.retiredAt ?? now,
          deleteAt: null,
          pendingOwner: null,
        },
        now,
      ),
      audit(
        ctx,
        'account.deleted',
        { type: 'account', id: account.id },
        { reason: account.statusReason },
      ),
    ],
  }
}
