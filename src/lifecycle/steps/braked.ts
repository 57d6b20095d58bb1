import { addSeconds } from '../../domain/time.ts'
import type { BrakedAct } from '../brakes.ts'
import { brakeOn, currentBrakes, nameOf } from '../brakes.ts'
import { checkMarks } from '../restored.ts'
import type { StepContext, StepResult } from './step.ts'

/** How soon to look again; a release wakes the worker, but not in other processes. */
const lookAgainSeconds = 30

/** The wait of a step that a brake stops; null = go on. It is no failure: it counts no attempt. */
export async function waitForBrake(
  { life, operation }: StepContext,
  ...acts: readonly BrakedAct[]
): Promise<StepResult | null> {
  const brakes = await currentBrakes(life)
  for (const act of acts) {
    const brake = brakeOn(brakes, act, operation.tenant)
    if (!brake) continue
    return {
      go: 'wait',
      until: addSeconds(life.clock.now(), lookAgainSeconds),
      sameAttempt: true,
      failure: {
        code: 'braked',
        message: `the brake "${nameOf(brake)}" is on since ${brake.since}; this goes on once it is released (custody brake list)`,
      },
    }
  }
  return null
}

/** The same, when what a provider bears was made by an operation that our journal does not know. */
export async function waitIfRestored(
  ctx: StepContext,
  provider: string,
  marked: readonly { readonly operation?: string }[],
): Promise<StepResult | null> {
  const { life, operation } = ctx
  const facts = { provider, account: operation.account }
  const marks = marked.flatMap((m) =>
    m.operation === undefined ? [] : [{ operation: m.operation, facts }],
  )
  if (!(await checkMarks(life, marks, operation.tenant))) return null
  return (await waitForBrake(ctx, 'mint')) ?? { go: 'wait', until: life.clock.now() }
}
