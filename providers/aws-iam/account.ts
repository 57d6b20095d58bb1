import { IAM } from '@aws-sdk/client-iam'
import { STS } from '@aws-sdk/client-sts'
import type { Clock, Instant } from '../../src/domain/time.ts'
import { secondsBetween } from '../../src/domain/time.ts'
import type { Call, HostContext } from '../../src/provider/contract.ts'
import type { ClientSettings } from '../aws/client.ts'
import { clientSettings } from '../aws/client.ts'
import { mapErrors } from '../aws/errors.ts'
import type { Clients } from './assumed-role.ts'
import { AssumedRole } from './assumed-role.ts'
import type { Config } from './config.ts'

/** The AWS account behind a provider, and the clients that speak to it as Custody. */
export class AwsAccount {
  readonly settings: ClientSettings
  readonly #base: Clients
  readonly #role: AssumedRole | null
  readonly #clock: Clock
  #seenDate: Instant | null = null
  #own: Promise<{ readonly id: string; readonly partition: string }> | null = null

  constructor(host: HostContext, config: Config) {
    this.settings = clientSettings(host, config)
    this.#clock = host.clock
    const sawDate = (date: Instant): void => {
      this.#seenDate = date
      host.sawDate?.(date)
    }
    this.#base = {
      iam: mapErrors(new IAM(this.settings), sawDate),
      sts: mapErrors(new STS(this.settings), sawDate),
    }
    const { assumeRole } = config
    this.#role =
      assumeRole === undefined
        ? null
        : new AssumedRole({ ...host, sawDate }, this.settings, this.#base, assumeRole)
  }

  /** The client for one call; it throws `ProviderError`s only. */
  iam(call: Call): IAM {
    return this.#clients(call).iam
  }

  sts(call: Call): STS {
    return this.#clients(call).sts
  }

  #clients(call: Call): Clients {
    return this.#role?.clientsFor(call) ?? this.#base
  }

  /** How far AWS's clock is ahead of ours, by its last answer, in seconds; null before the first. */
  aheadSeconds(): number | null {
    return this.#seenDate === null ? null : secondsBetween(this.#clock.now(), this.#seenDate)
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

  /**
   * The unique ids of the users that Custody signs its calls as: what it runs as, and where that is a
   * role, whoever assumes it.
   */
  async selves(call: Call): Promise<readonly string[]> {
    const asked = [this.sts(call), this.#base.sts]
    const answers = await Promise.all(asked.map((sts) => sts.getCallerIdentity({}, within(call))))
    return answers.map(({ UserId }) => UserId!)
  }

  async close(): Promise<void> {
    this.#base.iam.destroy()
    this.#base.sts.destroy()
  }
}

/** The options of an SDK call that ends with its step. */
export function within(call: Call): { readonly abortSignal: AbortSignal } {
  return { abortSignal: call.signal }
}
