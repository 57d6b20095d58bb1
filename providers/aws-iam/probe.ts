import { STS } from '@aws-sdk/client-sts'
import type { Secret } from '../../src/domain/secret.ts'
import type { Call, ProbeAnswer } from '../../src/provider/contract.ts'
import { providerErrorOf } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import { parsed, refuse } from './marks.ts'

/** An access key as it is delivered (contract §3). */
export interface KeyPair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/**
 * GetCallerIdentity needs no permission and no policy denies it, so it tries the key alone.
 * A signature that does not match says nothing about the key: it is no refusal.
 */
export async function probeKeyPair(
  account: AwsAccount,
  secret: Secret,
  call: Call,
): Promise<ProbeAnswer> {
  const client = new STS({ ...account.settings, credentials: keyPairOf(secret) })
  try {
    await client.getCallerIdentity({}, within(call))
    return 'accepted'
  } catch (error) {
    const name = error instanceof Error ? error.name : ''
    if (name === 'InvalidClientTokenId' || name === 'UnrecognizedClientException') return 'refused'
    if (name === 'SignatureDoesNotMatch' || name === 'InvalidSignatureException') {
      throw refuse(
        'invalid',
        'The probe was signed with a secret that is not the one of this key, or clocks differ.',
      )
    }
    throw providerErrorOf(error, 'GetCallerIdentity')
  } finally {
    client.destroy()
  }
}

function keyPairOf(secret: Secret): KeyPair {
  const { accessKeyId, secretAccessKey } = secret.use((bytes) => parsed(bytes.toString('utf8')))
  if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') {
    throw refuse('invalid', 'The secret is not an access key pair and cannot be tried.')
  }
  return { accessKeyId, secretAccessKey }
}
