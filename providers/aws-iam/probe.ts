import { STS } from '@aws-sdk/client-sts'
import type { Secret } from '../../src/domain/secret.ts'
import type { Call, ProbeAnswer } from '../../src/provider/contract.ts'
import { providerErrorOf } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import { parsed, refuse } from './marks.ts'
import { probeRegions, Turns } from './regions.ts'

/** An access key as it is delivered (contract §3). */
export interface KeyPair {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/**
 * Tries keys in the regions of the configuration, each in its turn. Probes bear a user agent of their
 * own, `custody-probe/<operation>`, so that CloudTrail's readers tell them from theft.
 */
export class KeyProbe {
  readonly #account: AwsAccount
  readonly #turns: Turns

  constructor(account: AwsAccount, config: Config) {
    this.#account = account
    // One endpoint for everything stands for every region.
    const standard = config.endpoint === undefined ? probeRegions(config.region) : [config.region]
    this.#turns = new Turns(config.probe?.regions ?? standard)
  }

  async try(secret: Secret, call: Call): Promise<ProbeAnswer> {
    const pair = keyPairOf(secret)
    return probeKeyPair(this.#account, pair, this.#turns.next(pair.accessKeyId), call)
  }
}

/**
 * GetCallerIdentity needs no permission and no policy denies it, so it tries the key alone.
 * A signature that does not match says nothing about the key: it is no refusal.
 */
async function probeKeyPair(
  account: AwsAccount,
  credentials: KeyPair,
  region: string,
  call: Call,
): Promise<ProbeAnswer> {
  const client = new STS({
    ...account.settings,
    credentials,
    region,
    customUserAgent: [['custody-probe', call.operation ?? 'none']],
  })
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
