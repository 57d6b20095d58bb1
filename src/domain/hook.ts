import { createHmac } from 'node:crypto'
import type { TenantId } from './ids.ts'
import { Secret } from './secret.ts'
import type { Instant } from './time.ts'

/** A message to a consumer: there is a new secret to read. Never the secret. */
export interface HookCall {
  readonly tenant: TenantId
  /** The same for every try of one message, so that a receiver can tell a repetition. */
  readonly id: string
  readonly url: string
  readonly body: string
  /** Those the receiver may know; signed with each. */
  readonly secrets: readonly Secret[]
}

export type HookAnswer =
  | { readonly outcome: 'delivered'; readonly status: number }
  /** It leads where no hook may; trying again would change nothing. */
  | { readonly outcome: 'refused'; readonly reason: string }
  | { readonly outcome: 'failed'; readonly reason: string }

export interface HookCaller {
  /** Never rejects, and answers within seconds. */
  call(call: HookCall): Promise<HookAnswer>
}

/** How the company's receivers know that a message is ours. */
export interface HookKeys {
  /** Version 0 is the one that nobody has been shown. */
  secret(tenant: TenantId, version: number): Secret
}

/** Each tenant and version has its own key, and none says anything about another. */
export function createHookKeys(root: Secret): HookKeys {
  return {
    secret: (tenant, version) =>
      root.use((key) =>
        Secret.of(
          new Uint8Array(createHmac('sha256', key).update(`${tenant} ${version}`).digest()),
        ),
      ),
  }
}

/** How a receiver's library wants the key (standardwebhooks.com). */
export function shownSecret(secret: Secret): string {
  return secret.use((key) => `whsec_${Buffer.from(key).toString('base64')}`)
}

/** The headers of Standard Webhooks: an HMAC over `id.timestamp.body` for each key. */
export function signedHeaders(
  { id, body, secrets }: Pick<HookCall, 'id' | 'body' | 'secrets'>,
  at: Instant,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(Date.parse(at) / 1_000))
  const signatures = secrets.map((secret) =>
    secret.use((key) => {
      const mac = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`)
      return `v1,${mac.digest('base64')}`
    }),
  )
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}
