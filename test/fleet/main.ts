import { parseArgs } from 'node:util'
import { makeGround } from './ground.ts'
import { faultOf, runUpgrade } from './upgrade.ts'
import { anomalyOf, issueKeys, runRotations } from './rotations.ts'

const help = `npm run fleet -- rotations [--runs 1] [--rotations 200] [--kills 4] [--stops 4] [--seed N]
  Three replicas on one PostgreSQL rotate keys that fall due at once; some are killed, some stand
  still for 5 to 60 s, and their clocks are two minutes off.

npm run fleet -- upgrade [--from f241107] [--abrupt] [--live 65]
  Two replicas of the version at a git ref serve SCIM; one by one they are replaced by this version,
  and then by itself once more. --abrupt ends the old ones by SIGTERM alone, instead of taking them
  out of the balancer first. --live says for how many seconds both versions serve.
`
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '1' },
    rotations: { type: 'string', default: '200' },
    kills: { type: 'string', default: '4' },
    stops: { type: 'string', default: '4' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    from: { type: 'string', default: 'f241107' },
    abrupt: { type: 'boolean', default: false },
    live: { type: 'string', default: '65' },
    help: { type: 'boolean', default: false },
  },
})
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const [drill] = positionals
let broken = 0

async function rotations(): Promise<void> {
  const count = Number(values.rotations)
  for (let run = 0; run < Number(values.runs); run++) {
    const seed = Number(values.seed) + run
    // Each its own: a secret that was written eight times is not written again for ten minutes.
    const ground = await makeGround()
    try {
      say(`issuing ${count} keys`)
      await issueKeys(ground, count)
      const figures = await runRotations(ground, {
        rotations: count,
        kills: Number(values.kills),
        stops: Number(values.stops),
        seed,
        say,
      })
      const anomaly = anomalyOf(figures)
      if (anomaly !== null) broken += 1
      console.log(`${anomaly ?? 'ok'} ${JSON.stringify(figures)}`)
    } finally {
      await ground.close()
    }
  }
  console.log(`${values.runs} runs of ${count} rotations: ${broken} with an anomaly`)
}

async function upgrade(): Promise<void> {
  const { from, abrupt, live } = values
  const figures = await runUpgrade({ from, abrupt, liveSeconds: Number(live), say })
  const fault = faultOf(figures)
  if (fault !== null) broken += 1
  console.log(`${fault ?? 'ok'} ${JSON.stringify(figures, null, 2)}`)
}

const drills: Readonly<Record<string, () => Promise<void>>> = { rotations, upgrade }
const run = values.help ? undefined : drills[drill ?? '']
if (run) await run()
else process.stdout.write(help)
process.exitCode = broken > 0 ? 1 : values.help || run ? 0 : 2
