import type { Secret } from '../../src/domain/secret.ts'
import { ProviderError, type Call } from '../../src/provider/contract.ts'
import type { GithubClient } from './client.ts'
import type { Attempt } from './errors.ts'

/** Classic and fine-grained tokens of people, and what apps got from them; not `ghs_`. */
const revocable = /^(?:gh[pour]_[A-Za-z0-9_.-]{16,512}|github_pat_\w{16,512})$/

export function isRevocableByAnyone(text: string): boolean {
  return revocable.test(text)
}

/**
 * Ends tokens for good, on all of GitHub, as anybody may who found them; their holders get an e-mail.
 * GitHub counts 60 such requests an hour and address, and says nothing about which tokens there were.
 * @throws ProviderError whose message repeats nothing that GitHub said: an answer may quote a token
 */
export async function revokeByAnyone(
  client: GithubClient,
  leaked: readonly Secret[],
  call: Call,
): Promise<void> {
  const attempt: Attempt = { request: 'POST /credentials/revoke', writes: true, ends: true }
  const credentials = leaked.map((secret) => secret.use((bytes) => bytes.toString('utf8')))
  await client
    .asNobody(attempt, call, (octokit, options) =>
      octokit.rest.credentials.revoke({ credentials, ...options }),
    )
    .catch((error: unknown) => {
      if (!(error instanceof ProviderError)) throw error
      const words =
        error.kind === 'throttled'
          ? 'GitHub takes no more of these requests for now (60 an hour)'
          : `GitHub did not take it (${error.kind})`
      throw new ProviderError(error.kind, `${attempt.request}: ${words}.`, {
        outcome: error.outcome,
        retryAfter: error.retryAfter,
      })
    })
}
