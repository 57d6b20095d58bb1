import { parseArgs } from 'node:util'
import { simulate } from './simulate.ts'
const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    start: { type: 'string', default: process.env['SEED'] ?? '1' },
    minutes: { type: 'string', default: '2' },
    mode: { type: 'string' },
    story: { type: 'boolean', default: false },
  },
})
const first = Number(values.start)
const count = Number(values.seeds)
const began = performance.now()
let [acts, events, deaths, broken, calls] = [0, 0, 0, 0, 0]
for (let seed = first; seed < first + count; seed++) {
  const outcome = await simulate(seed, { minutes: Number(values.minutes), ...(values.mode ? { mode: values.mode as any } : {}) })
  acts += outcome.acts
  calls += outcome.calls
  events += outcome.events
  deaths += outcome.deaths
  if (values.story) console.log(outcome.story.join('\n'))
  if (outcome.violation !== null) {
    broken += 1
    console.log(`seed ${seed} ${outcome.mode}: ${outcome.violation}`)
  }
}
const seconds = (performance.now() - began) / 1_000
console.log(
  `${count} seeds from ${first}: ${broken} violations; ${acts} requests, ${calls} calls, ${events} events, ` +
    `${deaths} deaths in ${seconds.toFixed(1)} s (${((seconds / count) * 1_000).toFixed(0)} ms a seed)`,
)
