import type { Credential, IssuedKey } from '../../domain/credential.ts'
import type { JsonObject } from '../../domain/json.ts'
import { addSeconds } from '../../domain/time.ts'
import type { Released } from '../../provider/contract.ts'
import type { Change } from '../../store/store.ts'
import type { ReleasedAt } from '../eject.ts'
import { isThere } from '../eject.ts'
import type { Step, StepContext, StepResult } from './step.ts'
import { NotConfigured, audit, loadAccount, memoOf, putAccount, putCredential } from './step.ts'

const lookSeconds = 10

/** Nothing is marked there, so nothing had to be removed. */
const unmarked: Released = {
  removed: [],
  stays: ['Names and titles that Custody gave; nothing there confines the keys.'],
}

/** Takes our marks and boundaries off the account's principals. No key is touched. */
export const release: Step = async (ctx) => {
  const { life, operation } = ctx
  const others = await waitForOthers(ctx)
  if (others) return others
  const principals = await life.store.read.principalsOf(operation.tenant, operation.account!)
  for (const { state, external, provider: name } of principals) {
    const released = memoOf<ReleasedAt>(ctx, 'released') ?? {}
    if (state === 'absent' || external === null || released[name]) continue
    const provider = life.providers.get(name)
    if (!provider) {
      throw new NotConfigured(
        `provider "${name}" is not configured any more; put it back and retry, or its marks stay`,
      )
    }
    const done = (await provider.release?.(external, ctx.call())) ?? unmarked
    const facts = { provider: name, removed: done.removed, stays: done.stays }
    const memo = { released: { ...released, [name]: done } } as unknown as JsonObject
    await ctx.checkpoint(memo, [
      audit(ctx, 'principal.released', { type: 'account', id: operation.account! }, facts),
    ])
  }
  return { go: 'next' }
}

/** From this commit on nothing of the account is Custody's: no sweep, no leaver, no inventory. */
export const handOver: Step = async (ctx) => {
  const { life, operation } = ctx
  const others = await waitForOthers(ctx)
  if (others) return others
  const { read } = life.store
  const id = operation.account!
  const account = await loadAccount(ctx, id)
  const credentials = await read.credentialsOf(operation.tenant, id)
  const keys = await read.keysOfAccount(operation.tenant, id)
  const principals = await read.principalsOf(operation.tenant, id)
  const now = life.clock.now()
  const changes: Change[] = [
    putAccount(
      {
        ...account,
        status: 'retired',
        statusReason: 'ejected',
        pendingOwner: null,
        disableAt: null,
        deleteAt: null,
        retiredAt: now,
        deletedAt: account.deletedAt ?? now,
      },
      now,
    ),
    ...credentials.filter(isHandedBack).map((credential): Change => {
      const lastError = 'handed back; Custody does not manage it any more'
      return putCredential({ ...credential, status: 'released', lastError }, now)
    }),
    ...keys
      .filter(isThere)
      .map((key: IssuedKey): Change => ({ type: 'key', key: { ...key, status: 'released' } })),
    ...principals
      .filter(({ state }) => state !== 'absent')
      .map((principal): Change => {
        return { type: 'principal', principal: { ...principal, state: 'released', updatedAt: now } }
      }),
    audit(
      ctx,
      'account.ejected',
      { type: 'account', id },
      {
        owner: account.owner.id,
        was: account.status,
        keys: keys.filter(isThere).map((key) => key.keyId),
      },
    ),
  ]
  return { go: 'next', changes }
}

function isHandedBack({ status }: Credential): boolean {
  return status !== 'revoked' && status !== 'revoking'
}

/** What was asked for in the same moment goes first: a key in the making has no state to keep. */
async function waitForOthers({ life, operation }: StepContext): Promise<StepResult | null> {
  const open = await life.store.read.openOperations(operation.tenant, operation.account!)
  const other = open.find(({ id }) => id !== operation.id)
  if (!other) return null
  const message = `operation ${other.id} (${other.kind}) runs on the account; it ends first`
  return {
    go: 'wait',
    until: addSeconds(life.clock.now(), lookSeconds),
    failure: { code: 'otherWork', message },
  }
}
