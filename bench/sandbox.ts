// Our AWS in a process of its own, as a provider is: what it costs to answer is not Custody's.
//   node sandbox.ts        listening <url>#<access key id>:<secret access key>
import { systemClock } from '../src/host/clock.ts'
import { startAwsSandbox } from '../src/sandbox/aws.ts'

const aws = await startAwsSandbox({ clock: systemClock })
const { accessKeyId, secretAccessKey } = aws.world.admin
process.on('SIGTERM', () => process.exit(0))
process.stdout.write(`listening ${aws.url}#${accessKeyId}:${secretAccessKey}\n`)
