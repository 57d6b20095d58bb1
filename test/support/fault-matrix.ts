import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { AwsWorld } from '../../src/sandbox/aws.ts'
import type { Fault, Faults } from '../../src/sandbox/faults.ts'
import { operationOf } from '../../src/sandbox/github-routes.ts'
import type { GithubWorld } from '../../src/sandbox/github.ts'
import type { Transport, WireAnswer } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { exchange, githubUrl } from '../simulation/wire-services.ts'

/** Every fault a sandbox knows but `hold`, which is a place to kill a process. */
export const matrixFaults: readonly Fault[] = [
  { kind: 'lostResponse' },
  { kind: 'reset' },
  { kind: 'throttle', retryAfterSeconds: 2 },
  { kind: 'serverError', effect: true },
  { kind: 'serverError', effect: false },
  { kind: 'garbage' },
  { kind: 'delay', milliseconds: 0 },
]

/** One call to a provider or sink, ready to be made, with the truth about what it changes. */
export interface Scene {
  run(): Promise<unknown>
  /** What the world holds of it, in any shape that is equal when the effect is the same. */
  truth(): unknown
  /** Before a repetition, where a lost answer is found by listing (a key that the provider made). */
  recover?(): Promise<void>
  /** Texts that no error may hold. */
  readonly secrets?: readonly string[]
  /** It has one effect, so that "not applied" means that the world is as it was. */
  readonly isSingle?: true
  /** It reports what is wrong and never fails. */
  readonly reports?: true
}

export interface Bench {
  readonly faults: Faults
  /** Operations in the order they were asked for. */
  readonly calls: string[]
  /** Lets what was throttled be asked again. */
  rest(): void
  readonly scenes: Readonly<Record<string, () => Promise<Scene>>>
  close(): Promise<void>
}

/** The sandboxes' worlds without sockets: what a fault does to a request, it does here. */
export function faultyTransport(
  worlds: { readonly aws: AwsWorld; readonly github: GithubWorld },
  faults: Faults,
  calls: string[],
): Transport {
  const lost = (): never => {
    throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
  }
  return async (request, signal) => {
    signal?.throwIfAborted()
    const wire = exchange(worlds, request)
    const isGithub = request.url.origin === githubUrl
    const target = `${request.url.pathname}${request.url.search}`
    const operation = isGithub
      ? operationOf(worlds.github, request.method, target)!
      : wire.operation
    calls.push(operation)
    const fault = faults.take(operation)
    switch (fault?.kind) {
      case undefined:
      case 'hold':
        return wire.act()
      case 'lostResponse':
        wire.act()
        return lost()
      case 'reset':
        return lost()
      case 'throttle':
        return wire.throttled()
      case 'serverError':
        if (fault.effect) wire.act()
        return wire.failed()
      case 'garbage':
        return pageOf(wire.act())
      case 'delay':
        await delay(fault.milliseconds)
        return wire.act()
    }
  }
}

function pageOf({ status }: WireAnswer): WireAnswer {
  return { status, headers: { 'content-type': 'text/html' }, body: '<html>Bad gateway</html>' }
}

export interface Cell {
  readonly scene: string
  readonly operation: string
  readonly fault: Fault
}

/** Each operation of each call, as recorded from calls that go well, with each fault. */
export async function cellsOf(bench: Bench): Promise<readonly Cell[]> {
  const cells: Cell[] = []
  for (const [scene, make] of Object.entries(bench.scenes)) {
    for (const operation of new Set(await callsOf(bench, await make()))) {
      for (const fault of matrixFaults) cells.push({ scene, operation, fault })
    }
  }
  return cells
}

async function callsOf(bench: Bench, scene: Scene): Promise<readonly string[]> {
  bench.calls.length = 0
  await scene.run()
  return [...bench.calls]
}

/** Some `count` of them, spread evenly over calls, operations and faults. */
export function sampleOf(cells: readonly Cell[], count: number): readonly Cell[] {
  let stride = Math.max(1, Math.ceil(cells.length / count))
  // A multiple would meet the same fault each time.
  while (stride > 1 && stride % matrixFaults.length === 0) stride++
  return cells.filter((_, i) => i % stride === 0)
}

/** A call is asked again so often before it has to have gone well. */
const repeats = 2

/** @returns what is wrong with the cell, in sentences; empty when nothing is */
export async function tryCell(bench: Bench, cell: Cell): Promise<readonly string[]> {
  const make = bench.scenes[cell.scene]!
  const model = await make()
  const usual = (await callsOf(bench, model)).length
  const goal = inspect(model.truth(), { depth: 9 })

  bench.rest()
  const scene = await make()
  const before = inspect(scene.truth(), { depth: 9 })
  bench.calls.length = 0
  // As often as it asks: what repeats by itself shows.
  bench.faults.arm(cell.operation, cell.fault, 50)
  const first = await outcomeOf(scene)
  bench.faults.release()
  const made = bench.calls.length
  const middle = inspect(scene.truth(), { depth: 9 })

  const wrong: string[] = []
  if (first.wrong !== null) wrong.push(first.wrong)
  if (scene.reports && first.story !== 'done') wrong.push(`it fails with ${first.story}`)
  if (scene.isSingle && first.story.endsWith('/notApplied') && middle !== before) {
    wrong.push(`it says ${first.story}, but the world changed`)
  }
  // One more to look, one more to make safe: what goes beyond is a storm. Each user is looked at whole
  // in one hour of the day by its id, which is random here: four calls more, for one in 24.
  const allowed = usual + (cell.scene === 'driftPage' ? 6 : 2)
  if (made > allowed) wrong.push(`it asked ${made} times instead of ${usual}`)
  if (cell.fault.kind === 'delay' && first.story !== 'done') wrong.push('a delay made it fail')

  let last = first.story
  for (let i = 0; i < repeats && last !== 'done'; i++) {
    bench.rest()
    await scene.recover?.()
    const again = await outcomeOf(scene)
    if (again.wrong !== null) wrong.push(again.wrong)
    last = again.story
  }
  if (last !== 'done') wrong.push(`repeated, it still fails with ${last}`)
  const end = inspect(scene.truth(), { depth: 9 })
  if (end !== goal) wrong.push(`it ends with ${end} instead of ${goal}`)
  const { kind, ...more } = cell.fault
  const where = `${cell.scene}, ${cell.operation}, ${kind} ${JSON.stringify(more)}`
  return wrong.map((sentence) => `${where}: ${sentence}`)
}

async function outcomeOf(
  scene: Scene,
): Promise<{ readonly story: string; readonly wrong: string | null }> {
  try {
    const answer = await scene.run()
    return { story: 'done', wrong: leakIn(answer, scene) }
  } catch (error) {
    if (!(error instanceof ProviderError)) {
      return { story: 'broken', wrong: `it fails with ${inspect(error, { depth: 2 })}` }
    }
    return { story: `${error.kind}/${error.outcome}`, wrong: leakIn(error, scene) }
  }
}

function leakIn(value: unknown, { secrets = [] }: Scene): string | null {
  const text = inspect(value, { depth: 9, showHidden: true })
  return secrets.some((secret) => text.includes(secret)) ? 'it shows a secret' : null
}
