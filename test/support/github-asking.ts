import { createPrivateKey, randomBytes, sign } from 'node:crypto'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import {
  generateAppKey,
  GithubWorld,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
} from '../../src/sandbox/github.ts'
import { ManualClock } from './manual-clock.ts'

/** One RSA key for all tests: making one takes longer than most of them. */
export const appKey = generateAppKey()

export let clock: ManualClock
export let sandbox: GithubSandbox
export let world: GithubWorld

export async function start(options: Partial<GithubWorldOptions> = {}): Promise<void> {
  await sandbox?.close()
  clock = new ManualClock()
  world = new GithubWorld({ clock, privateKeyPem: appKey, ...options })
  sandbox = await startGithubSandbox({ clock, world })
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

export async function ask(
  method: string,
  path: string,
  authorization: string | null,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(sandbox.url + path, {
    method,
    headers: authorization === null ? {} : { authorization },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>),
  }
}

export function jwt(
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  key: string = world.app.privateKeyPem,
): string {
  const now = Math.floor(Date.parse(clock.now()) / 1_000)
  const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const payload = { iss: String(world.app.id), iat: now - 60, exp: now + 540, ...claims }
  const body = `${encode({ alg: 'RS256', typ: 'JWT', ...header })}.${encode(payload)}`
  return `Bearer ${body}.${sign('sha256', Buffer.from(body), createPrivateKey(key)).toString('base64url')}`
}

export async function mint(body?: unknown): Promise<Answer> {
  return ask('POST', `/app/installations/${world.app.installationId}/access_tokens`, jwt(), body)
}

export async function installationToken(body?: unknown): Promise<string> {
  return `token ${String((await mint(body)).body['token'])}`
}

export const publicKey = () => generateSshKeyPair('test', randomBytes).publicKey
export const keysPath = '/repos/acme/website/keys'
