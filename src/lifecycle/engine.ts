import type { ServiceAccount } from '../domain/account.ts'
import type { Credential } from '../domain/credential.ts'
import type { Person } from '../domain/owner.ts'
import type { Group } from '../domain/group.ts'
import type {
  AccountWrite,
  CredentialWrite,
  GroupWrite,
  MemberWish,
  PersonWrite,
} from '../domain/want.ts'
import { requestAccount, updateAccount } from './accounts.ts'
import { deleteAccount, switchAccount } from './switching.ts'
import type { DecisionWish } from './approvals.ts'
import { approve, deny, listApprovals, showApproval } from './approvals.ts'
import { certifyAccount } from './certify.ts'
import { engagedBrakes } from './brakes.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise, replanned, visibilityOf } from './context.ts'
import { requestCredential, rotateCredential, updateCredential } from './credentials.ts'
import { revokeCredential } from './revocation.ts'
import { createGroup, deleteGroup, membersOf, updateGroup, visibleGroup } from './groups.ts'
import { reportLeaks } from './leaks.ts'
import { cancelOperation, retryOperation, visibleOperation } from './operations.ts'
import type { LeaveWord } from './people.ts'
import { setLeaveDates, writePerson } from './leave-dates.ts'
import { createPerson, declareLeave, deletePerson } from './people.ts'
import { switchProvider } from './provider-switch.ts'
import type { ProviderRole } from './providers.ts'
import { checkProvider, listProviders, showProvider } from './providers.ts'
import { advanceMove, finishMove } from './directory-merge.ts'
import type { MoveWish } from './directory-move.ts'
import { heardFromOld, openMove, planMove, visibleMove } from './directory-move.ts'
import { ejectAccount } from './eject.ts'
import { moveOwned } from './owner-move.ts'
import { impactOf, offboardingReport } from './reports.ts'
import type { SweepName } from './due.ts'
import {
  applyDirectoryCheck,
  lastDirectoryCheck,
  listDirectories,
  runningCheck,
  startDirectoryCheck,
} from './directory-check.ts'
import { directoryDoctor } from './directory-doctor.ts'
import { rotateSealKey } from './sealing.ts'
import { acceptFinding, findingsAfter, visibleFinding } from './reconcile.ts'
import {
  adoptDrift,
  endException,
  exceptionsAfter,
  makeException,
  revertFinding,
} from './drift-decisions.ts'
import { asked } from './protected.ts'
import { isWatched } from './shadow.ts'
import { shadowReport } from './shadow-report.ts'
import { nextOf } from './account-next.ts'
import { whyOf } from './account-story.ts'
import { evidenceReport } from './evidence-report.ts'
import { expiryReport } from './expiry-report.ts'
import { postureReport } from './posture.ts'
import { planSweep, runSweep } from './sweep-runs.ts'
import { adopt } from './adoption.ts'
import { discoverPage } from './discovery.ts'
import { listConsumers, reportSeen, waitsFor, waiveConsumer } from './consumers.ts'
import { renewHookSecret } from './hooks.ts'
import { rehearseCredential } from './rehearse.ts'
import { listTasks, reopenTask, showEvidence, visibleTask } from './tasks.ts'
import { closeVendor, listVendors, vendorReport } from './vendors.ts'
import { acceptBackup, acceptTransfer, declineTransfer, transferAccount } from './transfers.ts'
import { undoEvent } from './undo.ts'
import { templateNamed } from './vocabulary.ts'
import { frozenCredential } from './windows.ts'
import { visibleAccount, visibleCredential, visibleOwner, visiblePerson } from './visible.ts'

export { clockBrake, createClockGuard } from './clock-guard.ts'
export type { ReplicaEvent, ReplicaLife } from './replicas.ts'
export { createReplica, liveReplicas } from './replicas.ts'
export type { ClockGuard } from './clock-guard.ts'
export { brakesFor, releaseByOperator } from './release.ts'
export { enterRestored } from './restored.ts'
export type { Plugin } from './providers.ts'
export { examinePlugin } from './providers.ts'
export {
  brakedNow,
  currentBrakes,
  brakeOn,
  engageBrake,
  engagedBrakes,
  releaseBrake,
  stoppedBy,
} from './brakes.ts'
export type { BrakedAct } from './brakes.ts'
export type { Caller, Lifecycle } from './context.ts'
export { auditRow, authorise, callerOf, replanned, systemActor, visibilityOf } from './context.ts'
export type { Proposal, Scope, SweepName } from './due.ts'
export { findDue, sweepNames } from './due.ts'
export type { Applied } from './sweeps.ts'
export { applyBatch } from './sweeps.ts'
export { reconcilable } from './reconcile.ts'
export type { HandOver } from './eject.ts'
export type { UndoItem, UndoPlan } from './undo.ts'
export { createTokens } from './tokens.ts'
export { shadowDays } from './shadow-report.ts'
export { expiryDays } from './expiry-report.ts'
export { adoptionsMax } from './adoption.ts'
export type { AdoptionAnswer, AdoptionEntry } from './adoption.ts'
export { createTaskBook } from './tasks.ts'
export { leaveDatesMax, personKeys } from './leave-dates.ts'
export type { LeaveDateEntry } from './leave-dates.ts'
export { leakedMax } from './leaks.ts'
export type { LeakItem } from './leaks.ts'
export type { Introspection, Tokens } from './tokens.ts'
export { consistencyProof, inclusionProof, treesOf } from './audit-tree.ts'
export type { Sealer } from './sealing.ts'
export { createSealer, sweepSealed } from './sealing.ts'
export { createSequencer } from './sequencer.ts'
export type { Sequencer, SequencerEvent, SequencerState } from './sequencer.ts'
export { createWorker } from './worker.ts'
export type { Worker, WorkerEvent } from './worker.ts'
export { tracedStore } from './watch.ts'
export type { CallNote, EndingNote, Watch } from './watch.ts'

/**
 * The door of the lifecycle floor: everything a client can ask for, authorised, decided and
 * committed. Methods resolve when the promise is durable; what reaches a provider happens later,
 * in operations. Errors are those of the catalogue.
 */
export function createEngine(life: Lifecycle) {
  return {
    life,
    visibility: visibilityOf,
    authorise: (caller: Caller, ...rest: Tail<Parameters<typeof authorise>>) =>
      authorise(life, caller, ...rest),

    person: (caller: Caller, id: string) => visiblePerson(life, caller, id),
    /** A person with what hangs on them, held though SCIM deleted them as well. */
    owner: (caller: Caller, id: string) => visibleOwner(life, caller, id),
    createPerson: (caller: Caller, want: PersonWrite) => createPerson(life, caller, want),
    updatePerson: (caller: Caller, current: Person, want: PersonWrite) =>
      writePerson(life, caller, current, want),
    deletePerson: (caller: Caller, current: Person) => deletePerson(life, caller, current),
    declareLeave: (caller: Caller, id: string, word: LeaveWord) =>
      declareLeave(life, caller, id, word),
    setLeaveDates: (caller: Caller, want: Parameters<typeof setLeaveDates>[2]) =>
      setLeaveDates(life, caller, want),
    impact: (caller: Caller, id: string, page?: Parameters<typeof impactOf>[3]) =>
      impactOf(life, caller, id, page),
    offboarding: (caller: Caller, id: string) => offboardingReport(life, caller, id),
    shadowReport: (caller: Caller, want: Parameters<typeof shadowReport>[2]) =>
      shadowReport(life, caller, want),

    posture: (caller: Caller) => postureReport(life, caller),
    evidence: (caller: Caller, framework: string | null) => evidenceReport(life, caller, framework),
    expiryReport: (caller: Caller, want: Parameters<typeof expiryReport>[2]) =>
      expiryReport(life, caller, want),

    group: (caller: Caller, id: string) => visibleGroup(life, caller, id),
    createGroup: (
      caller: Caller,
      want: GroupWrite,
      members: readonly MemberWish[],
      options: Parameters<typeof createGroup>[4],
    ) => createGroup(life, caller, want, members, options),
    updateGroup: (
      caller: Caller,
      current: Group,
      want: Parameters<typeof updateGroup>[3],
      options: Parameters<typeof updateGroup>[4],
    ) => updateGroup(life, caller, current, want, options),
    deleteGroup: (caller: Caller, current: Group) => deleteGroup(life, caller, current),
    membersOf: (group: Group) => membersOf(life, group),

    eject: (caller: Caller, id: string, wish: Parameters<typeof ejectAccount>[3]) =>
      ejectAccount(life, caller, id, wish),
    undo: (caller: Caller, id: string, wish: Parameters<typeof undoEvent>[3]) =>
      undoEvent(life, caller, id, wish),

    planMove: (caller: Caller, wish: MoveWish) => planMove(life, caller, wish),
    openMove: (caller: Caller, wish: MoveWish) => openMove(life, caller, wish),
    move: (caller: Caller, id: string) => visibleMove(life, caller, id),
    advanceMove: (caller: Caller, id: string) => advanceMove(life, caller, id),
    finishMove: (caller: Caller, id: string, options: { readonly force: boolean }) =>
      finishMove(life, caller, id, options),
    heardFromOld: (caller: Caller, id: string, method: string) =>
      heardFromOld(life, caller, id, method),
    moveOwned: (caller: Caller, from: string, wish: Parameters<typeof moveOwned>[3]) =>
      moveOwned(life, caller, from, wish),

    account: (caller: Caller, id: string, options?: { readonly retiredToo?: boolean }) =>
      visibleAccount(life, caller, id, options),
    requestAccount: (caller: Caller, want: AccountWrite) => requestAccount(life, caller, want),
    updateAccount: (
      caller: Caller,
      current: ServiceAccount,
      want: AccountWrite,
      write: { readonly mayRemove: boolean },
    ) => updateAccount(life, caller, current, want, write),
    deleteAccount: (caller: Caller, current: ServiceAccount) =>
      deleteAccount(life, caller, current),
    switchAccount: (
      caller: Caller,
      id: string,
      to: 'disable' | 'enable' | 'retire',
      reason: string | null,
    ) => replanned(() => switchAccount(life, caller, id, to, reason)),

    transfer: (caller: Caller, id: string, want: Parameters<typeof transferAccount>[3]) =>
      transferAccount(life, caller, id, want),
    acceptTransfer: (caller: Caller, id: string) => acceptTransfer(life, caller, id),
    acceptBackup: (caller: Caller, id: string, backup: string | null) =>
      acceptBackup(life, caller, id, backup),
    certify: (caller: Caller, id: string, want: Parameters<typeof certifyAccount>[3]) =>
      certifyAccount(life, caller, id, want),
    declineTransfer: (caller: Caller, id: string) => declineTransfer(life, caller, id),

    credential: (caller: Caller, id: string) => visibleCredential(life, caller, id),
    /** Of a protected account: what one person asked for and a second one has to. */
    asked: (account: ServiceAccount) => asked(life, account),
    isWatched: (account: ServiceAccount) => isWatched(life, account),
    /** Why it and its credentials are as they are. */
    whyOf: (account: ServiceAccount, credentials: readonly Credential[]) =>
      whyOf(life, account, credentials),
    /** What time will bring, as what decides it says. */
    nextOf: (account: ServiceAccount, credentials: readonly Credential[]) =>
      nextOf(life, account, credentials),
    /** The window that a planned act on it waits for. */
    frozen: (account: ServiceAccount, credential: Credential) =>
      frozenCredential(life, account, credential),
    requestCredential: (caller: Caller, want: CredentialWrite) =>
      requestCredential(life, caller, want),
    updateCredential: (caller: Caller, current: Credential, want: CredentialWrite) =>
      updateCredential(life, caller, current, want),
    /** What a request by name asks for. */
    entitlement: (name: string) => templateNamed(life, name),
    entitlements: () => life.vocabulary?.() ?? [],
    rotateCredential: (caller: Caller, id: string) => rotateCredential(life, caller, id),
    revokeCredential: (caller: Caller, id: string, reason: string | null = null) =>
      replanned(() => revokeCredential(life, caller, id, reason)),

    reportLeaks: (caller: Caller, report: Parameters<typeof reportLeaks>[2]) =>
      reportLeaks(life, caller, report),

    operation: (caller: Caller, id: string) => visibleOperation(life, caller, id),
    retryOperation: (caller: Caller, id: string) => retryOperation(life, caller, id),
    cancelOperation: (caller: Caller, id: string) => cancelOperation(life, caller, id),

    findings: (caller: Caller, want: Parameters<typeof findingsAfter>[2]) =>
      findingsAfter(life, caller, want),
    /** Reads what is at a provider, managed or not. */
    discover: (caller: Caller, provider: string, from: string | null) =>
      discoverPage(life, caller, provider, from),
    adopt: (caller: Caller, provider: string, entries: Parameters<typeof adopt>[3]) =>
      adopt(life, caller, provider, entries),
    vendors: (caller: Caller, page: Parameters<typeof listVendors>[2]) =>
      listVendors(life, caller, page),
    vendor: (caller: Caller, name: string) => vendorReport(life, caller, name),
    closeVendor: (caller: Caller, name: string, want: Parameters<typeof closeVendor>[3]) =>
      closeVendor(life, caller, name, want),
    task: (caller: Caller, id: string) => visibleTask(life, caller, id),
    tasks: (caller: Caller, want: Parameters<typeof listTasks>[2]) => listTasks(life, caller, want),
    showEvidence: (caller: Caller, id: string, shown: Parameters<typeof showEvidence>[3]) =>
      showEvidence(life, caller, id, shown),
    reopenTask: (caller: Caller, id: string, reason: string) =>
      reopenTask(life, caller, id, reason),

    consumers: (caller: Caller, account: string) => listConsumers(life, caller, account),
    waitsFor: (credential: Credential) => waitsFor(life, credential),
    reportSeen: (caller: Caller, id: string, word: Parameters<typeof reportSeen>[3]) =>
      reportSeen(life, caller, id, word),
    rehearseCredential: (caller: Caller, id: string) => rehearseCredential(life, caller, id),
    renewHookSecret: (caller: Caller) => renewHookSecret(life, caller),
    waiveConsumer: (caller: Caller, id: string, wish: Parameters<typeof waiveConsumer>[3]) =>
      waiveConsumer(life, caller, id, wish),
    directories: (caller: Caller) => listDirectories(life, caller),
    directoryCheck: (caller: Caller, name: string) => lastDirectoryCheck(life, caller, name),
    runningDirectoryCheck: (name: string) => runningCheck(life, name),
    startDirectoryCheck: (caller: Caller, name: string) => startDirectoryCheck(life, caller, name),
    applyDirectoryCheck: (
      caller: Caller,
      name: string,
      wish: Parameters<typeof applyDirectoryCheck>[3],
    ) => applyDirectoryCheck(life, caller, name, wish),
    directoryDoctor: (caller: Caller) => directoryDoctor(life, caller),

    rotateSealKey: (caller: Caller, reason: string) => rotateSealKey(life, caller, reason),
    finding: (caller: Caller, id: string) => visibleFinding(life, caller, id),
    acceptFinding: (caller: Caller, id: string, want: Parameters<typeof acceptFinding>[3]) =>
      acceptFinding(life, caller, id, want),
    adoptDrift: (caller: Caller, id: string, reason: string) =>
      adoptDrift(life, caller, id, reason),
    revertFinding: (caller: Caller, id: string, reason: string) =>
      revertFinding(life, caller, id, reason),
    exceptions: (caller: Caller, page: Parameters<typeof exceptionsAfter>[2]) =>
      exceptionsAfter(life, caller, page),
    makeException: (caller: Caller, want: Parameters<typeof makeException>[2]) =>
      makeException(life, caller, want),
    endException: (caller: Caller, id: string) => endException(life, caller, id),

    providers: (caller: Caller) => listProviders(life, caller),
    provider: (caller: Caller, name: string, role?: ProviderRole | null) =>
      showProvider(life, caller, name, role),
    checkProvider: (caller: Caller, name: string, role?: ProviderRole | null) =>
      checkProvider(life, caller, name, role),
    switchProvider: (caller: Caller, name: string, want: Parameters<typeof switchProvider>[3]) =>
      switchProvider(life, caller, name, want),

    /** `full: false`: of the orphans, those whose owner changed within the last day. */
    planSweep: (
      caller: Caller,
      sweep: SweepName,
      limit: number,
      options?: { readonly full: boolean },
    ) => planSweep(life, caller.tenant, sweep, limit, options),
    runSweep: (caller: Caller, sweep: SweepName, options?: { readonly full: boolean }) =>
      runSweep(life, caller.tenant, sweep, options),

    /** The brakes that are on, of all tenants: for metrics and health. */
    brakes: () => engagedBrakes(life),
    approvals: (caller: Caller, want: Parameters<typeof listApprovals>[2]) =>
      listApprovals(life, caller, want),
    approval: (caller: Caller, id: string) => showApproval(life, caller, id),
    approve: (caller: Caller, id: string, wish: DecisionWish) => approve(life, caller, id, wish),
    deny: (caller: Caller, id: string, wish: DecisionWish) => deny(life, caller, id, wish),
  }
}

export type Engine = ReturnType<typeof createEngine>

type Tail<T extends readonly unknown[]> = T extends readonly [unknown, unknown, ...infer Rest]
  ? Rest
  : never
