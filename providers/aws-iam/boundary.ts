import type { Call } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import { boundaryDocument, boundaryPolicyName } from './policies.ts'

/** The permissions boundary every user and role of Custody's is born with. */
export class Boundary {
  readonly #account: AwsAccount
  readonly #path: string
  readonly #configured: string | null
  #arn: Promise<string> | null = null

  constructor(account: AwsAccount, config: Config) {
    this.#account = account
    this.#path = config.path ?? defaultPath
    this.#configured = config.boundaryArn ?? null
  }

  /** Makes the policy if it is not there. @returns its ARN */
  ensure(call: Call): Promise<string> {
    if (this.#configured !== null) return Promise.resolve(this.#configured)
    this.#arn ??= this.#create(call).catch((error: unknown) => {
      this.#arn = null
      throw error
    })
    return this.#arn
  }

  async #create(call: Call): Promise<string> {
    const arn = await this.#account.arnOf(`policy${this.#path}${boundaryPolicyName}`, call)
    const iam = this.#account.iam(call)
    if (await unlessGone(iam.getPolicy({ PolicyArn: arn }, within(call)))) return arn
    try {
      await iam.createPolicy(
        {
          PolicyName: boundaryPolicyName,
          Path: this.#path,
          Description: 'Users made by Custody cannot re-arm themselves.',
          PolicyDocument: boundaryDocument(this.#path),
        },
        within(call),
      )
    } catch (error) {
      // Another process of ours was faster.
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
    }
    return arn
  }
}
