import type { IssuedKey } from '../../domain/credential.ts'
import type { ExternalCredential, Issued, WantedCredential } from '../../provider/contract.ts'
import { shownVersion } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import { expiryOf } from '../credentials.ts'
import { leaseEnd } from './held.ts'
import type { StepContext, StepResult, Subject } from './step.ts'
import { Preempted, audit } from './step.ts'
import type { Mint } from './strays.ts'
import { strayKey, takeBack } from './strays.ts'

export function wanted(ctx: StepContext, subject: Subject, mint: Mint): WantedCredential {
  const { credential, account } = subject
  return {
    tenant: credential.tenant,
    account: account.id,
    credential: credential.id,
    kind: credential.kind,
    generation: mint.generation,
    scopes: mint.scopes ?? credential.scopes,
    expiresAt: expiryOf(credential, account),
    operation: ctx.operation.id,
    publicPart: mint.publicPart,
  }
}

export function isKnown({ keys }: Subject, mint: Mint): boolean {
  return keys.some((k) => k.keyId === mint.keyId && k.generation !== mint.generation)
}

/**
 * What the provider calls new is a key that we had. Going on would end the old key at last, and
 * with it the new one; giving up would delete it now. So the attempt is forgotten (R41).
 */
export async function sameKey(ctx: StepContext, subject: Subject, mint: Mint): Promise<StepResult> {
  if (mint.version !== null) {
    await subject.sink.discard(subject.target, mint.version, ctx.call())
  }
  const message = `${subject.provider.name} answered with key ${mint.keyId}, which this credential had before: nothing was rotated; check the provider, then retry or cancel`
  return { ...ask('sameKey', message), memo: { mint: null } }
}

/**
 * Commits that a key exists. When a revocation took over while the call was in flight, the key row
 * is still written, without the fence, unless it was found by then: the revocation's later listing
 * then knows it as ours.
 */
export async function recordMinted(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
  issued: Pick<Issued, 'secret' | 'expiresAt'>,
): Promise<void> {
  const { life } = ctx
  const key: IssuedKey = {
    tenant: subject.credential.tenant,
    credential: subject.credential.id,
    account: subject.account.id,
    provider: subject.provider.name,
    generation: mint.generation,
    keyId: mint.keyId!,
    fingerprint: mint.fingerprint!,
    sinkVersion: mint.version,
    status: 'issuing',
    issuedAt: life.clock.now(),
    activatedAt: null,
    supersededAt: null,
    disabledAt: null,
    refusedAt: null,
    settledAt: null,
    outcome: null,
    deletedAt: null,
  }
  const changes: readonly Change[] = [
    { type: 'key', key },
    ...(await kept(ctx, subject, key, issued)),
    audit(
      ctx,
      'key.issued',
      { type: 'credential', id: key.credential },
      {
        provider: key.provider,
        keyId: key.keyId,
        generation: key.generation,
        fingerprint: key.fingerprint,
      },
    ),
  ]
  try {
    await ctx.checkpoint({ mint }, changes)
  } catch (error) {
    if (error instanceof Preempted) {
      if (await isUnheardOf(ctx, key)) await life.store.commit(changes)
      else await takeBack(ctx, subject, key.keyId, issued.secret)
    }
    throw error
  }
}

/** Kept under seal, where ending the key needs it: in the commit that journals the key, or never. */
async function kept(
  { life }: StepContext,
  { capabilities }: Subject,
  key: IssuedKey,
  { secret, expiresAt }: Pick<Issued, 'secret' | 'expiresAt'>,
): Promise<readonly Change[]> {
  if (!capabilities.keepsSecret || secret === null) return []
  if (!life.sealer) throw new Error('this process keeps no sealed secrets')
  const ends = expiresAt ?? leaseEnd(capabilities, key.issuedAt)
  if (ends === null) throw new Error(`a secret of ${key.provider} would have to be kept for ever`)
  return [await life.sealer.seal(secret, key, ends)]
}

/**
 * Whether nobody else will find the key: its operation was cancelled, and its row is free. One that
 * another worker took over (this process stood still for longer than its lease) is resolved there;
 * written over what that one wrote, a key in use would look half made, and be removed.
 */
async function isUnheardOf(ctx: StepContext, key: IssuedKey): Promise<boolean> {
  const { read } = ctx.life.store
  const operation = await read.operation(ctx.operation.tenant, ctx.operation.id)
  if (operation?.status !== 'cancelled') return false
  const known = await read.keysOf(key.tenant, key.credential)
  return !known.some((k) => k.keyId === key.keyId || k.generation === key.generation)
}

export async function delivered(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
): Promise<StepResult> {
  const keys = await ctx.life.store.read.keysOf(ctx.operation.tenant, subject.credential.id)
  const key = keys.find((k) => k.generation === mint.generation)
  return {
    go: 'next',
    memo: { mint },
    changes: [
      ...(key ? [{ type: 'key', key: { ...key, sinkVersion: mint.version } } as const] : []),
      audit(
        ctx,
        'key.delivered',
        { type: 'credential', id: subject.credential.id },
        {
          sink: subject.sink.name,
          path: subject.target.path,
          version: mint.version === null ? null : shownVersion(mint.version),
          generation: mint.generation,
        },
      ),
    ],
  }
}

/**
 * Forgets the attempt; the next run of the step begins afresh, with a new generation. Failures go
 * on counting: a sink that refuses every delivery must not mint and delete keys for ever.
 */
export async function startOver(
  ctx: StepContext,
  subject: Subject,
  mint: Mint,
  action: string | null,
  keyId: string | null,
): Promise<StepResult> {
  const now = ctx.life.clock.now()
  const key = subject.keys.find((k) => k.generation === mint.generation)
  const changes: Change[] = []
  if (key)
    changes.push({
      type: 'key',
      key: { ...key, status: 'failed', disabledAt: now, deletedAt: now },
    })
  else if (keyId !== null) {
    const of = { credential: subject.credential.id, principal: subject.principal! }
    changes.push({ type: 'key', key: strayKey(of, mint, keyId, now) })
  }
  if (action) {
    changes.push(
      audit(
        ctx,
        action,
        { type: 'credential', id: subject.credential.id },
        {
          provider: subject.provider.name,
          keyId,
          generation: mint.generation,
        },
      ),
    )
  }
  return { go: 'wait', until: now, memo: { mint: null }, changes, sameAttempt: true }
}

export function incomplete(provider: string): StepResult {
  return {
    go: 'retry',
    failure: {
      code: 'listingIncomplete',
      message: `the listing of ${provider} was incomplete; nothing is decided from it`,
    },
    after: null,
  }
}

export function ask(code: string, message: string): StepResult {
  return { go: 'ask', failure: { code, message } }
}

export function foreignSentence(subject: Subject, keys: readonly ExternalCredential[]): string {
  const ids = keys.map((k) => k.keyId).join(', ')
  return `${subject.provider.name} holds key(s) on this account that Custody cannot prove to be its own: ${ids}; decide whether to delete them there, then retry`
}
