import type { User } from '@aws-sdk/client-iam'
import type { CredentialKind } from '../../src/domain/credential.ts'
import type {
  Call,
  Capabilities,
  CheckFinding,
  DiscoveryPage,
  ExternalCredential,
  InventoryPage,
  KindCapabilities,
  Listing,
  Provider,
} from '../../src/provider/contract.ts'
import type { AllowStatement } from './least.ts'
import { parsed, refuse } from './marks.ts'

/** What every sort of IAM identity does in the provider's stead. */
type Share = Pick<
  Provider,
  | 'ensurePrincipal'
  | 'issue'
  | 'rescope'
  | 'disable'
  | 'enable'
  | 'revoke'
  | 'shutOff'
  | 'turnOn'
  | 'probe'
  | 'probeKey'
  | 'list'
  | 'deletePrincipal'
  | 'adopt'
  | 'release'
>

/**
 * One sort of IAM identity with the kind of credential that lives on it: users with access keys,
 * roles with their trust. The provider asks the one whose kind or whose principals it is about.
 */
export interface Identity extends Share {
  readonly kind: CredentialKind
  readonly capabilities: KindCapabilities
  /** Whether a principal is of this sort, by the members of what `ensurePrincipal` answered. */
  owns(members: Readonly<Record<string, unknown>>): boolean
  /** As `checkScopes` of the provider, for its own kind. */
  checkScopes(scopes: readonly string[]): { readonly scope: string; readonly reason: string } | null
  marksOf(principal: string, call: Call): Promise<string | null>
  inventory(from: string | null, call: Call): Promise<InventoryPage>
  /** Absent: nothing of this sort is adopted. */
  readonly discover?: ((from: string | null, call: Call) => Promise<DiscoveryPage>) | undefined
  /** What Custody must be allowed for it, in its own account and path. */
  leastStatements?(): readonly AllowStatement[]
  /** Looks at what this sort needs beyond permissions; changes nothing. */
  check?(call: Call): Promise<readonly CheckFinding[]>
}

/** Roles of an account that has a user too: the user's principal stands for both. */
export interface Beside {
  /** The tags a user of this account is to be born with. */
  birthMarks(
    account: string,
    call: Call,
  ): Promise<readonly { readonly Key: string; readonly Value: string }[]>
  listBeside(user: User, call: Call): Promise<Listing<ExternalCredential>>
  shutOffBeside(user: User, call: Call): Promise<void>
  turnOnBeside(user: User, call: Call): Promise<void>
  deleteBeside(user: User, call: Call): Promise<void>
  releaseBeside(user: User, call: Call): Promise<readonly string[]>
}

export function capabilitiesOf(identities: readonly Identity[]): Capabilities {
  return Object.fromEntries(identities.map((i) => [i.kind, i.capabilities]))
}

/** @throws ProviderError `invalid` for what none of them made */
export function identityOf(identities: readonly Identity[], principal: string): Identity {
  const members = parsed(principal)
  const found = identities.find((identity) => identity.owns(members))
  if (!found) throw refuse('invalid', 'The stored principal names neither an IAM user nor a role.')
  return found
}

interface Page {
  readonly next: string | null
}

/**
 * Walks through the sorts one after the other. A place in the first sort's listing is its own, as it
 * was before there were several; one in another's is wrapped in its kind.
 */
export async function chained<P extends Page>(
  identities: readonly Identity[],
  from: string | null,
  pageOf: (identity: Identity, from: string | null) => Promise<P>,
): Promise<P> {
  const { of, at } = placeOf(from)
  const index = of === null ? 0 : identities.findIndex((identity) => identity.kind === of)
  const identity = identities[index]
  if (!identity) throw refuse('invalid', 'This is no place in a listing of this provider.')
  const page = await pageOf(identity, at)
  if (page.next !== null) return { ...page, next: index === 0 ? page.next : place(identity, page) }
  const following = identities[index + 1]
  return following ? { ...page, next: place(following, { next: null }) } : page
}

function place({ kind }: Identity, { next }: Page): string {
  return JSON.stringify({ of: kind, at: next })
}

function placeOf(from: string | null): { readonly of: string | null; readonly at: string | null } {
  const { of, at } = from === null ? {} : parsed(from)
  if (typeof of !== 'string') return { of: null, at: from }
  return { of, at: typeof at === 'string' ? at : null }
}
