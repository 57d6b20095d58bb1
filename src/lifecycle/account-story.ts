import type { ServiceAccount, StatusReason } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import { assertNever } from '../domain/json.ts'
import type { Operation, OperationKind } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import type { Lifecycle } from './context.ts'
import { verdictOn } from './offboard.ts'
import { isWatched } from './shadow.ts'

/** Why something is in the state it is in. */
export interface Why {
  readonly sentence: string
  readonly since: Instant
  /** What brought it there, as far as the journal tells. */
  readonly cause: {
    /** One event may have started many operations; `GET operations?cause=` lists them. */
    readonly event: string
    readonly operation: string
    readonly kind: OperationKind
    readonly actor: { readonly type: string; readonly name: string }
  } | null
}

export interface AccountStory {
  readonly account: Why
  readonly credentials: ReadonlyMap<string, Why>
}

/** Operations of an account that are looked through for what explains its state. */
const looksMax = 100

/** Why an account and each of its credentials is in the state it is in. */
export async function whyOf(
  life: Lifecycle,
  account: ServiceAccount,
  credentials: readonly Credential[],
): Promise<AccountStory> {
  const operations = await life.store.read.operations({
    tenant: account.tenant,
    account: account.id,
    after: null,
    limit: looksMax,
  })
  const mine = operations.filter(({ subject }) => subject === account.id)
  return {
    account: await accountWhy(life, account, mine, operations),
    credentials: new Map(
      credentials.map((credential) => {
        const of = operations.filter(({ subject }) => subject === credential.id)
        return [credential.id, credentialWhy(account, credential, of, mine)]
      }),
    ),
  }
}

async function accountWhy(
  life: Lifecycle,
  account: ServiceAccount,
  mine: readonly Operation[],
  all: readonly Operation[],
): Promise<Why> {
  const latest = (...kinds: readonly OperationKind[]) =>
    mine.find(({ kind, status }) => kinds.includes(kind) && status !== 'cancelled') ?? null
  const closing = latest('disable')
  switch (account.status) {
    case 'requested':
    case 'provisioning': {
      const making = all.find(({ kind }) => kind === 'issue' || kind === 'enable') ?? null
      const trouble = troubleIn(account.statusReason)
      const sentence = `Its credentials are being made${trouble === null ? '.' : `, but ${trouble}.`}`
      return why(sentence, making?.createdAt ?? account.createdAt, making)
    }
    case 'active': {
      const enabled = latest('enable', 'undo')
      const sentence = isWatched(life, account)
        ? 'It is up, and only watched: the policy observes it and changes nothing.'
        : 'It is up: its owner is there and its end has not come.'
      return why(sentence, enabled?.finishedAt ?? account.createdAt, enabled)
    }
    case 'orphaned':
      return orphanedWhy(life, account, all)
    case 'disabling':
      return why(
        `It is being switched off: ${reasonIn(account.statusReason)}.`,
        closing?.createdAt ?? account.updatedAt,
        closing,
      )
    case 'disabled':
    case 'expired':
      return why(
        `It was switched off: ${reasonIn(account.statusReason)}.`,
        account.disabledAt ?? account.updatedAt,
        closing,
      )
    case 'retiring':
    case 'retired': {
      const retiring = latest('retire', 'eject', 'delete')
      const sentence =
        account.statusReason === 'ejected'
          ? 'It was handed back as it was; Custody does not manage it any more.'
          : `It ${account.status === 'retiring' ? 'is being' : 'was'} retired for good: ${reasonIn(account.statusReason)}.`
      return why(sentence, account.retiredAt ?? retiring?.createdAt ?? account.updatedAt, retiring)
    }
    case 'failed': {
      const failed = all.find(({ status }) => status === 'failed') ?? null
      const said = failed?.failure?.message ?? 'its credentials could not be made'
      return why(`It failed: ${said}`, failed?.finishedAt ?? account.updatedAt, failed)
    }
    default:
      return assertNever(account.status)
  }
}

/** By the decision itself, as it is now: an heir may have left since. */
async function orphanedWhy(
  life: Lifecycle,
  account: ServiceAccount,
  all: readonly Operation[],
): Promise<Why> {
  const { decision } = await verdictOn(life, account)
  const waits =
    account.pendingOwner === null
      ? 'nobody is left to offer it to'
      : 'it waits for the one it was offered to'
  const until =
    account.disableAt === null
      ? ''
      : `, and is switched off at ${account.disableAt} unless somebody accepts`
  const rotated = all.find(({ memo }) => memo['reason'] === 'ownerLeft') ?? null
  return why(
    `Its owner is gone (rule ${decision.rule}): ${waits}${until}.`,
    account.orphanedAt ?? account.updatedAt,
    rotated,
  )
}

function credentialWhy(
  account: ServiceAccount,
  credential: Credential,
  own: readonly Operation[],
  ofAccount: readonly Operation[],
): Why {
  const latest = (of: readonly Operation[], ...kinds: readonly OperationKind[]) =>
    of.find(({ kind, status }) => kinds.includes(kind) && status !== 'cancelled') ?? null
  const made = latest(own, 'issue', 'rotate')
  const ended = latest(own, 'revoke') ?? latest(ofAccount, 'disable', 'retire', 'delete')
  const issued = credential.issuedAt ?? credential.createdAt
  const dead =
    credential.refusedAt === null
      ? ''
      : ` Its key was tried and refused at ${credential.refusedAt}.`
  switch (credential.status) {
    case 'pending':
    case 'issuing': {
      const trouble = credential.lastError === null ? '' : ` Last trouble: ${credential.lastError}`
      return why(`Its key is being made.${trouble}`, made?.createdAt ?? credential.createdAt, made)
    }
    case 'active':
      return why(
        `Its key of generation ${credential.generation} works and was delivered.`,
        issued,
        made,
      )
    case 'superseded':
      return why('A newer key has taken its place.', credential.updatedAt, made)
    case 'disabled':
      return why(
        `Its keys were switched off with its account: ${reasonIn(account.statusReason)}.${dead}`,
        credential.refusedAt ?? ended?.createdAt ?? credential.updatedAt,
        ended,
      )
    case 'revoking':
      return why('Its keys are being ended.', ended?.createdAt ?? credential.updatedAt, ended)
    case 'revoked':
      return why(
        `Its keys were ended for good.${dead}`,
        credential.refusedAt ?? credential.settledAt ?? credential.updatedAt,
        ended,
      )
    case 'released':
      return why(
        'It was handed back with its account; what became of it since, Custody does not know.',
        account.retiredAt ?? credential.updatedAt,
        latest(ofAccount, 'eject'),
      )
    case 'failed': {
      const said = credential.lastError ?? made?.failure?.message ?? 'its key could not be made.'
      return why(`It failed: ${said}`, made?.finishedAt ?? credential.updatedAt, made)
    }
    default:
      return assertNever(credential.status)
  }
}

function why(sentence: string, since: Instant, operation: Operation | null): Why {
  if (operation === null) return { sentence, since, cause: null }
  const { id, cause: event, kind, actor } = operation
  const cause = { event, operation: id, kind, actor: { type: actor.type, name: actor.name } }
  return { sentence, since, cause }
}

function troubleIn(reason: StatusReason | null): string | null {
  switch (reason) {
    case 'providerDenied':
      return 'the provider denies it'
    case 'providerUnavailable':
      return 'the provider does not answer'
    case 'providerThrottled':
      return 'the provider asks to wait'
    case 'providerRefused':
      return 'the provider refuses it'
    default:
      return null
  }
}

function reasonIn(reason: StatusReason | null): string {
  switch (reason) {
    case 'ownerLeft':
      return 'its owner has left'
    case 'ownerMissing':
      return 'nobody is known as its owner'
    case 'expired':
      return 'its end date has come'
    case 'operator':
      return 'somebody asked for it'
    case 'retired':
      return 'somebody retired it'
    case 'leak':
      return 'a key of it was exposed'
    case 'provisionFailed':
      return 'its credentials could not be made'
    case 'offerPending':
    case 'contained':
      return 'nobody accepted it in time'
    case 'ejected':
      return 'it was handed back'
    case 'providerDenied':
    case 'providerUnavailable':
    case 'providerThrottled':
    case 'providerRefused':
      return troubleIn(reason)!
    case null:
      return 'the reason was not noted'
    default:
      return assertNever(reason)
  }
}
