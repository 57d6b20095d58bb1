import type { Credential } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Finding } from '../domain/finding.ts'
import type { Operation } from '../domain/operation.ts'
import type { Instant } from '../domain/time.ts'
import type { Drift, Provider } from '../provider/contract.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, planOperation, replanned, save, visibilityOf } from './context.ts'
import { grantedScopesOf } from './granted.ts'
import { effectiveScopes } from './scopes.ts'
import { acceptFinding, visibleFinding } from './reconcile.ts'
import { driftIn } from './steps/compare-rights.ts'
import { putCredential } from './steps/step.ts'

/**
 * What a provider shows becomes what is granted: the credential's scopes follow it, and nothing
 * changes at the provider.
 * @throws notFound, forbidden, wrongState where the difference cannot be said in scopes
 */
export function adoptDrift(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: string,
): Promise<Finding> {
  return replanned(async () => {
    const finding = await openDrift(life, caller, id, 'adopted')
    const decision = authorise(life, caller, 'finding.adopt', { type: 'finding', id })
    const drift = driftIn(finding)
    const { credential, provider } = await credentialOf(life, finding, drift)
    const scopes = adoptedScopes(provider, finding, credential, drift)
    const asked = await askedAfter(life, finding, credential, scopes)
    const now = life.clock.now()
    const resolved: Finding = { ...finding, status: 'resolved', resolvedAt: now }
    const facts = { what: drift.what, name: drift.name, reason, scopes: [...scopes] }
    await save(
      life,
      [
        { type: 'finding', finding: resolved, expectedVersion: finding.version },
        putCredential({ ...credential, scopes: asked, grantedScopes: scopes }, now),
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'finding.adopted',
          target: { type: 'finding', id },
          decision,
          facts,
        }),
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'credential.updated',
          target: { type: 'credential', id: credential.id },
          facts: { before: [...grantedScopesOf(credential)], scopes: [...scopes], finding: id },
        }),
      ],
      { what: 'Finding', id },
    )
    return { ...resolved, version: finding.version + 1 }
  })
}

/**
 * Puts back what was granted, by an operation of its own: it is retried until the provider shows it.
 * @throws notFound, forbidden, busy while it is being put back, wrongState where nothing can be
 */
export function revertFinding(
  life: Lifecycle,
  caller: Caller,
  id: string,
  reason: string,
): Promise<{ readonly finding: Finding; readonly operation: Operation }> {
  return replanned(async () => {
    const finding = await openDrift(life, caller, id, 'reverted')
    const decision = authorise(life, caller, 'finding.revert', { type: 'finding', id })
    const provider = life.providers.get(finding.provider)
    if (!provider?.revertDrift) {
      throw refused(
        finding,
        'reverted',
        provider
          ? `Nothing can be put back at ${finding.provider}: rotate the credential, or put it right there.`
          : `Provider "${finding.provider}" is not configured any more.`,
      )
    }
    const operation = planOperation(life, {
      tenant: caller.tenant,
      kind: 'revertDrift',
      subjectType: 'finding',
      subject: id,
      account: finding.account,
      provider: finding.provider,
      actor: caller.actor,
    })
    const { what = null, name = null } = finding.facts
    await save(
      life,
      [
        { type: 'enqueue', operation, preempt: false },
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'finding.revertRequested',
          target: { type: 'finding', id },
          decision,
          operation: operation.id,
          facts: { what, name, reason },
        }),
      ],
      { what: 'Finding', id },
    )
    return { finding, operation }
  })
}

/** What somebody let be until a date: a finding that is accepted, with whose account it is. */
export interface Exception {
  readonly finding: Finding
  readonly owner: string | null
}

/** Newest first, in a keyset; what the caller may not see is left out. */
export async function exceptionsAfter(
  life: Lifecycle,
  caller: Caller,
  page: { readonly after: string | null; readonly limit: number },
): Promise<{ readonly items: readonly Exception[]; readonly next: string | null }> {
  if (visibilityOf(caller).accounts === 'none') return { items: [], next: null }
  const { tenant } = caller
  const rows = await life.store.read.findings({ tenant, status: 'accepted', ...page })
  const items: Exception[] = []
  for (const row of rows) {
    const seen = await visibleFinding(life, caller, row.id).catch(() => null)
    if (seen?.status === 'accepted') items.push(await exceptionOf(life, seen))
  }
  return { items, next: rows.length < page.limit ? null : rows.at(-1)!.id }
}

/** As `acceptFinding`, which it is under the name that auditors look for. */
export async function makeException(
  life: Lifecycle,
  caller: Caller,
  want: { readonly finding: string; readonly reason: string; readonly until: Instant },
): Promise<Exception> {
  const { finding: id, ...terms } = want
  return exceptionOf(life, await acceptFinding(life, caller, id, terms))
}

/** The finding is open again, before its date. @throws notFound, forbidden, wrongState */
export function endException(life: Lifecycle, caller: Caller, id: string): Promise<Finding> {
  return replanned(async () => {
    const finding = await visibleFinding(life, caller, id)
    const decision = authorise(life, caller, 'finding.accept', { type: 'finding', id })
    if (finding.status !== 'accepted') throw refused(finding, 'opened again', '')
    const opened: Finding = { ...finding, status: 'open', acceptance: null }
    await save(
      life,
      [
        { type: 'finding', finding: opened, expectedVersion: finding.version },
        auditRow(life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'finding.acceptanceEnded',
          target: { type: 'finding', id },
          decision,
          facts: { kind: finding.kind, until: finding.acceptance?.until ?? null },
        }),
      ],
      { what: 'Finding', id },
    )
    return { ...opened, version: finding.version + 1 }
  })
}

async function exceptionOf(life: Lifecycle, finding: Finding): Promise<Exception> {
  const { tenant, account: id } = finding
  const account = id === null ? null : await life.store.read.account(tenant, id)
  return { finding, owner: account?.owner.id ?? null }
}

async function openDrift(
  life: Lifecycle,
  caller: Caller,
  id: string,
  action: string,
): Promise<Finding> {
  const finding = await visibleFinding(life, caller, id)
  if (finding.kind !== 'entitlement-drift') {
    throw refused(finding, action, `Only an entitlement-drift is; this one is ${finding.kind}.`)
  }
  if (finding.status === 'resolved') throw refused(finding, action, 'It is over.')
  return finding
}

function refused({ id, status }: Finding, action: string, next: string): Error {
  return errors.wrongState({ what: 'Finding', id, status, action, next })
}

/** The credential whose scopes a difference would change. */
async function credentialOf(
  life: Lifecycle,
  finding: Finding,
  { keyId }: Drift,
): Promise<{ readonly credential: Credential; readonly provider: Provider }> {
  const provider = life.providers.get(finding.provider)
  const all =
    finding.account === null
      ? []
      : await life.store.read.credentialsOf(finding.tenant, finding.account)
  const found = all.filter(
    (one) =>
      one.provider === finding.provider &&
      one.status === 'active' &&
      (keyId === null || one.keyId === keyId),
  )
  const [credential] = found
  if (provider && credential && found.length === 1) return { credential, provider }
  throw refused(
    finding,
    'adopted',
    found.length > 1
      ? 'It is about several credentials: change the scopes of the one that is to have it.'
      : 'No active credential is left that it is about.',
  )
}

/**
 * What is asked for from now on, so that it comes to what was adopted.
 * @throws wrongState when a group grants what is not there any more: it would be granted again
 */
async function askedAfter(
  life: Lifecycle,
  finding: Finding,
  credential: Credential,
  adopted: readonly string[],
): Promise<readonly string[]> {
  const account = await life.store.read.account(credential.tenant, credential.account)
  if (!account) return adopted
  const granted = await effectiveScopes(life, account, { ...credential, scopes: [] })
  const again = granted.find((scope) => !adopted.includes(scope))
  if (again !== undefined) {
    const reason = `A group grants "${again}", which is missing there: revert it, or take the group out of scopesFrom first.`
    throw refused(finding, 'adopted', reason)
  }
  return adopted.filter((scope) => credential.scopes.includes(scope) || !granted.includes(scope))
}

function adoptedScopes(
  provider: Provider,
  finding: Finding,
  credential: Credential,
  { what, name, asScopes }: Drift,
): readonly string[] {
  if (!asScopes) {
    throw refused(
      finding,
      'adopted',
      `No scope of ${provider.name} says ${what} "${name}": revert it, accept it until a date, or have the configuration of the provider allow it first.`,
    )
  }
  const kept = grantedScopesOf(credential).filter((scope) => !asScopes.remove.includes(scope))
  const scopes = [...new Set([...kept, ...asScopes.add])]
  const no = provider.checkScopes(credential.kind, scopes)
  if (no) throw refused(finding, 'adopted', `Scope "${no.scope}" is refused: ${no.reason}`)
  return scopes
}
