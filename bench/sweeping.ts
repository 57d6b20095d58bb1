// Custody as it is served, whose hour comes at each SIGUSR2: then it looks for orphans among all
// accounts and acts on what has expired, and says so in a line.
//   node sweeping.ts <home> <url of the database>
import { loadConfig } from '../src/host/config.ts'
import { systemClock } from '../src/host/clock.ts'
import { createLog } from '../src/host/log.ts'
import type { Clock } from '../src/domain/time.ts'
import { addSeconds, hour } from '../src/domain/time.ts'
import { checkConfig, startCustody } from '../src/main.ts'
import { environmentOf } from './database.ts'
import { longestHold } from './loop.ts'

const [home, url] = process.argv.slice(2) as [string, string]
let hours = 0
const clock: Clock = {
  now: () => addSeconds(systemClock.now(), hours * hour),
  monotonic: () => systemClock.monotonic(),
  after: (...want) => systemClock.after(...want),
}
const config = await loadConfig({ env: environmentOf(home, url), cwd: home }, checkConfig)
const custody = await startCustody({
  config,
  clock,
  roles: ['http', 'scheduler'],
  rateLimit: null,
  log: createLog({ level: 'info', write: () => undefined }),
})
process.on('SIGUSR2', () => {
  hours += 1
  const scheduler = custody.scheduler!
  const both = async () => [await scheduler.run('orphans'), await scheduler.run('expiry')]
  void longestHold(both).then(({ result, holdMs }) => {
    process.stdout.write(`swept ${JSON.stringify({ events: result, holdMs })}\n`)
  })
})
process.once('SIGTERM', () => void custody.close().then(() => process.exit(0)))
process.stdout.write(`listening ${custody.url}\n`)
