import path from 'node:path'
import { tourSteps } from '../../../console/web/lib/tour.js'
import type { DemoOptions } from '../../commands/local.ts'
import type { ExitCode, Terminal } from '../../terminal.ts'
import { bold, exitCodes } from '../../terminal.ts'
import type { Body } from './api.ts'
import { wholeHouse } from './house.ts'
import type { Interruption } from './interruption.ts'
import { checkListen, interruption, settled } from './interruption.ts'
import { openHouse } from './open.ts'
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

  const telling = (async () => {
    show.line(bold('Custody demo: a company to look at.', terminal))
    const stage = await setStage(terminal, props, {
      evidence,
      logFile,
      show,
      signal,
      isHouse: true,
    })
    furnish(stage)
    const house = await furnishHouse(stage, wholeHouse)
    const { url: link } = await stage.admin.call(201, 'POST', '/api/v1/session/link')
    const tokenFile = path.join(stage.home, 'admin-token')
    show.line('')
    show.fact('console', `${stage.service.url}/console/`)
    show.fact('log in', String(link))
    show.fact('', 'works once, for ten minutes; afterwards with the token in')
    show.fact('', tokenFile)
    show.fact(
      'ready',
      `after ${elapsed()}: ${house.people.length} people, ${house.accounts} accounts`,
    )
    await liveInHouse(stage, house, wholeHouse)
    show.fact('furnished', `after ${elapsed()}: leavers, a held batch, blocked work, findings`)
    show.line('')
    show.line('Five steps, ticked here and in the browser as they happen:')
    for (const [i, step] of tourSteps.entries()) show.fact(String(i + 1), step.title)
    show.line('')
    show.line('Ctrl-C ends it and removes everything. All dates are of today: nothing was made up.')
    const kept = { ok: true, url: stage.service.url, console: String(link), tokenFile }
    if (options.json) {
      const { people, accounts } = house
      const counts = { people: people.length, accounts }
      terminal.stdout(`${JSON.stringify({ ...kept, ...counts }, null, 2)}\n`)
    }
    await follow(stage, show, interrupt)
  })()

  try {
    await Promise.race([telling, interrupt.happened])
    show.clear()
    await settled(telling)
    terminal.stderr('Ended; everything is removed.\n')
    return exitCodes.ok
  } catch (error) {
    if (signal.aborted) return exitCodes.interrupted
    show.clear()
    const message = error instanceof Error ? error.message : String(error)
    terminal.stderr(`\nFAILED: ${message}\n  log       ${logFile}\n`)
    return exitCodes.failed
  } finally {
    await interrupt.putAway()
  }
}

/** Ticks the steps that leave a trace in the change feed. */
async function follow(
  stage: Stage,
  show: ReturnType<typeof createShow>,
  interrupt: Interruption,
): Promise<void> {
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
