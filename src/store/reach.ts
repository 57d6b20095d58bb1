import type { TenantId } from '../domain/ids.ts'
import { assertNever } from '../domain/json.ts'
import { everyTenant, scopeOf, type Scope } from './fence.ts'
import type { Change } from './store.ts'

/** Names a row by its id alone: it goes along with the rest of its commit. */
const byId = null
type Reach = TenantId | typeof everyTenant | typeof byId

/**
 * The scope in which a commit runs: its tenant's when it has one, else all tenants'. What names its
 * row by id alone finds nothing of another tenant when it comes with changes of this one.
 */
export function scopeOfCommit(changes: readonly Change[]): Scope {
  const tenants = new Set(changes.flatMap(reachOf))
  tenants.delete(byId)
  const [one] = tenants
  return tenants.size !== 1 || one === undefined || one === byId || one === everyTenant
    ? everyTenant
    : scopeOf(one)
}

/** Every change is judged here: of which tenant it is, or why it is of none. */
function reachOf(change: Change): Reach | readonly Reach[] {
  switch (change.type) {
    case 'person':
      return change.person.tenant
    case 'account':
      return change.account.tenant
    case 'credential':
      return change.credential.tenant
    case 'group':
      return change.group.tenant
    case 'key':
      return change.key.tenant
    case 'principal':
      return change.principal.tenant
    case 'enqueue':
      return change.operation.tenant
    case 'audit':
      return change.row.tenant
    case 'client':
      return change.client.tenant
    case 'issuedToken':
      return change.token.tenant
    case 'replayAnswer':
    case 'replayRelease':
      return change.replay.tenant
    case 'held':
      return change.approval.tenant
    case 'approvalDecided':
      return change.item.tenant
    case 'finding':
      return change.finding.tenant
    case 'sealed':
      return change.sealed.tenant
    case 'task':
      return change.task.tenant
    case 'moveOpened':
    case 'moveAdvanced':
      return change.move.tenant
    case 'moved':
      return change.moved.map(({ tenant }) => tenant)
    case 'consumerReport':
      return change.report.tenant
    case 'keyProbe':
      return change.probe.tenant
    case 'shadow':
      return change.shadow.tenant
    case 'shadowAct':
      return change.act.tenant
    case 'consent':
    case 'consentUsed':
      return change.consent.tenant
    case 'departureSeen':
    case 'handedOver':
      return change.departure.tenant
    case 'directoryCheck':
      return change.check.tenant
    case 'members':
    case 'memberSwitched':
    case 'auditSequenced':
    case 'auditSigned':
    case 'expiryWarned':
    case 'leaving':
    case 'approvalFrozen':
    case 'unsealed':
    case 'requestSettled':
    case 'failureDecided':
    case 'movedConfirmed':
    case 'movedOldWord':
    case 'taskEvidence':
    case 'shadowEnded':
    case 'departed':
      return change.tenant
    case 'brakeEngaged':
      return change.brake.tenant ?? everyTenant
    case 'brakeReleased':
      return change.tenant ?? everyTenant
    case 'advance':
    case 'claimed':
    case 'clientToken':
    case 'clientTokenUsed':
    case 'issuedTokenActive':
    case 'issuedTokenScopes':
    case 'issuedTokenRemoved':
    case 'issuedTokenUsed':
    // Tables without tenants.
    case 'slot':
    case 'meta':
    case 'keysSeen':
    case 'keyMissed':
    case 'replicaSeen':
    case 'replicaGone':
    case 'lead':
    case 'led':
      return byId
    // They also forget what is over, of whichever tenant: one that has gone quiet must not keep
    // bodies of requests for ever.
    case 'replayClaim':
    case 'requestFailed':
    case 'scimRequests':
    case 'sightings':
    case 'sealedSwept':
    // After a clock was set back, of the whole journal.
    case 'urgentDue':
      return everyTenant
    default:
      return assertNever(change)
  }
}

/**
 * The account whose summaries or open operations a change has to find as they were: its row alone
 * does not guard them. Resources are named too: commits that touch the same ones in different
 * orders then queue, where PostgreSQL would wait a second and break one off.
 */
export function lockOf(change: Change): readonly string[] {
  switch (change.type) {
    case 'person':
      return [change.person.id]
    case 'account':
      return [change.account.id]
    case 'credential':
      return [change.credential.account]
    case 'group':
      return [change.group.id]
    // Whether a group has anybody active follows from the rows of many people and groups: what two
    // commits change side by side, neither would see.
    case 'members':
      return [change.group, `members:${change.tenant}`]
    case 'memberSwitched':
    case 'departed':
      return [`members:${change.tenant}`]
    case 'moveOpened':
      return [`members:${change.move.tenant}`]
    // How many left, and which batch they wait in, follows from the rows of many people.
    case 'leaving':
      return [`leavers:${change.tenant}:${change.directory}`]
    case 'held':
      return [`leavers:${change.approval.tenant}:${change.approval.subject}`]
    case 'approvalFrozen':
      return [`leavers:${change.tenant}:${change.directory}`]
    case 'approvalDecided':
      return [`leavers:${change.item.tenant}:${change.directory}`]
    case 'enqueue':
      return [change.operation.account ?? change.operation.subject]
    default:
      return []
  }
}
