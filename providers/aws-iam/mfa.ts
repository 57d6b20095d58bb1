import type { IAM, User } from '@aws-sdk/client-iam'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'

interface Options {
  readonly abortSignal: AbortSignal
}

/** Only virtual devices are things of their own; hardware is just taken off the user. */
const virtual = /^arn:[\w-]+:iam::\d{12}:mfa\//
const tagDevice = 'custody:mfa'
const tagValue = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,256}$/u

/**
 * Takes the user's MFA devices away, and virtual ones out of the account. Between the two a device
 * belongs to nobody and no listing leads back to its user: so the user is tagged with it before, and
 * a repeat finds in the tags what the last run left behind.
 */
export async function removeMfaDevices(
  iam: IAM,
  { UserName, Tags }: User,
  serials: readonly string[],
  options: Options,
): Promise<void> {
  const left = (Tags ?? [])
    .filter(({ Key }) => Key?.startsWith(tagDevice))
    .map(({ Value }) => deviceOf(Value ?? ''))
    .filter((serial) => virtual.test(serial) && !serials.includes(serial))
  for (const SerialNumber of left) {
    await unlessTaken(unlessGone(iam.deleteVirtualMFADevice({ SerialNumber }, options)))
  }
  const marks = serials
    .filter((serial) => virtual.test(serial))
    .map((serial, i) => ({ Key: `${tagDevice}-${i + 1}`, Value: valueOf(serial) }))
    // A path of signs that no tag takes: such a device is lost to a crash between the two calls.
    .filter(({ Value }) => tagValue.test(Value))
  if (marks.length > 0) await unlessGone(iam.tagUser({ UserName, Tags: marks }, options))
  for (const SerialNumber of serials) {
    await unlessGone(iam.deactivateMFADevice({ UserName, SerialNumber }, options))
    if (!virtual.test(SerialNumber)) continue
    await unlessGone(iam.deleteVirtualMFADevice({ SerialNumber }, options))
  }
}

/** Names of devices may hold a comma, tags may not; no name holds a space. */
function valueOf(serial: string): string {
  return serial.replaceAll(',', ' ')
}

function deviceOf(value: string): string {
  return value.replaceAll(' ', ',')
}

/** Someone else uses the device by now. */
async function unlessTaken(answer: Promise<unknown>): Promise<void> {
  try {
    await answer
  } catch (error) {
    if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
  }
}
