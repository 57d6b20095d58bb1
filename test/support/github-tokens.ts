import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { github } from '../../providers/github/index.ts'
import type { AccountId, CredentialId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type {
  Call,
  Provider,
  Transport,
  WantedCredential,
  WantedPrincipal,
  WireAnswer,
  WireRequest,
} from '../../src/provider/contract.ts'
import {
  generateAppKey,
  GithubWorld,
  startGithubSandbox,
  type GithubSandbox,
  type GithubWorldOptions,
  type InstallationToken,
} from '../../src/sandbox/github.ts'
import { callWith } from '../conformance/provider-rig.ts'
import { ManualClock } from './manual-clock.ts'

export const mintToken = 'POST /app/installations/{installation_id}/access_tokens'
export const account = '0193a7c0-0000-7000-8000-00000000000a' as AccountId
export const scopes = ['repository:acme/website', 'permission:contents=read']
/** Making one takes longer than most of these tests. */
export const appKey = generateAppKey()

export let home: string
export let clock: ManualClock
export let world: GithubWorld
export let sandbox: GithubSandbox
export let provider: Provider
export let principal: string

export async function start(options: Partial<GithubWorldOptions> = {}): Promise<void> {
  await stop()
  clock = new ManualClock()
  const permissions = { administration: 'write', contents: 'write', metadata: 'read' } as const
  world = new GithubWorld({ clock, privateKeyPem: appKey, permissions, ...options })
  sandbox = await startGithubSandbox({ clock, world })
  provider = connect()
  principal = JSON.stringify({ installation: world.app.installationId, account })
}

export async function stop(): Promise<void> {
  await provider?.close()
  await sandbox?.close()
}

export function connect(
  config: Readonly<Record<string, unknown>> = {},
  transport?: Transport,
): Provider {
  return github.create(
    {
      name: 'github-acme',
      clock,
      random: (n) => randomBytes(n),
      resolvePath: (path) => join(home, path),
      tokens: null as never,
      pepper: Secret.ofText('unused'),
      ...(transport ? { transport } : {}),
    },
    {
      baseUrl: sandbox.url,
      appId: world.app.id,
      installationId: world.app.installationId,
      privateKeyFile: 'app.pem',
      settle: 'PT0S',
      kinds: ['app-token'],
      ...config,
    },
  )
}

/** Passes everything on; `change` may alter an answer. */
export function wire(
  seen: WireRequest[],
  change: (request: WireRequest, answer: WireAnswer) => WireAnswer = (_r, answer) => answer,
): Transport {
  return async (request, signal) => {
    seen.push(request)
    const { method, headers, body } = request
    const reply = await fetch(request.url, { method, headers, body: body || null, signal })
    const answer = {
      status: reply.status,
      headers: Object.fromEntries(reply.headers),
      body: await reply.text(),
    }
    return change(request, answer)
  }
}

export function wanted(options: Partial<WantedCredential> = {}): WantedCredential {
  return {
    tenant: defaultTenant,
    account,
    credential: '0193a7c0-0000-7000-8000-00000000000c' as CredentialId,
    kind: 'app-token',
    generation: 1,
    scopes,
    expiresAt: addSeconds(clock.now(), 86_400),
    operation: '0193a7c0-0000-7000-8000-00000000000f' as OperationId,
    publicPart: null,
    ...options,
  }
}

export const person = (): WantedPrincipal => ({
  tenant: defaultTenant,
  account,
  userName: 'svc',
  operation: randomUUID() as OperationId,
  kind: 'app-token',
})

export async function issue(options: Partial<WantedCredential> = {}, call: Call = callWith()) {
  const issued = await provider.issue(principal, wanted(options), call)
  return { ...issued, secret: issued.secret! }
}

/** GitHub's own record of a token. */
export function truthOf(secret: Secret): InstallationToken {
  const text = secret.use((bytes) => bytes.toString('utf8'))
  return world.installationTokens().find((token) => token.token === text)!
}
export const isAlive = (secret: Secret) => world.isAlive(truthOf(secret))
export const probe = (secret: Secret, call: Call = callWith()) =>
  provider.probe(secret, 'app-token', call)
export const handedOut = () =>
  world.installationTokens().filter((token) => token.permissions['contents'] !== undefined)

export async function makeHome(): Promise<void> {
  home = await mkdtemp(join(tmpdir(), 'custody-github-tokens-'))
  await writeFile(join(home, 'app.pem'), appKey, { mode: 0o600 })
  await writeFile(join(home, 'other.pem'), generateAppKey(), { mode: 0o600 })
}

/** Instead of the provider that `start` connected. */
export function use(other: Provider): void {
  provider = other
}
