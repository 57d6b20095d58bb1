import { setTimeout as sleep } from 'node:timers/promises'
import { parseListen } from '../../../host/config.ts'
import type { Terminal } from '../../terminal.ts'
import { CommandFailure, exitCodes } from '../../terminal.ts'
import type { Props } from './stage.ts'

const graceMilliseconds = 3_000

/** @throws CommandFailure (usage) before anything is started */
export function checkListen({ env }: Terminal): void {
  const listen = env['CUSTODY_LISTEN']
  if (!listen || parseListen(listen)) return
  const sentence = 'CUSTODY_LISTEN: must be host:port, e.g. 127.0.0.1:8080.'
  throw new CommandFailure(exitCodes.usage, sentence)
}

/** Lets a step that was starting something see the interruption, so that nothing is left over. */
export async function settled(telling: Promise<unknown>): Promise<void> {
  await Promise.race([
    telling.catch(() => undefined),
    sleep(graceMilliseconds, undefined, { ref: false }),
  ])
}

export interface Interruption {
  readonly signal: AbortSignal
  /** Resolves to null on SIGINT, SIGTERM or SIGHUP. */
  readonly happened: Promise<null>
  putAway(): Promise<void>
}

/** However the demo ends, its processes end with it and its temporary folder is removed. */
export function interruption(props: Props): Interruption {
  const abort = new AbortController()
  let resolve: (value: null) => void = () => undefined
  const happened = new Promise<null>((r) => {
    resolve = r
  })
  const onSignal = (): void => {
    abort.abort()
    resolve(null)
  }
  const onExit = (): void => {
    for (const act of props.atExit) act()
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.on(signal, onSignal)
  // Stays to the very end: what could not be closed in order goes with the process.
  process.on('exit', onExit)
  return {
    signal: abort.signal,
    happened,
    async putAway() {
      abort.abort()
      for (const close of props.closers.splice(0)) await close().catch(() => undefined)
      for (const signal of signals) process.off(signal, onSignal)
    },
  }
}
