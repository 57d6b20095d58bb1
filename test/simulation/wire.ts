import type { Transport, WireAnswer } from '../../src/provider/contract.ts'
import { proxyPage } from '../../src/sandbox/aws.ts'
import type { Process } from './process.ts'
import type { Scheduler } from './scheduler.ts'
import type { Exchange, Worlds } from './wire-services.ts'
import { exchange, quotaOperations } from './wire-services.ts'
import type { Witness } from './witness.ts'

/** What goes wrong with a call (trust.md R6). `after` = the effect has happened by then. */
export const troubles = [
  'throttle',
  'error before',
  'error after',
  'reset before',
  'reset after',
  'silence before',
  'silence after',
  'slow',
  'slow after',
  'twice',
  'partial page',
  'missing page',
  'denied',
  'quota',
  'attached',
  'skewed',
  'garbage after',
  'torn after',
] as const
export type Trouble = (typeof troubles)[number]

/** Whether a call of that name can meet it; elsewhere nothing happens. */
export function isPossible(trouble: Trouble, operation: string): boolean {
  switch (trouble) {
    case 'partial page':
    case 'missing page':
      return operation.startsWith('List')
    case 'attached':
      return operation === 'DeleteUser'
    case 'quota':
      return quotaOperations.includes(operation) || operation.startsWith('POST')
    case 'twice':
      return operation !== 'CreateAccessKey'
    default:
      return true
  }
}

/** Which troubles are about, and how often each strikes; empty = a good day. */
export type Weather = ReadonlyMap<Trouble, number>

/** Decides what happens to a call, given what it is. */
export type Fate = (call: Exchange) => Trouble | null

/** The providers as a process reaches them: no sockets, and the weather in between. */
export function transportOf(
  process: Process,
  scheduler: Scheduler,
  worlds: Worlds,
  witness: Witness,
  fate: Fate,
): Transport {
  const { chance } = scheduler
  let pagesFail = false
  return async (request, signal) => {
    const call = exchange(worlds, request)
    const trouble = fate(call)
    const act = (inPages = false): WireAnswer => {
      const answer = inPages ? call.actInPages() : call.act()
      witness.saw(call.operation, request, answer)
      return answer
    }
    const refusal = refusalOf(call, trouble)
    await process.step(5 + chance.below(60))
    if (signal?.aborted) throw new Error('given up before it was sent')
    if (trouble === 'slow') await silence(process, signal, 1_000 + chance.below(12_000))
    if (trouble === 'silence before') await silence(process, signal, 120_000)
    if (trouble === 'reset before') throw new Error('ECONNRESET')
    if (refusal !== null) return refusal
    if (pagesFail && call.isLaterPage) {
      pagesFail = false
      return call.failed()
    }
    // A proxy may repeat what it takes for harmless; nobody repeats what mints.
    if (trouble === 'twice' && call.isRepeatable) act()
    const answered = act(trouble === 'partial page' || trouble === 'missing page')
    if (trouble === 'missing page') pagesFail = true
    await process.step(5 + chance.below(60))
    switch (trouble) {
      case 'silence after':
        await silence(process, signal, 120_000)
        return answered
      case 'slow after':
        await silence(process, signal, 30_000)
        return answered
      case 'reset after':
        throw new Error('ECONNRESET')
      case 'error after':
        return call.failed()
      case 'garbage after':
        return proxyPage(answered)
      case 'torn after':
        return { ...answered, body: answered.body.slice(0, answered.body.length >> 1) }
      default:
        return answered
    }
  }
}

/** What is answered instead of acting; null = nothing of the kind. */
function refusalOf(call: Exchange, trouble: Trouble | null): WireAnswer | null {
  switch (trouble) {
    case 'throttle':
      return call.throttled()
    case 'error before':
      return call.failed()
    case 'denied':
      return call.denied()
    case 'quota':
      return call.quota()
    case 'attached':
      return call.attached()
    case 'skewed':
      return call.skewed()
    default:
      return null
  }
}

/** Each call meets what the weather has, by chance. */
export function fateOf({ chance }: Scheduler, weather: () => Weather): Fate {
  return () => {
    for (const [trouble, rate] of weather()) {
      if (chance.happens(rate)) return trouble
    }
    return null
  }
}

/** Waits, unless whoever waits gives up. */
async function silence(
  process: Process,
  signal: AbortSignal | null,
  milliseconds: number,
): Promise<void> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal?.addEventListener('abort', () => {
      const error = new Error('timeout')
      error.name = 'TimeoutError'
      reject(error)
    })
  })
  await Promise.race([process.step(milliseconds), aborted])
}
