// Our AWS in a process of its own, as a provider is: what it costs to answer is not Custody's.
//   node sandbox.ts [users]   listening <url>#<access key id>:<secret access key>
// `users` are there from the start, under Custody's path and with a key each, and nobody's.
// SIGUSR1 turns realistic limits on; SIGUSR2 says `calls {"admitted":…,"refused":…}` since it last did.
import { systemClock } from '../src/host/clock.ts'
import { startAwsSandbox } from '../src/sandbox/aws.ts'
import { realisticAwsLimits } from '../src/sandbox/aws/limits.ts'

const aws = await startAwsSandbox({ clock: systemClock })
const { world } = aws
const { accessKeyId, secretAccessKey } = world.admin
const iam = (operation: string, input: Record<string, unknown>): void => {
  world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
}
for (let i = 0; i < Number(process.argv[2] ?? 0); i++) {
  const UserName = `shadow-${i}`
  iam('CreateUser', { UserName, Path: '/custody/' })
  iam('CreateAccessKey', { UserName })
}
process.on('SIGTERM', () => process.exit(0))
process.on('SIGUSR1', () => world.limits.set(realisticAwsLimits))
process.on('SIGUSR2', () => {
  const { admitted, refused } = world.limits
  const facts = { admitted: Object.fromEntries(admitted), refused: Object.fromEntries(refused) }
  admitted.clear()
  refused.clear()
  process.stdout.write(`calls ${JSON.stringify(facts)}\n`)
})
process.stdout.write(`listening ${aws.url}#${accessKeyId}:${secretAccessKey}\n`)
