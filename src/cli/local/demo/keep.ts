import path from 'node:path'
import { tourSteps } from '../../../console/web/lib/tour.js'
import type { DemoOptions } from '../../commands/local.ts'
import type { ExitCode, Terminal } from '../../terminal.ts'
import { bold, exitCodes } from '../../terminal.ts'
import type { Body } from './api.ts'
import { wholeHouse } from './house.ts'
import type { Interruption } from './interruption.ts'
import { checkListen, interruption, settled } from './interruption.ts'
import type { OpenedHouse } from './open.ts'
import { openHouse } from './open.ts'
import type { Show } from './show.ts'
import { createShow, seconds } from './show.ts'
import type { Props, Stage } from './stage.ts'
import { prepareEvidence } from './stage.ts'

const lookMilliseconds = 1_000

/**
 * A company to look at in the browser: the service and both sandboxes stay up until Ctrl-C. The
 * address is told as soon as there is something to see; the rest of the morning happens meanwhile.
 */
export async function keepHouse(options: DemoOptions, terminal: Terminal): Promise<ExitCode> {
  checkListen(terminal)
  const began = performance.now()
  const elapsed = (): string => seconds((performance.now() - began) / 1_000)
  const evidence = await prepareEvidence(terminal)
  const logFile = path.join(evidence, 'service.log')
  const show = createShow(terminal, options.json)
  const props: Props = { closers: [], atExit: [] }
  const interrupt = interruption(props)
  const { signal } = interrupt

  let isOpen = false
  const telling = (async () => {
    show.line(bold('Custody demo: a company to look at.', terminal))
    const opened = await openHouse(terminal, props, {
      evidence,
      logFile,
      show,
      signal,
      size: wholeHouse,
    })
    const { stage, house } = opened
    const kept = await keptOf(stage)
    const seen = `${house.people.length} people, the first ${house.accounts} of ${wholeHouse.accounts} accounts`
    banner(show, kept, `after ${elapsed()}: ${seen}`)
    isOpen = true
    const isWhole = await liveOn(opened, { show, terminal, logFile, signal })
    const whole = isWhole ? 'leavers, a held batch, stuck work, findings' : 'in part'
    show.fact('furnished', `after ${elapsed()}: ${whole}`)
    if (options.json) {
      const document = { ok: isWhole, ...kept, counts: await countsOf(stage) }
      terminal.stdout(`${JSON.stringify(document, null, 2)}\n`)
    }
    await follow(stage, show, interrupt)
  })()

  try {
    await Promise.race([telling, interrupt.happened])
    show.clear()
    await settled(telling)
    if (!isOpen) {
      terminal.stderr(`Interrupted. The log stays at ${logFile}.\n`)
      return exitCodes.interrupted
    }
    terminal.stderr('Ended; everything is removed.\n')
    return exitCodes.ok
  } catch (error) {
    if (signal.aborted) return isOpen ? exitCodes.ok : exitCodes.interrupted
    show.clear()
    terminal.stderr(`\nFAILED: ${sentenceOf(error)}\n  log       ${logFile}\n`)
    return exitCodes.failed
  } finally {
    await interrupt.putAway()
  }
}

interface Kept {
  readonly url: string
  readonly console: string
  /** Logs in once. */
  readonly login: string
  readonly tokenFile: string
}

async function keptOf(stage: Stage): Promise<Kept> {
  const { url: login } = await stage.admin.call(201, 'POST', '/api/v1/session/link')
  const { url } = stage.service
  const tokenFile = path.join(stage.home, 'admin-token')
  return { url, console: `${url}/console/`, login: String(login), tokenFile }
}

function banner(show: Show, kept: Kept, ready: string): void {
  show.line('')
  show.fact('console', kept.console)
  show.fact('log in', kept.login)
  show.fact('', 'works once, for ten minutes; afterwards with the token in')
  show.fact('', kept.tokenFile)
  show.fact('ready', ready)
  show.fact('', 'the others, leavers, a held batch and trouble follow while you look')
  show.line('')
  show.line('Five steps, ticked here and in the browser as they happen:')
  for (const [i, step] of tourSteps.entries()) show.fact(String(i + 1), step.title)
  show.line('')
  show.line('Ctrl-C ends it and removes everything; each start is a clean one. Every date is of')
  show.line('today: nothing was written into the database, all of it was asked for over SCIM.')
  show.line('')
}

/** What goes wrong from here on leaves a console with less in it, not none. */
async function liveOn(
  { live }: OpenedHouse,
  at: {
    readonly show: Show
    readonly terminal: Terminal
    readonly logFile: string
    readonly signal: AbortSignal
  },
): Promise<boolean> {
  try {
    await live()
    return true
  } catch (error) {
    if (at.signal.aborted) throw error
    at.show.clear()
    at.terminal.stderr(`Part of the data is missing: ${sentenceOf(error)}\n  log  ${at.logFile}\n`)
    return false
  }
}

async function countsOf({ admin }: Stage) {
  const { accounts, credentials } = await admin.call(200, 'GET', '/api/v1/reports/posture')
  return { accounts: accounts.byStatus, credentials: credentials.byStatus }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Ticks the steps that leave a trace in the change feed. */
async function follow(stage: Stage, show: Show, interrupt: Interruption): Promise<void> {
  const done = new Set<string>()
  let { newest: after } = await stage.admin.call(200, 'GET', '/api/v1/events?limit=1')
  while (!interrupt.signal.aborted) {
    await Promise.race([
      interrupt.happened,
      new Promise((resolve) => setTimeout(resolve, lookMilliseconds).unref()),
    ])
    if (interrupt.signal.aborted) return
    const page = await stage.admin.ask('GET', `/api/v1/events?after=${after}&limit=200`)
    if (page.status !== 200) continue
    after = page.body.cursor ?? after
    for (const step of tourSteps) {
      const isDone = (page.body.items as readonly Body[]).some((event) => step.isDoneBy(event))
      if (!isDone || done.has(step.id)) continue
      done.add(step.id)
      show.fact('done', step.title)
    }
  }
}
