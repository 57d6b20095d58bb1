import { instantOf } from '../../src/domain/time.ts'
import type { Call, ExternalCredential } from '../../src/provider/contract.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'

export type LastUse = Pick<ExternalCredential, 'lastUsedAt' | 'lastUsedUnknown'>
export type AskLastUse = (keyId: string, call: Call) => Promise<LastUse>

/**
 * When a key was used last; AWS lags by up to hours.
 * @param isProbed a last use of STS is not reported then, since our own probes are such uses and would
 *   pass for a consumer's
 */
export function lastUseOf(account: AwsAccount, isProbed: boolean): AskLastUse {
  return async (AccessKeyId, call) => {
    try {
      const answer = await account.iam(call).getAccessKeyLastUsed({ AccessKeyId }, within(call))
      const { LastUsedDate, ServiceName } = answer.AccessKeyLastUsed ?? {}
      const counts = LastUsedDate && !(isProbed && ServiceName === 'sts')
      return { lastUsedAt: counts ? instantOf(LastUsedDate.getTime()) : null }
    } catch {
      // No reason for a listing to fail: revocations need it, and not this.
      return { lastUsedAt: null, lastUsedUnknown: true }
    }
  }
}

/** What is not told for one key is not asked for the others of a page: the listing comes first. */
export function untilRefused(ask: AskLastUse): AskLastUse {
  let refused = false
  return async (keyId, call) => {
    if (refused) return { lastUsedAt: null, lastUsedUnknown: true }
    const answer = await ask(keyId, call)
    refused = answer.lastUsedUnknown === true
    return answer
  }
}
