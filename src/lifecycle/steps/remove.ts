import type { IssuedKey } from '../../domain/credential.ts'
import { closed, doomedKeys, forEachIsolated, notConfigured, subjectCredentials } from './doomed.ts'
import type { Doomed } from './doomed.ts'
import type { Step, StepContext } from './step.ts'
import {
  NotConfigured,
  audit,
  externalOf,
  loadAccount,
  provisioned,
  putAccount,
  putCredential,
  targetOf,
} from './step.ts'

/** Physical deletion: the key at the provider, then what consumers could still read. */
export const deleteKeys: Step = async (ctx) => {
  const { life } = ctx
  const gone = new Map<string, IssuedKey>()
  const doomed = await doomedKeys(ctx)
  await forEachIsolated(doomed, async (d) => {
    gone.set(d.key.keyId, d.key.status === 'disabled' ? await deleteKey(ctx, d) : d.key)
  })
  const credentials = await subjectCredentials(ctx)
  await forEachIsolated(credentials, async (credential) => {
    await life.sinks.get(credential.deliverTo.sink)?.remove(targetOf(credential), ctx.call())
  })
  const now = life.clock.now()
  const revoked = credentials.map((c) => ({
    ...closed(c, [...gone.values()], true),
    secretRef: null,
    previousKeyId: null,
  }))
  const changes = revoked.map((c) => putCredential(c, now))
  const [one] = revoked
  if (ctx.operation.kind !== 'revoke' || !one) return { go: 'next', changes }
  // The account may have waited for just this one.
  const account = await loadAccount(ctx, one.account)
  const all = await life.store.read.credentialsOf(account.tenant, account.id)
  return { go: 'next', changes: [...changes, ...provisioned(account, all, one, now)] }
}

/** @throws StillListed unless it was refused before or a complete listing no longer has it */
async function deleteKey(ctx: StepContext, { key, place }: Doomed): Promise<IssuedKey> {
  const { provider, external } = place()
  await provider.revoke(external, key.keyId, ctx.call())
  const listing = await provider.list(external, ctx.call())
  const absent = listing.complete && !listing.items.some((item) => item.keyId === key.keyId)
  if (key.outcome !== 'refused' && !absent) {
    throw new StillListed(
      `key ${key.keyId} was deleted at ${provider.name} but no complete listing confirms it yet`,
    )
  }
  const now = ctx.life.clock.now()
  const deleted: IssuedKey = {
    ...key,
    status: 'revoked',
    outcome: key.outcome === 'refused' ? 'refused' : 'absent',
    deletedAt: key.deletedAt ?? now,
    settledAt: absent ? now : key.settledAt,
  }
  await ctx.checkpoint({}, [
    { type: 'key', key: deleted },
    audit(
      ctx,
      'key.deleted',
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
