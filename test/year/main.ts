import { fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { missed, report } from './report.ts'
import type { Sabotage } from './world.ts'
import { sabotages } from './world.ts'
import { liveYear } from './year.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    start: { type: 'string', default: process.env['SEED'] ?? '1' },
    people: { type: 'string', default: '5000' },
    accounts: { type: 'string', default: '800' },
    weeks: { type: 'string', default: '52' },
    /** Breaks something on purpose: one of `sabotages`. */
    sabotage: { type: 'string' },
    /** Prints every decision, every kill and every failed call. */
    story: { type: 'boolean', default: false },
    processes: { type: 'string', default: '2' },
    /** Set for the processes that do the work: `<number>/<of how many>`. */
    share: { type: 'string' },
  },
})

const first = Number(values.start)
const seeds = Array.from({ length: Number(values.seeds) }, (_, n) => first + n)
const sabotage = sabotages.find((s) => s === values.sabotage) ?? null
if (values.sabotage !== undefined && sabotage === null) {
  throw new Error(`--sabotage is one of ${sabotages.join(', ')}`)
}

/** What a process tells of one seed. */
interface Told {
  readonly text: string
  readonly missed: readonly string[]
}

async function live(seed: number, broken: Sabotage | null): Promise<Told> {
  const figures = await liveYear(seed, {
    people: Number(values.people),
    accounts: Number(values.accounts),
    weeks: Number(values.weeks),
    sabotage: broken,
  })
  const steps = [...figures.steps].map(([step, n]) => `${n} × ${step}`)
  const story = values.story ? [...figures.story, ...steps, ''].join('\n') : ''
  return { text: `${story}${report(figures)}`, missed: missed(figures) }
}

async function lead(): Promise<void> {
  const began = performance.now()
  const processes = Math.min(Number(values.processes), seeds.length)
  let broken = 0
  const tell = (told: Told): void => {
    console.log(told.text)
    if (told.missed.length > 0) broken += 1
  }
  // One seed is lived here, where a profiler sees it.
  if (processes === 1) for (const seed of seeds) tell(await live(seed, sabotage))
  else {
    const own = process.argv.slice(2)
    await Promise.all(
      Array.from({ length: processes }, (_, n) => {
        const child = fork(import.meta.filename, [...own, '--share', `${n}/${processes}`])
        child.on('message', (told: Told) => tell(told))
        return new Promise<void>((resolve, reject) => {
          child.on('exit', (code) =>
            code === 0 ? resolve() : reject(new Error(`a process ended with ${code}`)),
          )
        })
      }),
    )
  }
  const seconds = (performance.now() - began) / 1_000
  console.log(
    `${seeds.length} years from seed ${first}: ${broken} with a goal missed, ${seconds.toFixed(0)} s in ${processes} processes`,
  )
  process.exitCode = broken > 0 ? 1 : 0
}

if (values.share === undefined) {
  await lead()
} else {
  const [number, of] = values.share.split('/').map(Number) as [number, number]
  for (const [n, seed] of seeds.entries()) {
    if (n % of === number) process.send!(await live(seed, sabotage))
  }
  process.disconnect()
}
