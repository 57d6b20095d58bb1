import { createHash } from 'node:crypto'
import type { Secret } from '../domain/secret.ts'

/** Somebody who holds an installation token of a GitHub App and uses it over HTTP. */
export interface GithubCaller {
  /** SHA-256 of the token in hex, by which whoever issued it may know it. */
  readonly fingerprint: string
  /** Lists what the token reaches. @throws what is not an answer about the token itself */
  use(): Promise<'accepted' | 'refused'>
  close(): void
}

/** @param baseUrl of a sandbox */
export function githubCaller(baseUrl: string, token: Secret): GithubCaller {
  const headers = () =>
    token.use((bytes) => ({ authorization: `Bearer ${bytes.toString('utf8')}` }))
  return {
    fingerprint: token.use((bytes) => createHash('sha256').update(bytes).digest('hex')),
    async use() {
      const url = `${baseUrl}/installation/repositories?per_page=1`
      const answer = await fetch(url, { headers: headers() })
      await answer.arrayBuffer()
      if (answer.ok) return 'accepted'
      if (answer.status === 401) return 'refused'
      throw new Error(`GitHub answers ${answer.status}`)
    },
    close: () => token.dispose(),
  }
}
