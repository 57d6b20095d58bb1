import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Terminal } from '../../terminal.ts'
import { furnish } from './foreign.ts'
import type { House, HouseSize } from './house.ts'
import { furnishHouse, liveInHouse, smallHouse, wholeHouse } from './house.ts'
import { createShow } from './show.ts'
import type { Props, Stage } from './stage.ts'
import { setStage } from './stage.ts'

export interface OpenedHouse {
  readonly stage: Stage
  readonly house: House
  /** The rest of the morning: leavers, a held batch, trouble. May go on behind the first screen. */
  readonly live: () => Promise<void>
}

/** Resolves when the first screen has something to show. @throws DemoFailure */
export async function openHouse(
  terminal: Terminal,
  props: Props,
  options: Parameters<typeof setStage>[2] & { readonly size: HouseSize },
): Promise<OpenedHouse> {
  const { size } = options
  const stage = await setStage(terminal, props, { ...options, isHouse: true })
  furnish(stage)
  const house = await furnishHouse(stage, size)
  return { stage, house, live: () => liveInHouse(stage, house, size) }
}

export interface OpenedDemo {
  readonly url: string
  /** The administrator's. */
  readonly token: string
  readonly people: House['people']
  /** Ends every process of it and removes its files. */
  close(): Promise<void>
}

/** The data of `demo --keep` for a test, all of it there when this resolves. @throws DemoFailure */
export async function openDemo(options: { readonly small?: boolean } = {}): Promise<OpenedDemo> {
  const evidence = await mkdtemp(path.join(tmpdir(), 'custody-demo-log-'))
  const props: Props = { closers: [() => rm(evidence, { recursive: true })], atExit: [] }
  const abort = new AbortController()
  const killAll = (): void => {
    for (const act of props.atExit) act()
  }
  process.once('exit', killAll)
  const close = async (): Promise<void> => {
    abort.abort()
    for (const act of props.closers.splice(0)) await act().catch(() => undefined)
    process.off('exit', killAll)
  }
  const { CUSTODY_LISTEN: _, ...env } = process.env
  const quiet: Terminal = {
    env,
    cwd: evidence,
    stdout: () => undefined,
    stderr: () => undefined,
    columns: null,
    isInteractive: false,
    ask: async () => '',
  }
  try {
    const { stage, house, live } = await openHouse(quiet, props, {
      evidence,
      logFile: path.join(evidence, 'service.log'),
      show: createShow(quiet, true),
      signal: abort.signal,
      size: options.small ? smallHouse : wholeHouse,
    })
    await live()
    return { url: stage.service.url, token: stage.adminToken, people: house.people, close }
  } catch (error) {
    await close()
    throw error
  }
}
