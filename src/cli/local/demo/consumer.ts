import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises'
import type { KeyPair } from '../../../sandbox/caller.ts'
import { awsCaller, keyPairOf } from '../../../sandbox/caller.ts'
import { Secret } from '../../../domain/secret.ts'
import type { Account } from './company.ts'
import { secretName } from './judge.ts'
import type { Stage } from './stage.ts'

/** The secret that every access key of the company may read: what its consumers work with. */
export const applicationSecret = 'app/config'

/** A program that does its work with an account's key and reads the key again every so often. */
export interface Consumer {
  readonly calls: number
  readonly failed: number
  /** What the first failed call said; null while all went well. */
  readonly firstFailure: string | null
  /** The key in use. */
  readonly keyId: string
  stop(): Promise<void>
}

/** How long the consumer holds a key before it reads AWSCURRENT again. */
export const rereadMilliseconds = 100

/**
 * Starts calling, one call after the other.
 * @param pauseMilliseconds between calls; 0 = as fast as they are answered
 */
export async function startConsumer(
  stage: Stage,
  account: Account,
  pauseMilliseconds: number,
): Promise<Consumer> {
  // Reads the secret as what it runs on may (an instance role, say), not with the key inside it.
  const platform = awsCaller(stage.aws.url, stage.aws.world.admin)
  const read = async (): Promise<KeyPair> => {
    using secret = Secret.ofText(await platform.readSecret(secretName(account)))
    return keyPairOf(secret)
  }
  let caller = awsCaller(stage.aws.url, await read())
  let calls = 0
  let failed = 0
  let firstFailure: string | null = null
  const stopping = new AbortController()
  const stopped = AbortSignal.any([stopping.signal, stage.signal])

  const once = async (readAt: number): Promise<number> => {
    calls += 1
    try {
      if (performance.now() - readAt > rereadMilliseconds) {
        const pair = await read()
        readAt = performance.now()
        if (pair.accessKeyId !== caller.accessKeyId) {
          caller.close()
          caller = awsCaller(stage.aws.url, pair)
        }
      }
      await caller.readSecret(applicationSecret)
    } catch (error) {
      failed += 1
      firstFailure ??= `${(error as Error).name} with ${caller.accessKeyId}`
    }
    return readAt
  }
  const running = (async () => {
    let readAt = performance.now()
    while (!stopped.aborted) {
      readAt = await once(readAt)
      await (pauseMilliseconds > 0 ? sleep(pauseMilliseconds) : breathe())
    }
    caller.close()
    platform.close()
  })()

  return {
    get calls() {
      return calls
    },
    get failed() {
      return failed
    },
    get firstFailure() {
      return firstFailure
    },
    get keyId() {
      return caller.accessKeyId
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
