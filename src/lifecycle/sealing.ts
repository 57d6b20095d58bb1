import { hkdfSync } from 'node:crypto'
import type { IssuedKey } from '../domain/credential.ts'
import type { SealKey } from '../domain/seal.ts'
import { rewrap, seal, SealBroken, sealKeyIdOf, sealKeyOf, unseal } from '../domain/seal.ts'
import { Secret } from '../domain/secret.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, day } from '../domain/time.ts'
import type { Change, Sealed, Store } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise } from './context.ts'

type KeyOf = Pick<IssuedKey, 'tenant' | 'credential' | 'keyId'>

/** Keeps the secrets that ending their keys needs. */
export interface Sealer {
  /** The change that keeps a secret; goes into the commit that journals its key. */
  seal(secret: Secret, of: KeyOf, expiresAt: Instant): Promise<Change>
  /** @returns null when nothing is kept, or what is kept cannot be opened: then nobody can use it */
  held(of: KeyOf): Promise<Secret | null>
  /** From now on seals under a new key, and wraps what is kept anew. @returns how many were */
  rotate(): Promise<number>
}

/** So long after its end a secret is still kept: what ends with its lease is to be proven dead, too. */
export const sealedGraceSeconds = day

const generationKey = 'sealKeyGeneration'
const pageSize = 200

/**
 * Seal keys are made of one root, the master key's, and the number of their generation: an older
 * one can always be made again, so no rotation can lose a secret.
 * @param root 32 bytes
 */
export function createSealer(host: {
  readonly store: Store
  readonly root: Secret
  readonly random: (length: number) => Uint8Array
}): Sealer {
  const { store, root, random } = host
  const keys = new Map<number, SealKey>()
  const keyOf = (generation: number): SealKey => {
    const known = keys.get(generation)
    if (known) return known
    const info = `custody seal key ${generation}`
    const made = root.use((bytes) => Buffer.from(hkdfSync('sha256', bytes, '', info, 32)))
    const key = sealKeyOf(Secret.of(made))
    keys.set(generation, key)
    return key
  }
  let newest = 1
  const learn = async (): Promise<number> => {
    newest = Math.max(newest, Number((await store.read.meta(generationKey)) ?? 1))
    return newest
  }
  const all = (): readonly SealKey[] => Array.from({ length: newest }, (_, i) => keyOf(newest - i))

  return {
    async seal(secret, of, expiresAt) {
      const { tenant, credential, keyId } = of
      // Asked each time: an older key, which another process has replaced, must seal nothing new.
      const envelope = seal(secret, of, keyOf(await learn()), random)
      return { type: 'sealed', sealed: { tenant, credential, keyId, envelope, expiresAt } }
    },
    async held(of) {
      const row = await store.read.sealed(of.tenant, of.credential, of.keyId)
      if (!row) return null
      // Another replica may have gone on to a newer key.
      if (!all().some((key) => key.id === sealKeyIdOf(row.envelope))) await learn()
      try {
        return unseal(row.envelope, of, all())
      } catch (error) {
        if (error instanceof SealBroken) return null
        throw error
      }
    },
    async rotate() {
      const generation = (await learn()) + 1
      await store.commit([{ type: 'meta', key: generationKey, value: String(generation) }])
      newest = generation
      let wrapped = 0
      for (let after: Sealed | null = null; ;) {
        const page: readonly Sealed[] = await store.read.allSealed(after, pageSize)
        const changes = page.flatMap((row): Change[] => {
          if (sealKeyIdOf(row.envelope) === keyOf(generation).id) return []
          try {
            const envelope = rewrap(row.envelope, row, all(), keyOf(generation), random)
            return [{ type: 'sealed', sealed: { ...row, envelope } }]
          } catch (error) {
            if (error instanceof SealBroken) return []
            throw error
          }
        })
        if (changes.length > 0) await store.commit(changes)
        wrapped += changes.length
        after = page.at(-1) ?? null
        if (page.length < pageSize) return wrapped
      }
    },
  }
}

/**
 * For whoever may have seen a key or a backup of the database: from now on under a new seal key.
 * @throws forbidden
 */
export async function rotateSealKey(
  life: Lifecycle,
  caller: Caller,
  reason: string,
): Promise<{ readonly wrapped: number }> {
  const target = { type: 'tenant', id: caller.tenant } as const
  const decision = authorise(life, caller, 'seal.rotate', target)
  const wrapped = (await life.sealer?.rotate()) ?? 0
  const { tenant, actor } = caller
  const facts = { wrapped, reason }
  const row = auditRow(life, { tenant, actor, action: 'seal.rotated', target, decision, facts })
  await life.store.commit([row])
  return { wrapped }
}

/** What nobody needs any more goes with the expiry sweep. */
export function sweepSealed(now: Instant): Change {
  return { type: 'sealedSwept', before: addSeconds(now, 0 - sealedGraceSeconds) }
}
