import { SecretsManager } from '@aws-sdk/client-secrets-manager'
import { STS } from '@aws-sdk/client-sts'
import type { Secret } from '../domain/secret.ts'

export interface KeyPair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Somebody who holds an access key and uses it, through Amazon's own SDK and over HTTP. */
export interface AwsCaller {
  readonly accessKeyId: string
  /** `GetCallerIdentity` with this key. @throws what is not an answer about the key itself */
  identity(): Promise<'accepted' | 'refused'>
  /** AWSCURRENT of a secret, as a consumer reads it. @throws the SDK's error */
  readSecret(name: string): Promise<string>
  close(): void
}

const region = 'us-east-1'

/**
 * The judge of demos and drills: it asks AWS with the key itself and knows nothing of Custody.
 * @param endpoint of a sandbox
 */
export function awsCaller(endpoint: string, pair: KeyPair): AwsCaller {
  // One attempt: a call that only worked the second time is a failed call to whoever counts.
  const settings = { region, endpoint, credentials: pair, maxAttempts: 1 }
  const sts = new STS(settings)
  const secrets = new SecretsManager(settings)
  return {
    accessKeyId: pair.accessKeyId,
    async identity() {
      try {
        await sts.getCallerIdentity({})
        return 'accepted'
      } catch (error) {
        if ((error as Error).name === 'InvalidClientTokenId') return 'refused'
        throw error
      }
    },
    async readSecret(name) {
      const { SecretString } = await secrets.getSecretValue({ SecretId: name })
      return SecretString ?? ''
    },
    close() {
      sts.destroy()
      secrets.destroy()
    },
  }
}

/** The pair in a delivered secret; its text never reaches an error. */
export function keyPairOf(secret: Secret): KeyPair {
  return secret.use((bytes) => {
    const { accessKeyId, secretAccessKey } = JSON.parse(bytes.toString('utf8')) as Partial<KeyPair>
    if (!accessKeyId || !secretAccessKey) throw new Error('the secret is not an access key')
    return { accessKeyId, secretAccessKey }
  })
}
