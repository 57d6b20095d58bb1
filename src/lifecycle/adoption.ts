import type { AccountKind, ServiceAccount } from '../domain/account.ts'
import { vendorOf } from '../domain/account.ts'
import type { Decision } from '../domain/audit.ts'
import type { Credential, CredentialKind, IssuedKey } from '../domain/credential.ts'
import { nowhere } from '../domain/credential.ts'
import { AppError, errors } from '../domain/errors.ts'
import { adoptionIds, livesMax } from '../domain/adoption-ids.ts'
import type { AccountId, CredentialId, OperationId, TenantId } from '../domain/ids.ts'
import type { OwnerRef } from '../domain/owner.ts'
import type { Instant, Seconds } from '../domain/time.ts'
import { addSeconds, earlier } from '../domain/time.ts'
import type { DeliverToWish } from '../domain/want.ts'
import type { ExternalCredential, Provider } from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { Change } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, conflictError } from './context.ts'
import { rotateAfterOf, termsOf } from './credential-terms.ts'
import { deliverToFor } from './credentials.ts'
import { importable, importMilliseconds, looseCall, providerFailure } from './discovery.ts'
import { ownerState } from './people.ts'

/** What a reviewer decided about one thing that was found. */
export interface AdoptionEntry {
  readonly external: string
  /** Id or userName of a person, or id of a group. */
  readonly owner: string
  readonly userName: string
  readonly purpose: string
  readonly kind?: AccountKind | null
  readonly environment?: string | null
  readonly labels?: readonly string[] | null
  readonly vendor?: string | null
  readonly expiresAt?: Instant | null
  /** Where its secret goes when it is rotated; may be said later, once. */
  readonly deliverTo?: DeliverToWish | null
}

export interface AdoptionAnswer {
  readonly external: string
  /** `later`: not tried, or throttled; send it again. */
  readonly status: 'adopted' | 'already' | 'later' | 'failed'
  readonly account: string | null
  readonly credentials: readonly string[]
  readonly error: { readonly code: string; readonly message: string } | null
  readonly retryAfter: Seconds | null
}

export const adoptionsMax = 20

/** What is left unanswered after this is answered `later`: each takes some calls to the provider. */
const budgetMilliseconds = importMilliseconds - 7_000

const schemas = [
  'urn:ietf:params:scim:schemas:core:2.0:User',
  'urn:custody:scim:schemas:extension:nhi:1.0:User',
]

/**
 * Puts things that were found under owners and end dates. Each stands alone; nothing about them
 * changes at the provider but a mark. Repeating is harmless.
 * @throws forbidden, notFound, notDiscoverable; what concerns one entry is in its answer
 */
export async function adopt(
  life: Lifecycle,
  caller: Caller,
  name: string,
  entries: readonly AdoptionEntry[],
): Promise<readonly AdoptionAnswer[]> {
  const decision = authorise(life, caller, 'provider.adopt', { type: 'provider', id: name })
  const provider = importable(life, name)
  const began = life.clock.monotonic()
  const answers: AdoptionAnswer[] = []
  let retryAfter: Seconds | null = null
  for (const entry of entries) {
    const isLate = life.clock.monotonic() - began > budgetMilliseconds
    if (isLate || retryAfter !== null) {
      answers.push({ ...nothing(entry), status: 'later', retryAfter })
      continue
    }
    const answer = await adoptOne(life, caller, provider, entry, decision).catch((cause: unknown) =>
      failed(entry, cause),
    )
    answers.push(answer)
    // What is throttled once is for all: asking on would make it worse.
    if (answer.status === 'later') ({ retryAfter } = answer)
  }
  return answers
}

function nothing({ external }: AdoptionEntry): AdoptionAnswer {
  return {
    external,
    status: 'failed',
    account: null,
    credentials: [],
    error: null,
    retryAfter: null,
  }
}

const patienceSeconds = 5 as Seconds

function failed(entry: AdoptionEntry, cause: unknown): AdoptionAnswer {
  if (cause instanceof ProviderError && cause.kind === 'throttled') {
    const retryAfter = cause.retryAfter ?? patienceSeconds
    const error = { code: 'throttled', message: cause.message }
    return { ...nothing(entry), status: 'later', error, retryAfter }
  }
  if (cause instanceof ProviderError) {
    return { ...nothing(entry), error: { code: cause.kind, message: cause.message } }
  }
  if (cause instanceof AppError) {
    return { ...nothing(entry), error: { code: cause.code, message: cause.message } }
  }
  throw cause
}

async function adoptOne(
  life: Lifecycle,
  caller: Caller,
  provider: Provider & Required<Pick<Provider, 'adopt'>>,
  entry: AdoptionEntry,
  decision: Decision,
): Promise<AdoptionAnswer> {
  const { tenant } = caller
  const { external } = entry
  const id = await freeId(life, { tenant, provider: provider.name, external })
  if ('known' in id) {
    const { known } = id
    const credentials = await life.store.read.credentialsOf(tenant, known.id)
    const ids = credentials.map((c) => c.id)
    return { ...nothing(entry), status: 'already', account: known.id, credentials: ids }
  }
  // All that may be refused is refused before anything is marked.
  const account = await accountFor(life, caller, id.free, entry)
  const operation = life.ids.next() as OperationId
  const want = { tenant, account: account.id, userName: account.userName, operation }
  const ensured = await provider.adopt(external, want, looseCall(life))
  const listing = await provider.list(ensured.external, looseCall(life))
  if (!listing.complete) {
    throw providerFailure(provider.name, incomplete)
  }
  const planned = planHoldings(life, account, provider, listing.items, entry.deliverTo ?? null)
  await refuseOthers(life, provider.name, account, planned)
  const changes: readonly Change[] = [
    { type: 'account', account, expectedVersion: null },
    {
      type: 'principal',
      principal: {
        tenant,
        account: account.id,
        provider: provider.name,
        external: ensured.external,
        state: 'live',
        created: ensured.created,
        updatedAt: life.clock.now(),
      },
    },
    ...planned.flatMap(({ credential, key }): Change[] => [
      { type: 'credential', credential, expectedVersion: null },
      { type: 'key', key },
    ]),
    auditRow(life, {
      tenant,
      actor: caller.actor,
      action: 'account.adopted',
      target: { type: 'account', id: account.id },
      decision,
      facts: {
        provider: provider.name,
        external,
        userName: account.userName,
        owner: account.owner.id,
        vendor: vendorOf(account.labels),
        expiresAt: account.expiresAt,
        keys: planned.map(({ key }) => key.keyId),
      },
    }),
  ]
  const result = await life.store.commit(changes)
  if (result !== 'saved') {
    // Another request adopted it at the same moment: that one's answer is ours.
    const other = await life.store.read.account(tenant, account.id)
    if (other) return { ...nothing(entry), status: 'already', account: other.id }
    throw await conflictError(life, result, changes, { what: 'Account', id: account.id })
  }
  const credentials = planned.map(({ credential }) => credential.id)
  return { ...nothing(entry), status: 'adopted', account: account.id, credentials }
}

const incomplete = new ProviderError(
  'unavailable',
  'the listing of its keys was incomplete; adopt it again.',
  { outcome: 'notApplied' },
)

/** The account that manages it already, or the id under which it is adopted. */
async function freeId(
  life: Lifecycle,
  thing: Parameters<typeof adoptionIds>[0],
): Promise<{ readonly known: ServiceAccount } | { readonly free: AccountId }> {
  for (const free of adoptionIds(thing)) {
    const account = await life.store.read.account(thing.tenant, free)
    if (!account) return { free }
    if (account.status !== 'retired') return { known: account }
  }
  const reason = `it was adopted and retired ${livesMax} times; remove it there, and request a new one.`
  throw errors.invalidValue({ path: 'external', reason })
}

/** A key that another account has in its journal is that one's. */
async function refuseOthers(
  life: Lifecycle,
  provider: string,
  account: ServiceAccount,
  planned: readonly { readonly key: IssuedKey }[],
): Promise<void> {
  const keyIds = planned.map(({ key }) => key.keyId)
  const known = await life.store.read.keysById(provider, keyIds)
  const other = known.find(
    (k) => k.account !== account.id && k.deletedAt === null && k.status !== 'released',
  )
  if (!other) return
  const whose = other.tenant === account.tenant ? `account ${other.account}` : 'another tenant'
  throw errors.invalidValue({
    path: 'external',
    reason: `its key ${other.keyId} is managed by ${whose}.`,
  })
}

async function accountFor(
  life: Lifecycle,
  caller: Caller,
  id: AccountId,
  entry: AdoptionEntry,
): Promise<ServiceAccount> {
  const owner = await ownerFor(life, caller.tenant, entry.owner)
  const now = life.clock.now()
  const labels = labelsOf(entry)
  const environment = entry.environment ?? null
  const terms = termsOf(life, { environment, labels, imported: true, attributes: {} })
  const cap = addSeconds(now, terms.expiry.cap)
  const expiresAt = entry.expiresAt ?? addSeconds(now, terms.expiry.default)
  if (expiresAt <= now) throw errors.expiryPast({ path: 'expiresAt' })
  if (expiresAt > cap) throw errors.expiryTooFar({ path: 'expiresAt', cap })
  return {
    tenant: caller.tenant,
    id,
    client: caller.client.id,
    userName: entry.userName,
    externalId: null,
    kind: entry.kind ?? 'serviceAccount',
    imported: true,
    owner,
    pendingOwner: null,
    backups: [],
    purpose: entry.purpose,
    environment,
    labels,
    protected: false,
    status: 'active',
    statusReason: null,
    expiresAt,
    orphanedAt: null,
    disabledAt: null,
    disableAt: null,
    deleteAt: null,
    certifiedAt: null,
    certifyBy: null,
    retiredAt: null,
    deletedAt: null,
    attributes: { schemas },
    createdAt: now,
    updatedAt: now,
    version: 1,
  }
}

function labelsOf({ labels, vendor }: AdoptionEntry): readonly string[] {
  const given = labels ?? []
  return vendor ? [...given.filter((l) => !l.startsWith('vendor=')), `vendor=${vendor}`] : given
}

async function ownerFor(life: Lifecycle, tenant: TenantId, name: string): Promise<OwnerRef> {
  const { read } = life.store
  const group = await read.group(tenant, name)
  const byId = group ? null : await read.person(tenant, name)
  const named = group || byId ? [] : await read.peopleNamed(tenant, [name])
  if (named.length > 1) {
    const ids = named.map((p) => `${p.id} (${p.userName})`).join(', ')
    throw errors.invalidValue({ path: 'owner', reason: `"${name}" may be ${ids}; give the id.` })
  }
  const id = group?.id ?? byId?.id ?? named[0]?.id
  if (id === undefined) throw errors.ownerUnknown({ owner: name, path: 'owner' })
  const ref: OwnerRef = { type: group ? 'Group' : 'User', id }
  const state = await ownerState(life, tenant, ref)
  if (!state?.active) throw errors.ownerGone({ owner: name })
  return ref
}

/** Each key becomes a credential of its own, as it is: nobody knows which one replaced which. */
function planHoldings(
  life: Lifecycle,
  account: ServiceAccount,
  provider: Provider,
  items: readonly ExternalCredential[],
  deliverTo: DeliverToWish | null,
): readonly { readonly credential: Credential; readonly key: IssuedKey }[] {
  // The key in use gets the place to deliver to; a second one would overwrite it.
  const first = items.find((item) => item.active) ?? items[0]
  return items
    .filter((item) => provider.capabilities[item.kind] !== undefined)
    .map((item) => holding(life, account, provider.name, item, item === first ? deliverTo : null))
}

function holding(
  life: Lifecycle,
  account: ServiceAccount,
  provider: string,
  item: ExternalCredential,
  wish: DeliverToWish | null,
): { readonly credential: Credential; readonly key: IssuedKey } {
  const now = life.clock.now()
  const id = life.ids.next() as CredentialId
  const issuedAt = item.createdAt === null ? now : earlier(item.createdAt, now)
  const kind: CredentialKind = item.kind
  const terms = termsOf(life, account, { provider, kind })
  const status = item.active ? 'active' : 'disabled'
  const fingerprint = item.fingerprint ?? 'unknown'
  const shared = { tenant: account.tenant, account: account.id, provider, fingerprint, issuedAt }
  return {
    credential: {
      ...shared,
      id,
      kind,
      displayName: null,
      scopes: item.scopes ?? [],
      scopesFrom: [],
      grantedScopes: item.scopes ?? [],
      entitlement: null,
      readers: [],
      deliverTo: wish ? deliverToFor(life, account, id, wish) : nowhere(id),
      status,
      generation: 1,
      keyId: item.keyId,
      previousKeyId: null,
      secretRef: null,
      expiresAt: account.expiresAt,
      rotateEvery: null,
      overlap: null,
      // Without a place to deliver to it cannot be rotated, so no rotation is ever due.
      rotateAfter: wish ? rotateAfterOf(issuedAt, terms.rotation.every) : null,
      lastRotatedAt: null,
      lastUsedAt: item.lastUsedAt,
      refusedAt: null,
      settledAt: null,
      lastError: null,
      createdAt: now,
      updatedAt: now,
      version: 1,
    },
    key: {
      ...shared,
      credential: id,
      generation: 1,
      keyId: item.keyId,
      sinkVersion: null,
      status,
      activatedAt: issuedAt,
      supersededAt: null,
      disabledAt: item.active ? null : now,
      refusedAt: null,
      settledAt: null,
      outcome: null,
      deletedAt: null,
    },
  }
}
