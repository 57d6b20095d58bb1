import type {
  ConsentTable,
  ConsumerReportTable,
  CredentialGroupTable,
  DepartureTable,
  DirectoryCheckTable,
  DirectoryMoveTable,
  FailedRequestTable,
  KeyProbeTable,
  MovedTable,
  LeaderTable,
  ReplicaTable,
  ShadowActTable,
  ShadowTable,
} from './tables-change.ts'
/**
 * The tables as Kysely sees them. Booleans are 0 or 1, instants 24-character text, JSON is text:
 * the same in every database, so that one mapping serves all.
 */
export interface ResourceTable {
  tenant: string
  id: string
  type: string
  directory: string | null
  client: string
  user_name: string
  user_name_norm: string
  external_id: string | null
  active: number
  owner_type: string | null
  owner_id: string | null
  /** Whom an orphaned account waits for. */
  pending_owner_id: string | null
  status: string | null
  environment: string | null
  expires_at: string | null
  disable_at: string | null
  delete_at: string | null
  deleted_at: string | null
  /** Of a person whose leaving waits: the approval. */
  held_by: string | null
  /** Of a person: when they will be gone, as far as is known. */
  leaves_at: string | null
  version: number
  created_at: string
  updated_at: string
  /** The later of `updated_at` and the last change of the credential summaries. */
  modified_at: string
  doc: string
  /** What neither a column nor `doc` holds in the domain's own form. */
  facts: string
  credentials: string | null
  credentials_rev: number
  /** The days before `expires_at` of which an event has told; 99 before the first. */
  warned: number
  /** Of a person: the first address, normalised. */
  email_norm: string | null
  /** Of an account: what its label `vendor=…` says. */
  vendor: string | null
  /** Of a person: the displayName, normalised. */
  display_norm: string | null
  /** 1 of an account that was there before Custody. */
  imported: number
}

export interface GroupTable {
  tenant: string
  id: string
  directory: string
  client: string
  display_name: string
  display_name_norm: string
  external_id: string | null
  /** Since when no active person is in it, directly or through groups; null while one is. */
  emptied_at: string | null
  deleted_at: string | null
  version: number
  created_at: string
  updated_at: string
  /** Without `members`. */
  doc: string
  /** This group as one element of its members' `groups`. */
  summary: string
}

export interface MemberTable {
  tenant: string
  group_id: string
  member_id: string
  type: string
  display: string | null
  /** 1 while the member is an active person of the group's directory. */
  live: number
  /** This membership as one element of the group's `members`. */
  doc: string
}

export interface CredentialTable {
  tenant: string
  id: string
  account: string
  provider: string
  provider_norm: string
  kind: string
  display_name: string | null
  scopes: string
  scopes_from: string
  granted_scopes: string | null
  entitlement: string | null
  readers: string
  sink: string
  path: string
  status: string
  generation: number
  key_id: string | null
  previous_key_id: string | null
  fingerprint: string | null
  secret_ref: string | null
  expires_at: string
  rotate_every: number | null
  overlap: number | null
  issued_at: string | null
  rotate_after: string | null
  last_rotated_at: string | null
  last_used_at: string | null
  refused_at: string | null
  settled_at: string | null
  last_error: string | null
  created_at: string
  updated_at: string
  version: number
  doc: string
  /** This credential as one element of its account's `credentials`. */
  summary: string
  /** As of a resource. */
  warned: number
}

export interface IssuedKeyTable {
  tenant: string
  credential: string
  account: string
  provider: string
  generation: number
  key_id: string
  fingerprint: string
  sink_version: string | null
  status: string
  issued_at: string
  activated_at: string | null
  superseded_at: string | null
  disabled_at: string | null
  refused_at: string | null
  settled_at: string | null
  outcome: string | null
  deleted_at: string | null
}

export interface PrincipalTable {
  tenant: string
  account: string
  provider: string
  external: string | null
  state: string
  created: number
  updated_at: string
}

export interface OperationTable {
  tenant: string
  id: string
  kind: string
  /** `operationRank` of the kind, so that pre-emption is one comparison in SQL. */
  rank: number
  subject_type: string
  subject: string
  account: string | null
  provider: string | null
  steps: string
  cursor: number
  attempt: number
  status: string
  run_at: string
  /** When it may be claimed: `run_at`, or the lease's end while running; null when it may not. */
  due_at: string | null
  lease_worker: string | null
  lease_until: string | null
  fence: number
  memo: string
  actor: string
  cause: string
  failure: string | null
  created_at: string
  updated_at: string
  finished_at: string | null
}

export interface AuditTable {
  tenant: string
  id: string
  /** Place in the tree; null until the sequencer gave it. */
  seq: number | null
  at: string
  actor: string
  action: string
  target_type: string
  target: string
  decision: string | null
  operation: string | null
  facts: string
  leaf: string
}

/** How far each tenant's tree has grown; `frontier` is what the next rows are appended to. */
export interface AuditHeadTable {
  tenant: string
  size: number
  frontier: string
  signed_size: number
}

export interface AuditNodeTable {
  tenant: string
  level: number
  place: number
  hash: string
}

export interface AuditCheckpointTable {
  tenant: string
  size: number
  root: string
  note: string
  at: string
}

export interface SlotTable {
  job: string
  slot: string
  worker: string
  at: string
}

export interface ClientTable {
  tenant: string
  id: string
  name: string
  role: string
  dialect: string
  directory: string | null
  person: string | null
  created_at: string
  revoked_at: string | null
}

export interface ClientTokenTable {
  tenant: string
  id: string
  client: string
  hash: string
  created_at: string
  expires_at: string | null
  last_used_at: string | null
  revoked_at: string | null
}

export interface IssuedTokenTable {
  tenant: string
  id: string
  provider: string
  account: string
  credential: string
  generation: number
  hash: string
  scopes: string
  active: number
  created_at: string
  expires_at: string
  last_used_at: string | null
}

export interface MetaTable {
  key: string
  value: string
}

export interface CounterTable {
  tenant: string
  /** `person`, `account`, … or `credential`; or a facet of 0025. */
  type: string
  /** Empty for what belongs to none; of a facet, what it is counted by. */
  directory: string
  shard: number
  total: number
}

export interface IdempotencyTable {
  tenant: string
  client: string
  scope: string
  fingerprint: string
  request: string
  /** Null while the first request is still running. */
  status: number | null
  headers: string | null
  body: string | null
  stale_at: string
  expires_at: string
}

export interface ScimRequestTable {
  tenant: string
  id: string
  client: string
  at: string
  method: string
  route: string
  target: string | null
  query: string | null
  agent: string | null
  status: number
  error: string | null
  scim_type: string | null
  body: string | null
  milliseconds: number
}

export interface AttributeSightingTable {
  tenant: string
  client: string
  resource: string
  path: string
  form: string
  seen: number
  first_at: string
  last_at: string
  operation: string
}

export interface BrakeTable {
  /** Empty for the whole installation. */
  tenant: string
  name: string
  subject: string
  since: string
  facts: string
}

export interface LeavingTable {
  tenant: string
  person: string
  directory: string
  at: string
  held: number
}

export interface ApprovalTable {
  tenant: string
  id: string
  kind: string
  subject: string
  status: string
  joined: number
  hash: string | null
  policy_version: string | null
  plan: string
  facts: string
  created_at: string
  frozen_at: string | null
  closed_at: string | null
}

export interface ApprovalItemTable {
  tenant: string
  approval: string
  subject: string
  since: string
  client: string
  client_person: string | null
  outcome: string | null
  reason: string | null
  decided_by: string | null
  decided_at: string | null
  operation: string | null
}

export interface FindingTable {
  tenant: string
  id: string
  kind: string
  provider: string
  subject: string
  account: string | null
  credential: string | null
  key_id: string | null
  facts: string
  status: string
  first_seen_at: string
  last_seen_at: string
  resolved_at: string | null
  acceptance: string | null
  run: string
  version: number
}

/** When an inventory last showed a journalled key, and since when complete ones do not. */
export interface KeySightingTable {
  provider: string
  key_id: string
  run: string
  active: number
  at: string
  missed_run: string | null
  missed_at: string | null
}

export interface SealedTable {
  tenant: string
  credential: string
  key_id: string
  /** See src/domain/seal.ts. */
  envelope: string
  expires_at: string
}

export interface TaskTable {
  tenant: string
  id: string
  provider: string
  account: string
  credential: string | null
  key_id: string
  action: string
  status: string
  assignee: string | null
  instructions: string
  due_at: string
  operation: string | null
  created_at: string
  updated_at: string
  done_at: string | null
  done_by: string | null
  note: string | null
  removed: number
  evidence: string | null
  version: number
}

export interface TaskEvidenceTable {
  tenant: string
  task: string
  /** Base64. */
  content: string
}

export interface Tables {
  resource: ResourceTable
  grp: GroupTable
  departure: DepartureTable
  member: MemberTable
  credential: CredentialTable
  credential_group: CredentialGroupTable
  issued_key: IssuedKeyTable
  principal: PrincipalTable
  operation: OperationTable
  audit: AuditTable
  audit_head: AuditHeadTable
  audit_node: AuditNodeTable
  audit_checkpoint: AuditCheckpointTable
  slot: SlotTable
  client: ClientTable
  client_token: ClientTokenTable
  issued_token: IssuedTokenTable
  meta: MetaTable
  counter: CounterTable
  idempotency: IdempotencyTable
  scim_request: ScimRequestTable
  failed_request: FailedRequestTable
  directory_move: DirectoryMoveTable
  moved: MovedTable
  attribute_sighting: AttributeSightingTable
  brake: BrakeTable
  leaving: LeavingTable
  approval: ApprovalTable
  approval_item: ApprovalItemTable
  finding: FindingTable
  key_sighting: KeySightingTable
  sealed: SealedTable
  task: TaskTable
  task_evidence: TaskEvidenceTable
  consumer_report: ConsumerReportTable
  key_probe: KeyProbeTable
  shadow: ShadowTable
  shadow_act: ShadowActTable
  consent: ConsentTable
  directory_check: DirectoryCheckTable
  replica: ReplicaTable
  leader: LeaderTable
}
