import { parseArgs } from 'node:util'
import { claimDueRotations } from '../support/claims.ts'

// By hand: node test/crash/claims.ts --rotations 2000 --kills 10 [--store postgres://…]
const { values } = parseArgs({
  options: {
    rotations: { type: 'string', default: '2000' },
    processes: { type: 'string', default: '4' },
    kills: { type: 'string', default: '0' },
    /** The URL of an empty database; a SQLite file of its own when omitted. */
    store: { type: 'string' },
  },
})

const figures = await claimDueRotations({
  rotations: Number(values.rotations),
  processes: Number(values.processes),
  kills: Number(values.kills),
  ...(values.store === undefined ? {} : { storeUrl: values.store }),
})
console.log(figures)
const isRight =
  figures.creates - figures.compensations === figures.rotations &&
  figures.withOneLiveKey === figures.rotations &&
  figures.servedAndLive === figures.rotations
process.exitCode = isRight ? 0 : 1
