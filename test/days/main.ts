import { parseArgs } from 'node:util'
import { makeGround } from '../fleet/ground.ts'
import { badNetwork } from '../support/bad-network.ts'
import { mountSmallDisk } from '../support/small-disk.ts'
import type { Day } from './day.ts'
import { runDay } from './day.ts'
import { days, daysOfTwo, diskFull, endReplica } from './days.ts'
import { startServer } from './server.ts'

const help = `node test/days/main.ts [--only words-of-a-name] [--list]
  Bad days of PostgreSQL, one after the other, with clients, a worker and AWS: a line for each, and
  exit code 1 when one of them lost, doubled or hid something.
`
const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const smallDiskBytes = 400 * 2 ** 20
let broken = 0
let nth = 0

/** A server, a network and an AWS of their own for some days. */
async function runAll(some: readonly Day[], others: number, directory?: string): Promise<void> {
  const wanted = some.filter(({ name }) => name.includes(values.only))
  if (wanted.length === 0) return
  const server = await startServer(directory)
  await server.administer(`create role greedy login password 'greedy'`)
  const network = await badNetwork(server.url)
  const ground = await makeGround(server.superuserUrl())
  try {
    const skewed = (name: string, ahead: number) =>
      ground.start(name, { storeUrl: network.url, ahead })
    const replica = await skewed('first', others > 0 ? 120 : 0)
    const more = []
    for (let i = 0; i < others; i++) more.push(await skewed(`other-${i}`, -120))
    for (const day of wanted) {
      const began = performance.now()
      const { anomalies, figures } = await runDay(
        { server, network, ground, replica, others: more },
        day,
        ++nth,
      )
      if (anomalies.length > 0) broken += 1
      const seconds = Math.round((performance.now() - began) / 1_000)
      const verdict = anomalies.length === 0 ? 'ok' : `${anomalies.length} ANOMALIES`
      console.log(`${verdict}  ${day.name}  ${JSON.stringify({ seconds, ...figures })}`)
      for (const anomaly of anomalies.slice(0, 8)) console.log(`    ${anomaly.slice(0, 400)}`)
    }
    for (const one of [replica, ...more]) await endReplica(one)
  } finally {
    await ground.close()
    await network.close()
    await server.close()
  }
}

async function runDiskFull(): Promise<void> {
  if (!'disk full'.includes(values.only)) return
  const disk = mountSmallDisk(smallDiskBytes)
  if (typeof disk === 'string') {
    console.log(`skipped  disk full: ${disk}`)
    return
  }
  try {
    await runAll([diskFull(disk)], 0, disk.directory)
  } finally {
    disk.unmount()
  }
}

if (values.help) process.stdout.write(help)
else if (values.list) {
  for (const { name } of [...days, ...daysOfTwo]) console.log(name)
  console.log('disk full')
} else {
  await runAll(days, 0)
  await runAll(daysOfTwo, 1)
  await runDiskFull()
  console.log(`${broken} days with an anomaly`)
  process.exitCode = broken > 0 ? 1 : 0
}
