import type { Credential, CredentialKind } from '../../src/domain/credential.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { Tokens } from '../../src/lifecycle/engine.ts'
import type { Installation } from './installation.ts'

/** What the providers themselves say of a secret, whatever Custody believes. */
export class Judge {
  readonly #installation: Installation
  readonly #tokens: Tokens

  constructor(installation: Installation) {
    this.#installation = installation
    this.#tokens = installation.tokensOf(installation.store)
  }

  /** What a consumer reads now; null when there is nothing. */
  served({ tenant, deliverTo }: Credential): string | null {
    return (
      this.#installation.worlds.aws.secret(`custody/${tenant}/${deliverTo.path}`)?.current ?? null
    )
  }

  async works(credential: Credential): Promise<boolean> {
    const text = this.served(credential)
    return text !== null && (await this.accepts(credential.kind, text))
  }

  /** Whether a secret in somebody's memory would be accepted. */
  async accepts(kind: CredentialKind, text: string): Promise<boolean> {
    const { aws, github } = this.#installation.worlds
    switch (kind) {
      case 'api-token':
        return this.#tokens.book.isAccepted(Secret.ofText(text))
      case 'access-key':
        return aws.wouldAllow(accessKeyIn(text), 's3:GetObject', 'arn:aws:s3:::artifacts/x')
      case 'app-token':
        return this.leases().some(({ token }) => token === text)
      default:
        return github.deployKeys('acme', 'website').some((k) => privateHalfHolds(text, k.key))
    }
  }

  /** The scopes that the current key has at its provider; null when nobody can tell. */
  async allowed(credential: Credential): Promise<readonly string[] | null> {
    const text = this.served(credential)
    if (text === null) return null
    const { aws, github } = this.#installation.worlds
    switch (credential.kind) {
      case 'access-key': {
        const key = accessKeyIn(text)
        return bucketActions
          .filter((action) => aws.wouldAllow(key, action, 'arn:aws:s3:::artifacts/x'))
          .map((action) => `${action} on arn:aws:s3:::artifacts/*`)
      }
      case 'api-token': {
        const { account, provider, keyId } = credential
        const all = await this.#installation.store.read.issuedTokensOf(account, provider)
        return all.find((t) => t.id === keyId)?.scopes ?? null
      }
      case 'deploy-key': {
        const key = github.deployKeys('acme', 'website').find((k) => privateHalfHolds(text, k.key))
        if (!key) return null
        return key.readOnly ? ['repo:acme/website'] : ['repo:acme/website', 'write']
      }
      default:
        return null
    }
  }

  /** The app tokens that GitHub accepts now, but for those of Custody itself. */
  leases() {
    const { github } = this.#installation.worlds
    return github
      .installationTokens()
      .filter((t) => t.permissions['contents'] !== undefined && github.isAlive(t))
      .map(({ token }) => ({ token, id: `it_${Secret.ofText(token).fingerprint().slice(0, 16)}_` }))
  }
}

/** What access keys are given in these lives. */
export const bucketActions = ['s3:GetObject', 's3:PutObject'] as const

export function accessKeyIn(text: string): string {
  return (JSON.parse(text) as { readonly accessKeyId: string }).accessKeyId
}

/** An `openssh-key-v1` file has the public half in it, as the wire format has it. */
function privateHalfHolds(pem: string, publicKey: string): boolean {
  const file = Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64')
  return file.includes(Buffer.from(publicKey.split(' ')[1]!, 'base64'))
}
