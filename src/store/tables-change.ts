/** Rows of what came with changing without outages: scopes, consumers, shadows, directories. */

/** Who can no longer read what a group owns or reads. */
export interface DepartureTable {
  tenant: string
  member: string
  grp: string
  at: string
  due_at: string
}

export interface DirectoryMoveTable {
  tenant: string
  id: string
  from_directory: string
  to_directory: string
  match_key: string
  status: string
  stage: string
  after: string | null
  facts: string
  opened_at: string
  opened_by: string
  finished_at: string | null
}

export interface MovedTable {
  tenant: string
  move: string
  subject: string
  type: string
  match_key: string | null
  state: string
  twin: string | null
  old_word_at: string | null
}

export interface ConsumerReportTable {
  tenant: string
  account: string
  credential: string
  consumer: string
  kind: string
  generation: number
  at: string
  reported_by: string
}

export interface KeyProbeTable {
  tenant: string
  credential: string
  generation: number
  at: string
}

export interface ShadowTable {
  tenant: string
  account: string
  due_at: string
  doc: string
  version: number
}

export interface ShadowActTable {
  tenant: string
  id: string
  at: string
  act: string
  rule: string
  account: string
  user_name: string
  owner: string
  credential: string | null
  /** The credential, else the account. */
  subject: string
  cause: string
  facts: string
}

export interface ConsentTable {
  tenant: string
  account: string
  act: string
  client: string
  client_name: string
  person: string | null
  reason: string | null
  at: string
  expires_at: string
}

export interface ReplicaTable {
  id: string
  version: string
  roles: string
  policy: string
  started_at: string
  seen_at: string
  clock_offset: number
}

export interface LeaderTable {
  job: string
  holder: string
  fence: number
  lease_until: string
}

export interface DirectoryCheckTable {
  tenant: string
  directory: string
  id: string
  at: string
  complete: number
  agreeing: number
  total: number
  report: string
}

export interface FailedRequestTable {
  tenant: string
  id: string
  client: string
  fingerprint: string
  method: string
  route: string
  target: string | null
  first_at: string
  last_at: string
  times: number
  status: number
  error: string | null
  scim_type: string | null
  obstacle: string | null
  state: string
  decided_at: string | null
  decided_by: string | null
  note: string | null
}

/** Which credentials what group grants scopes to. */
export interface CredentialGroupTable {
  tenant: string
  group_id: string
  credential: string
}
