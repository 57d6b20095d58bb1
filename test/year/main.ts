import { parseArgs } from 'node:util'
import { liveYear } from './year.ts'
import type { Sabotage } from './world.ts'
import { report, missed } from './report.ts'

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    start: { type: 'string', default: process.env['SEED'] ?? '1' },
    people: { type: 'string', default: '5000' },
    accounts: { type: 'string', default: '800' },
    weeks: { type: 'string', default: '52' },
    sabotage: { type: 'string' },
    story: { type: 'boolean', default: false },
  },
})

const first = Number(values.start)
const last = first + Number(values.seeds)
for (let seed = first; seed < last; seed++) {
  const figures = await liveYear(seed, {
    people: Number(values.people),
    accounts: Number(values.accounts),
    weeks: Number(values.weeks),
    sabotage: (values.sabotage ?? null) as Sabotage | null,
  })
  if (values.story) {
    console.log(figures.story.join('\n'))
    for (const [step, n] of figures.steps) console.log(`${n} × ${step}`)
  }
  console.log(report(figures))
  if (missed(figures).length > 0) process.exitCode = 1
}
