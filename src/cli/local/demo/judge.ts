import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Secret } from '../../../domain/secret.ts'
import { awsCaller, keyPairOf } from '../../../sandbox/caller.ts'
import { githubCaller } from '../../../sandbox/github-caller.ts'
import { postgresCaller } from '../../../sandbox/postgres-caller.ts'
import type { Account } from './company.ts'
import { DemoFailure } from './failure.ts'
import type { Stage } from './stage.ts'

export type Verdict = 'alive' | 'refused' | 'absent'

/**
 * A credential in the hands of somebody who copied it from its sink. What it is worth is asked of
 * AWS, of GitHub, of PostgreSQL or of introspection, never of Custody's own records.
 */
export interface Held {
  readonly account: Account
  /** As the provider names it; public. */
  readonly keyId: string
  /** Uses it; a deploy key, which cannot be used from here, is looked for at GitHub instead. */
  verdict(): Promise<Verdict>
  /** Whether its provider has it switched off. */
  isOff(): Promise<boolean>
  close(): void
}

/** Takes a copy of what is in the sink now. @throws DemoFailure when nothing was delivered */
export async function hold(stage: Stage, account: Account): Promise<Held> {
  switch (account.kind) {
    case 'access-key':
      return holdAccessKey(stage, account)
    case 'deploy-key':
      return holdDeployKey(stage, account)
    case 'api-token':
      return holdToken(stage, account)
    case 'app-token':
      return holdAppToken(stage, account)
    case 'password':
      return holdLogin(stage, account)
  }
}

/** The IAM user behind an account, found by the tag Custody put on it. */
export function iamUserOf(stage: Stage, account: Account) {
  const user = stage.aws.world.users().find((u) => u.tags['custody:id'] === account.id)
  if (!user) throw new DemoFailure(`AWS has no user tagged for ${account.userName}`)
  return user
}

/** The text of AWSCURRENT, as Secrets Manager would serve it. */
function awsCurrent(stage: Stage, account: Account): Secret {
  const text = stage.aws.world.secret(secretName(account))?.current
  if (!text) throw new DemoFailure(`AWSCURRENT of ${secretName(account)} is empty`)
  return Secret.ofText(text)
}

export function secretName(account: Account): string {
  return `custody/default/${account.path}`
}

function holdAccessKey(stage: Stage, account: Account): Held {
  using secret = awsCurrent(stage, account)
  const caller = awsCaller(stage.aws.url, keyPairOf(secret))
  const { userName } = iamUserOf(stage, account)
  return {
    account,
    keyId: caller.accessKeyId,
    verdict: async () => ((await caller.identity()) === 'accepted' ? 'alive' : 'refused'),
    async isOff() {
      const key = stage.aws.world.keysOf(userName).find((k) => k.accessKeyId === caller.accessKeyId)
      return key?.status !== 'Active'
    },
    close: () => caller.close(),
  }
}

async function holdToken(stage: Stage, account: Account): Promise<Held> {
  const token = await delivered(stage, account)
  const isRefused = async (): Promise<boolean> => {
    const form = token.use((bytes) => new URLSearchParams({ token: bytes.toString('utf8') }))
    const answer = await stage.verifier.call(200, 'POST', '/oauth2/introspect', form)
    return answer.active !== true
  }
  return {
    account,
    keyId: token.use((bytes) => bytes.toString('utf8').split('_')[1]!),
    verdict: async () => ((await isRefused()) ? 'refused' : 'alive'),
    isOff: isRefused,
    close: () => token.dispose(),
  }
}

async function holdAppToken(stage: Stage, account: Account): Promise<Held> {
  const token = await delivered(stage, account)
  const caller = githubCaller(stage.github.url, token)
  const credential = await stage.admin.call(200, 'GET', `/api/v1/credentials/${account.credential}`)
  return {
    account,
    keyId: String(credential.keyId),
    verdict: async () => ((await caller.use()) === 'accepted' ? 'alive' : 'refused'),
    isOff: async () => (await caller.use()) === 'refused',
    close: () => caller.close(),
  }
}

async function holdLogin(stage: Stage, account: Account): Promise<Held> {
  using file = await delivered(stage, account)
  const caller = postgresCaller(stage.postgres!, file)
  return {
    account,
    keyId: caller.user,
    verdict: async () => ((await caller.signIn()) === 'accepted' ? 'alive' : 'refused'),
    isOff: () => caller.isOff(),
    close: () => caller.close(),
  }
}

async function holdDeployKey(stage: Stage, account: Account): Promise<Held> {
  using file = await delivered(stage, account)
  const publicKey = file.use(publicHalf)
  const { organization } = stage.github.world
  const find = () =>
    stage.github.world
      .deployKeys(organization, account.repository)
      .find((k) => k.key.split(' ')[1] === publicKey)
  const registered = find()
  const repository = stage.github.world.findRepository(organization, account.repository)
  if (!registered || !repository) {
    throw new DemoFailure(`GitHub does not know the delivered deploy key of ${account.userName}`)
  }
  return {
    account,
    keyId: `${repository.id}#${registered.id}`,
    verdict: async () => (find() ? 'alive' : 'absent'),
    isOff: async () => find() === undefined,
    close: () => undefined,
  }
}

async function delivered(stage: Stage, account: Account): Promise<Secret> {
  const file = path.join(stage.home, 'secrets', 'default', account.path)
  try {
    return Secret.of(await readFile(file))
  } catch (cause) {
    throw new DemoFailure(`nothing was delivered for ${account.userName}`, null, cause)
  }
}

/**
 * The public key inside an unencrypted OpenSSH private key file, as base64 (PROTOCOL.key): magic,
 * three strings of cipher and key derivation, a count, then the public half in the clear.
 */
function publicHalf(pem: Buffer): string {
  const body = pem.toString('utf8').replaceAll(/-----[^-]+-----|\s/g, '')
  const bytes = Buffer.from(body, 'base64')
  let at = 'openssh-key-v1\0'.length
  const take = (): Buffer => {
    const length = bytes.readUInt32BE(at)
    at += 4 + length
    return bytes.subarray(at - length, at)
  }
  for (let i = 0; i < 3; i++) take()
  at += 4
  return take().toString('base64')
}
