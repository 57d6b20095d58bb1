import type { IssuedKey } from '../../domain/credential.ts'
import type { Failure } from '../../domain/operation.ts'
import { addSeconds, seconds } from '../../domain/time.ts'
import type { KindCapabilities } from '../../provider/contract.ts'
import { ProviderError } from '../../provider/contract.ts'
import { askPerson, createTaskBook, openTaskOf, taskPollSeconds, waitingFor } from '../tasks.ts'
import type { KeyPlace } from './proof.ts'
import type { StepContext, StepResult } from './step.ts'

/** What no API ends: somebody has to be asked. */
export function onlyByHand({ canDisable, canRevoke }: KindCapabilities): boolean {
  return !canDisable && !canRevoke
}

/** Whether a person ends it, asked by its provider or by us. */
export function isByHand(capabilities: KindCapabilities): boolean {
  return capabilities.attested === true || onlyByHand(capabilities)
}

/** How long somebody has to end by hand what may be in wrong hands. */
const dueSeconds = seconds(86_400)

/** Asks whoever answers for the account to end a key where its provider has no API for it. */
export async function askToEnd(ctx: StepContext, place: KeyPlace, key: IssuedKey): Promise<void> {
  const { provider, external } = place
  const instructions = await provider.revoke(external, key.keyId, ctx.call()).then(
    () => null,
    (error: unknown) => {
      if (error instanceof ProviderError && error.kind === 'denied') return error.message
      throw error
    },
  )
  // Somebody was quicker, says the provider: the proof will tell.
  if (instructions === null) return
  await askPerson(ctx.life, {
    tenant: key.tenant,
    provider: key.provider,
    account: key.account,
    credential: key.credential,
    keyId: key.keyId,
    action: 'remove',
    instructions,
    assignee: null,
    due: dueSeconds,
    operation: ctx.operation.id,
  })
}

/** It is gone, says the provider itself: nobody need do it any more. */
export async function withdrawAsked(ctx: StepContext, key: IssuedKey): Promise<void> {
  await createTaskBook(ctx.life).withdraw({ ...key, action: 'remove' })
}

/** What the key's end waits for somebody to do; null when nobody was asked, or has done it. */
export async function awaited(ctx: StepContext, key: IssuedKey): Promise<Failure | null> {
  const tasks = await ctx.life.store.read.tasksOfAccount(key.tenant, key.account)
  const task = openTaskOf(tasks, key)
  return task && waitingFor(task, ctx.life.clock.now())
}

/** Thrown by a step that can go no further until somebody has done what they were asked. */
export class TaskOpen extends Error {
  override readonly name = 'TaskOpen'
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

/** Not a failure to be tried again: evidence wakes it, and now and then it looks by itself. */
export function waitForTask(ctx: StepContext, failure: Failure): StepResult {
  return { go: 'wait', until: addSeconds(ctx.life.clock.now(), taskPollSeconds), failure }
}
