import type { AccountId, ClientId, TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { OwnerRef } from './owner.ts'
import type { Instant } from './time.ts'

export type AccountKind = 'serviceAccount' | 'workload' | 'agent' | 'bot'
export const accountKinds: readonly AccountKind[] = ['serviceAccount', 'workload', 'agent', 'bot']

export type AccountStatus =
  | 'requested'
  | 'provisioning'
  | 'active'
  | 'disabling'
  | 'disabled'
  | 'retiring'
  | 'retired'
  | 'orphaned'
  | 'expired'
  | 'failed'

/** Why an account is not simply active; the words an operator and an auditor read. */
export type StatusReason =
  | 'ownerLeft'
  | 'ownerMissing'
  | 'expired'
  | 'operator'
  | 'retired'
  | 'leak'
  | 'provisionFailed'
  /** Still being provisioned; its credentials say more (`lastError`). */
  | 'providerDenied'
  | 'providerUnavailable'
  | 'providerThrottled'
  | 'providerRefused'
  | 'offerPending'
  | 'contained'
  /** Handed back as it was: Custody does not manage it any more. */
  | 'ejected'

export interface BackupOwner extends OwnerRef {
  readonly nominatedAt: Instant
  readonly acceptedAt: Instant | null
}

export interface ServiceAccount {
  readonly tenant: TenantId
  readonly id: AccountId
  readonly client: ClientId
  readonly userName: string
  readonly externalId: string | null
  readonly kind: AccountKind
  /** True when it was there before Custody and was adopted; the policy may only watch such ones. */
  readonly imported: boolean
  readonly owner: OwnerRef
  readonly pendingOwner: OwnerRef | null
  /** The leave date for which it was put on offer ahead; null or absent otherwise. */
  readonly plannedFor?: Instant | null
  readonly backups: readonly BackupOwner[]
  readonly purpose: string
  readonly environment: string | null
  readonly labels: readonly string[]
  readonly protected: boolean
  readonly status: AccountStatus
  readonly statusReason: StatusReason | null
  readonly expiresAt: Instant
  readonly orphanedAt: Instant | null
  readonly disabledAt: Instant | null
  /** When an orphaned account is switched off unless an heir accepts; null while it has an owner. */
  readonly disableAt: Instant | null
  /** When what was switched off is deleted; null unless owner-left, expired or retire. */
  readonly deleteAt: Instant | null
  readonly certifiedAt: Instant | null
  readonly certifyBy: Instant | null
  readonly retiredAt: Instant | null
  /** Set by DELETE: 404 in SCIM from then on, still readable at `/api/v1/accounts/{id}`. */
  readonly deletedAt: Instant | null
  /** The other SCIM attributes the client set (displayName, emails, consumers …), `schemas` included. */
  readonly attributes: JsonObject
  readonly createdAt: Instant
  readonly updatedAt: Instant
  readonly version: number
}

/** Which status may follow which (contract §4); the store's callers check each write against it. */
export const accountTransitions: Readonly<Record<AccountStatus, readonly AccountStatus[]>> = {
  requested: ['provisioning', 'active', 'disabling', 'retiring', 'failed'],
  provisioning: ['active', 'orphaned', 'disabling', 'retiring', 'failed', 'expired'],
  active: ['provisioning', 'orphaned', 'disabling', 'retiring', 'expired', 'retired'],
  orphaned: ['active', 'provisioning', 'disabling', 'retiring', 'expired', 'retired'],
  disabling: ['disabled', 'expired', 'retiring', 'active', 'provisioning'],
  disabled: ['provisioning', 'active', 'retiring', 'disabling', 'retired'],
  expired: ['disabling', 'retiring', 'disabled', 'provisioning', 'active', 'retired'],
  failed: ['provisioning', 'active', 'disabling', 'retiring', 'orphaned', 'retired'],
  retiring: ['retired'],
  retired: [],
}

/** Straight to `retired` goes only what was handed back. */
export function isHandedBack({
  status,
  statusReason,
}: Pick<ServiceAccount, 'status' | 'statusReason'>): boolean {
  return status === 'retired' && statusReason === 'ejected'
}

export function mayBecome(from: AccountStatus, to: AccountStatus): boolean {
  return from === to || accountTransitions[from].includes(to)
}

/** `active` as SCIM shows it (contract §3): the account's credentials are meant to work. */
export function isOpen(status: AccountStatus): boolean {
  return status === 'provisioning' || status === 'active' || status === 'orphaned'
}

const vendorLabel = 'vendor='

/** The company behind an account, as its label `vendor=<name>` says; the first one counts. */
export function vendorOf(labels: readonly string[]): string | null {
  const label = labels.find((l) => l.startsWith(vendorLabel) && l.length > vendorLabel.length)
  return label === undefined ? null : label.slice(vendorLabel.length)
}
