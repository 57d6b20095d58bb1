import { createPrivateKey, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { IAM } from '@aws-sdk/client-iam'
import { SecretsManager } from '@aws-sdk/client-secrets-manager'
import { STS } from '@aws-sdk/client-sts'
import { Octokit } from '@octokit/rest'
import { systemClock } from '../../src/host/clock.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { startGithubSandbox } from '../../src/sandbox/github.ts'
import type { Step } from './scenario.ts'

/** Where a scenario is played. */
export interface Target {
  readonly title: string
  call(step: Step, input: Readonly<Record<string, unknown>>, as: Step['as']): Promise<unknown>
  close(): Promise<void>
}

export interface Place {
  /** Of IAM, STS and Secrets Manager: a URL, or `aws` for AWS itself; null = our sandbox. */
  readonly aws: string | null
  /** Null = our sandbox. */
  readonly github: string | null
  /** Names of environment variables begin so: those of the second place with `AGAINST_`. */
  readonly prefix: '' | 'AGAINST_'
}

type Environment = Readonly<Record<string, string | undefined>>
type Answering = (input: unknown) => Promise<unknown>

/** Opens what a scenario needs there, and nothing else: GitHub is not asked for one of AWS. */
export async function openTarget(place: Place, env: Environment): Promise<Target> {
  const closers: (() => Promise<void>)[] = []
  const sandbox = place.aws === null ? await startAwsSandbox({ clock: systemClock }) : null
  if (sandbox) closers.push(() => sandbox.close())
  const endpoint = sandbox?.url ?? place.aws!
  const own = (name: string): string | undefined => env[place.prefix + name]
  const ambient = own('AWS_ACCESS_KEY_ID') && {
    accessKeyId: own('AWS_ACCESS_KEY_ID')!,
    secretAccessKey: own('AWS_SECRET_ACCESS_KEY') ?? '',
    ...(own('AWS_SESSION_TOKEN') ? { sessionToken: own('AWS_SESSION_TOKEN')! } : {}),
  }
  const credentials = sandbox?.world.admin ?? ambient
  const settings = {
    region: own('AWS_REGION') ?? env['AWS_REGION'] ?? 'us-east-1',
    maxAttempts: 1,
    ...(endpoint === 'aws' ? {} : { endpoint }),
  }
  const clientOf = (service: Step['service'], as: Step['as']) => {
    const signing = as ?? credentials
    const options = { ...settings, ...(signing ? { credentials: signing } : {}) }
    if (service === 'iam') return new IAM(options)
    return service === 'sts' ? new STS(options) : new SecretsManager(options)
  }
  let octokit: Promise<Octokit> | null = null
  const github = (): Promise<Octokit> => {
    octokit ??= openGithub(place, own, (close) => closers.push(close))
    return octokit
  }
  return {
    title: place.aws ?? place.github ?? 'sandbox',
    async call({ service, operation }, input, as) {
      if (service === 'github') {
        const { data, status } = await (await github()).request(operation, input)
        return { status, data }
      }
      const client = clientOf(service, as)
      const method = operation.charAt(0).toLowerCase() + operation.slice(1)
      try {
        const run = (client as unknown as Readonly<Record<string, Answering | undefined>>)[method]
        if (!run) throw new Error(`${service} has no operation ${operation}`)
        return await run.call(client, input)
      } finally {
        client.destroy()
      }
    },
    async close() {
      for (const close of closers) await close()
    },
  }
}

async function openGithub(
  place: Place,
  own: (name: string) => string | undefined,
  onClose: (close: () => Promise<void>) => void,
): Promise<Octokit> {
  if (place.github === null) {
    const sandbox = await startGithubSandbox({ clock: systemClock })
    onClose(() => sandbox.close())
    const { app } = sandbox.world
    return asInstallation(sandbox.url, String(app.id), app.installationId, app.privateKeyPem)
  }
  const token = own('GITHUB_TOKEN')
  if (token) return quiet({ baseUrl: place.github, auth: token })
  const [id, installation, file] = [
    own('GITHUB_APP_ID'),
    own('GITHUB_INSTALLATION_ID'),
    own('GITHUB_APP_KEY_FILE'),
  ]
  if (!id || !installation || !file) {
    throw new Error(
      `${place.github} needs ${place.prefix}GITHUB_TOKEN, or ${place.prefix}GITHUB_APP_ID, …GITHUB_INSTALLATION_ID and …GITHUB_APP_KEY_FILE`,
    )
  }
  return asInstallation(place.github, id, Number(installation), await readFile(file, 'utf8'))
}

async function asInstallation(
  baseUrl: string,
  appId: string,
  installation_id: number,
  pem: string,
): Promise<Octokit> {
  const now = Math.floor(Date.parse(systemClock.now()) / 1_000)
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ iss: appId, iat: now - 60, exp: now + 500 })}`
  const signature = sign('sha256', Buffer.from(claims), createPrivateKey(pem)).toString('base64url')
  const app = quiet({ baseUrl, auth: `${claims}.${signature}` })
  const { data } = await app.rest.apps.createInstallationAccessToken({ installation_id })
  return quiet({ baseUrl, auth: data.token })
}

/** Refusals belong into the transcript, not on the terminal. */
function quiet(options: { readonly baseUrl: string; readonly auth: string }): Octokit {
  const nothing = (): void => undefined
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing }
  return new Octokit({ ...options, log })
}
