import type { Call } from '../../src/provider/contract.ts'
import type { GithubClient } from './client.ts'
import type { Attempt } from './errors.ts'
import { refusal } from './refusals.ts'

/** The organisation that the installation belongs to; asked for once, by the installation's own id. */
export class Organization {
  readonly #client: GithubClient
  #login: string | null = null

  constructor(client: GithubClient) {
    this.#client = client
  }

  /** @throws ProviderError `denied` when it is a person's account: nobody governs others there */
  async login(call: Call): Promise<string> {
    if (this.#login !== null) return this.#login
    const id = this.#client.installationId
    const attempt: Attempt = { request: `GET /app/installations/${id}`, writes: false }
    const { data } = await this.#client.asApp(attempt, call, (octokit, options) =>
      octokit.rest.apps.getInstallation({ installation_id: id, ...options }),
    )
    const account = data.account && 'login' in data.account ? data.account : null
    if (account === null || data.target_type !== 'Organization') {
      throw refusal(
        'denied',
        `Installation ${id} is not on an organisation, so there are no members and no grants to govern; install the App on the organisation.`,
      )
    }
    this.#login = account.login
    return this.#login
  }
}
