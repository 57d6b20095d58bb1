import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { systemClock } from '../../host/clock.ts'
import { ensureDirectory, homeDirectory } from '../../host/home.ts'
import { startAwsSandbox } from '../../sandbox/aws.ts'
import { startGithubSandbox } from '../../sandbox/github.ts'
import type { PostgresSandbox } from '../../sandbox/postgres.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { exitCodes } from '../terminal.ts'

/**
 * Serves a stateful AWS and GitHub on loopback until it is interrupted, with the configuration
 * that points Custody at them written beside the home.
 */
export async function run(
  options: { readonly json: boolean },
  terminal: Terminal,
): Promise<ExitCode> {
  const aws = await startAwsSandbox({ clock: systemClock })
  const github = await startGithubSandbox({ clock: systemClock })
  const directory = path.join(homeDirectory(terminal), 'sandbox')
  await ensureDirectory(directory)
  const key = path.join(directory, 'github-app.pem')
  await writeFile(key, github.world.app.privateKeyPem, { mode: 0o600 })
  const configFile = path.join(directory, 'custody.yaml')
  await writeFile(configFile, sandboxConfig(aws, github, 'github-app.pem'), { mode: 0o600 })
  const repositories = [...github.world.repositories.values()].map((r) => `${r.owner}/${r.name}`)
  const facts = { aws: aws.url, github: github.url, repositories, config: configFile }
  if (options.json) terminal.stdout(`${JSON.stringify(facts)}\n`)
  else
    terminal.stdout(
      `AWS     ${facts.aws}\nGitHub  ${facts.github}  with ${repositories.join(', ')}\nTry     custody serve --config ${facts.config}\n`,
    )
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await Promise.all([aws.close(), github.close()])
  return exitCodes.ok
}

const postgresConfig = ({ host, port, user, password }: PostgresSandbox) => ({
  host,
  port,
  user,
  password,
})

/** A configuration with every provider and sink of this version, pointed at the sandboxes. */
export function sandboxConfig(
  aws: {
    readonly url: string
    readonly world: {
      readonly admin: { readonly accessKeyId: string; readonly secretAccessKey: string }
    }
  },
  github: {
    readonly url: string
    readonly world: { readonly app: { readonly id: number; readonly installationId: number } }
  },
  privateKeyFile: string,
  postgres: PostgresSandbox | null = null,
): string {
  const { accessKeyId, secretAccessKey } = aws.world.admin
  const credentials = `{ accessKeyId: "${accessKeyId}", secretAccessKey: "${secretAccessKey}" }`
  return `# Written by custody: everything here belongs to sandboxes on this machine.
providers:
  - name: aws-prod
    type: aws-iam
    config: { region: us-east-1, endpoint: "${aws.url}", settle: PT0S, lastUsedLag: PT0S, probe: { count: 1, every: PT0S }, credentials: ${credentials} }
  - name: github-acme
    type: github
    config: { baseUrl: "${github.url}", appId: ${github.world.app.id}, installationId: ${github.world.app.installationId}, privateKeyFile: ${privateKeyFile}, settle: PT0S }
${postgres === null ? '' : `  - { name: postgres, type: postgres, config: ${JSON.stringify(postgresConfig(postgres))} }\n`}  - { name: tokens, type: token, config: {} }
sinks:
  - name: aws-secrets
    type: aws-secrets
    config: { region: us-east-1, endpoint: "${aws.url}", namePrefix: "custody/", credentials: ${credentials} }
  - { name: files, type: file, config: { directory: secrets } }
`
}
