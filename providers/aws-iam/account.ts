import { IAM } from '@aws-sdk/client-iam'
import { STS } from '@aws-sdk/client-sts'
import type { Call, HostContext } from '../../src/provider/contract.ts'
import type { ClientSettings } from '../aws/client.ts'
import { clientSettings } from '../aws/client.ts'
import { mapErrors } from '../aws/errors.ts'
import type { Config } from './config.ts'

/** The AWS account behind a provider, and the clients that speak to it as Custody. */
export class AwsAccount {
  readonly settings: ClientSettings
  readonly #iam: IAM
  readonly #sts: STS
  #own: Promise<{ readonly id: string; readonly partition: string }> | null = null

  constructor(host: HostContext, config: Config) {
    this.settings = clientSettings(host, config)
    this.#iam = mapErrors(new IAM(this.settings), host.sawDate)
    this.#sts = mapErrors(new STS(this.settings), host.sawDate)
  }

  /** The client for one call; it throws `ProviderError`s only. */
  iam(_call: Call): IAM {
    return this.#iam
  }

  sts(_call: Call): STS {
    return this.#sts
  }

  /** `arn:<partition>:iam::<account>:<resource>`, such as `policy/custody/edge`. */
  async arnOf(resource: string, call: Call): Promise<string> {
    const { id, partition } = await this.own(call)
    return `arn:${partition}:iam::${id}:${resource}`
  }

  /** Which account it is, asked once. */
  own(call: Call): Promise<{ readonly id: string; readonly partition: string }> {
    this.#own ??= this.sts(call)
      .getCallerIdentity({}, within(call))
      .then(
        (me) => ({ id: me.Account!, partition: me.Arn!.split(':')[1]! }),
        (error: unknown) => {
          this.#own = null
          throw error
        },
      )
    return this.#own
  }

  async close(): Promise<void> {
    this.#iam.destroy()
    this.#sts.destroy()
  }
}

/** The options of an SDK call that ends with its step. */
export function within(call: Call): { readonly abortSignal: AbortSignal } {
  return { abortSignal: call.signal }
}
