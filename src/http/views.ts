import type { ServiceAccount } from '../domain/account.ts'
import type { Credential, IssuedKey } from '../domain/credential.ts'
import type { Operation } from '../domain/operation.ts'
import type { Person } from '../domain/owner.ts'

/** An operation as the contract shows it; the memo is Custody's own business. */
export function operationView(operation: Operation) {
  const {
    id,
    kind,
    subject,
    status,
    attempt,
    runAt,
    createdAt,
    finishedAt,
    failure,
    account,
    cause,
  } = operation
  const open = finishedAt === null
  return {
    id,
    kind,
    subject,
    account,
    cause,
    status,
    step: open ? operation.steps[operation.cursor] : null,
    attempt,
    runAt,
    createdAt,
    finishedAt,
    failure,
    // What it found out, of the few that do.
    ...(operation.memo['result'] === undefined ? {} : { result: operation.memo['result'] }),
  }
}

export function accountRow(account: ServiceAccount) {
  const { attributes: _attributes, tenant: _tenant, version: _version, ...rest } = account
  return rest
}

export function transferView({
  id,
  userName,
  owner,
  pendingOwner,
  orphanedAt,
  disableAt,
}: ServiceAccount) {
  return {
    id,
    account: id,
    userName,
    from: owner,
    to: pendingOwner,
    orphanedAt,
    deadline: disableAt,
  }
}

export function credentialView(credential: Credential, keys: readonly IssuedKey[] | null) {
  const { tenant: _tenant, version: _version, ...rest } = credential
  return keys === null
    ? rest
    : {
        ...rest,
        keys: keys.map(({ tenant: _t, account: _a, credential: _c, ...key }) => key),
      }
}

export function ownerView(person: Person) {
  const { id, userName, externalId, directory, active, leftAt, heldBy, releasedAt } = person
  const { createdAt, updatedAt, leftCause, leftClass = null, leavesAt = null } = person
  const displayName = person.attributes['displayName']
  return {
    id,
    userName,
    displayName: typeof displayName === 'string' ? displayName : null,
    externalId,
    directory,
    active,
    leftAt,
    leftCause,
    leftClass,
    leavesAt,
    heldBy,
    releasedAt,
    createdAt,
    updatedAt,
  }
}
