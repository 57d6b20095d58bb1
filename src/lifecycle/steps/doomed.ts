import type { Credential, CredentialStatus, IssuedKey } from '../../domain/credential.ts'
import type { Instant } from '../../domain/time.ts'
import { later } from '../../domain/time.ts'
import type { KindCapabilities } from '../../provider/contract.ts'
import type { KeyPlace } from './proof.ts'
import type { StepContext } from './step.ts'
import { NotConfigured, Preempted, externalOf } from './step.ts'

/** A key of the operation's subject with everything that is needed to act on it. */
export interface Doomed {
  readonly key: IssuedKey
  readonly credential: Credential
  /** @throws NotConfigured when its provider left the configuration; the other keys are not held up */
  readonly place: () => KeyPlace
}

/** The keys below the subject: one credential's (`revoke`) or the whole account's. */
export async function doomedKeys(ctx: StepContext): Promise<readonly Doomed[]> {
  const { life, operation } = ctx
  const keys =
    operation.subjectType === 'credential'
      ? await life.store.read.keysOf(operation.tenant, operation.subject as Credential['id'])
      : await life.store.read.keysOfAccount(operation.tenant, operation.account!)
  const credentials = new Map((await subjectCredentials(ctx)).map((c) => [c.id, c]))
  const principals = await life.store.read.principalsOf(operation.tenant, operation.account!)
  return keys.map((key) => {
    const credential = credentials.get(key.credential)!
    return {
      key,
      credential,
      place: () => {
        const provider = life.providers.get(key.provider)
        const capabilities = provider?.capabilities[credential.kind]
        if (!provider || !capabilities) throw new NotConfigured(notConfigured(key.provider))
        return {
          credential,
          provider,
          capabilities,
          sink: life.sinks.get(credential.deliverTo.sink) ?? null,
          external: externalOf(principals.find((p) => p.provider === key.provider) ?? null),
        }
      },
    }
  })
}

export function notConfigured(provider: string): string {
  return `provider "${provider}" is not configured any more, so its keys cannot be acted on; put it back`
}

export async function subjectCredentials(ctx: StepContext): Promise<readonly Credential[]> {
  const { life, operation } = ctx
  if (operation.subjectType === 'account') {
    return life.store.read.credentialsOf(operation.tenant, operation.account!)
  }
  const credential = await life.store.read.credential(operation.tenant, operation.subject)
  return credential ? [credential] : []
}

export const alive = (key: IssuedKey): boolean =>
  key.status === 'issuing' || key.status === 'active' || key.status === 'superseded'

export const unproven = (key: IssuedKey): boolean =>
  key.status === 'disabled' && key.outcome === null

/** A credential is as dead as its least dead key. */
export function closed(
  credential: Credential,
  keys: readonly IssuedKey[],
  forGood: boolean,
  capabilities?: KindCapabilities,
): Credential {
  const own = keys.filter((k) => k.credential === credential.id && k.status !== 'failed')
  const proven = own.every(
    (k) =>
      k.outcome === 'refused' ||
      k.outcome === 'absent' ||
      // Nothing better than a person's word is ever to be had.
      (capabilities?.attested === true && k.status === 'revoked'),
  )
  const refusals = own.flatMap((k) => (k.refusedAt === null ? [] : [k.refusedAt]))
  const status: CredentialStatus = forGood && proven ? 'revoked' : 'disabled'
  return {
    ...credential,
    status,
    refusedAt: refusals.length > 0 ? refusals.reduce(later) : null,
    settledAt: own.reduce<Instant | null>((last, k) => k.settledAt ?? last, null),
  }
}

/**
 * Runs `act` on every item, whatever happens to the others, and then throws the first failure: one
 * poisoned target cannot keep the rest alive (R30, R86).
 */
export async function forEachIsolated<T>(
  items: readonly T[],
  act: (item: T) => Promise<void>,
): Promise<void> {
  let failed = false
  let first: unknown = null
  for (const item of items) {
    try {
      await act(item)
    } catch (error) {
      if (error instanceof Preempted) throw error
      if (!failed) first = error
      failed = true
    }
  }
  if (failed) throw first
}
