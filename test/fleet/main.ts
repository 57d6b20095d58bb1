import { parseArgs } from 'node:util'
import { makeGround } from './ground.ts'
import { anomalyOf, issueKeys, runRotations } from './rotations.ts'

const help = `npm run fleet -- rotations [--runs 1] [--rotations 200] [--kills 4] [--stops 4] [--seed N]
  Three replicas on one PostgreSQL rotate keys that fall due at once; some are killed, some stand
  still for 5 to 60 s, and their clocks are two minutes off.
`
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1' },
    rotations: { type: 'string', default: '200' },
    kills: { type: 'string', default: '4' },
    stops: { type: 'string', default: '4' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    help: { type: 'boolean', default: false },
  },
})
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const [drill] = positionals
let broken = 0

async function rotations(): Promise<void> {
  const count = Number(values.rotations)
  const ground = await makeGround()
  try {
    say(`issuing ${count} keys`)
    await issueKeys(ground, count)
    for (let run = 0; run < Number(values.runs); run++) {
      const seed = Number(values.seed) + run
      const order = {
        rotations: count,
        kills: Number(values.kills),
        stops: Number(values.stops),
        seed,
        say,
      }
      const figures = await runRotations(ground, order)
      const anomaly = anomalyOf(figures)
      if (anomaly !== null) broken += 1
      console.log(`${anomaly ?? 'ok'} ${JSON.stringify(figures)}`)
    }
    console.log(`${values.runs} runs of ${count} rotations: ${broken} with an anomaly`)
  } finally {
    await ground.close()
  }
}

if (drill === 'rotations' && !values.help) await rotations()
else process.stdout.write(help)
process.exitCode = broken > 0 ? 1 : values.help || drill === 'rotations' ? 0 : 2
