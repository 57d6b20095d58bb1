import { STS } from '@aws-sdk/client-sts'
import { readFile } from 'node:fs/promises'
import type { Instant } from '../../src/domain/time.ts'
import type { Call, ProbeAnswer } from '../../src/provider/contract.ts'
import type { ClientSettings } from '../aws/client.ts'
import { providerErrorOf } from '../aws/errors.ts'
import { within } from './account.ts'
import { parsed } from './marks.ts'
import type { Consumer } from './trust.ts'

/** AWS's words for a token it does not take: they say nothing about the role. */
const aboutTheToken = new Set([
  'InvalidIdentityToken',
  'InvalidIdentityTokenException',
  'ExpiredTokenException',
  'IDPRejectedClaim',
  'IDPRejectedClaimException',
  'IDPCommunicationError',
  'IDPCommunicationErrorException',
])

/**
 * Really asks to be let in, with a token of exactly the consumer that the role trusts (or trusted,
 * before it was switched off). A refusal of any other token would prove nothing.
 * @param files each with one token; those of other consumers and expired ones are passed over
 */
export async function probeRole(
  settings: ClientSettings,
  files: readonly string[],
  at: { readonly arn: string; readonly consumer: Consumer; readonly now: Instant },
  call: Call,
): Promise<ProbeAnswer> {
  const token = await tokenFor(files, at.consumer, at.now)
  if (token === null) return 'untestable'
  const operation = call.operation ?? 'none'
  const { credentials: _unsigned, ...unsigned } = settings
  const client = new STS({ ...unsigned, customUserAgent: [['custody-probe', operation]] })
  try {
    await client.assumeRoleWithWebIdentity(
      {
        RoleArn: at.arn,
        RoleSessionName: `custody-probe-${operation}`.slice(0, 64),
        WebIdentityToken: token,
        // Nobody uses the session; it is as short as STS allows.
        DurationSeconds: 900,
      },
      within(call),
    )
    return 'accepted'
  } catch (error) {
    const name = error instanceof Error ? error.name : ''
    if (name === 'AccessDenied' || name === 'AccessDeniedException') return 'refused'
    if (aboutTheToken.has(name)) return 'untestable'
    // The SDK's message may quote the request: only what is known of AWS's errors is repeated.
    throw providerErrorOf(error, 'AssumeRoleWithWebIdentity')
  } finally {
    client.destroy()
  }
}

async function tokenFor(
  files: readonly string[],
  { issuer, subject, audience }: Consumer,
  now: Instant,
): Promise<string | null> {
  for (const file of files) {
    const token = await readToken(file)
    const { iss, sub, aud, exp } = parsed(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'),
    )
    const isTheirs =
      iss === `https://${issuer}` && sub === subject && [aud].flat().includes(audience)
    if (isTheirs && typeof exp === 'number' && exp * 1_000 > Date.parse(now)) return token
  }
  return null
}

/** A file that cannot be read leaves the role untried: no revocation waits for it. */
async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch {
    return ''
  }
}
