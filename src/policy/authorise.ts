import type { Decision } from '../domain/audit.ts'

export type Action =
  | 'person.create'
  | 'person.update'
  | 'person.delete'
  | 'account.request'
  | 'account.update'
  | 'account.disable'
  | 'account.enable'
  | 'account.retire'
  | 'account.transfer'
  | 'account.passAtOnce'
  | 'account.protect'
  | 'account.certify'
  | 'transfer.accept'
  | 'transfer.decline'
  | 'credential.request'
  | 'credential.update'
  | 'credential.rotate'
  | 'credential.revoke'
  | 'owner.leave'
  | 'owner.impact'
  | 'sweep.run'
  | 'sweep.plan'
  | 'operation.read'
  | 'operation.retry'
  | 'operation.cancel'
  | 'client.create'
  | 'client.read'
  | 'client.revoke'
  | 'token.introspect'
  | 'audit.read'
  | 'report.read'

export interface AuthoriseRequest {
  readonly actor: {
    readonly id: string
    readonly role: string
    readonly tenant: string
    readonly directory: string | null
    readonly person: string | null
  }
  readonly action: Action
  readonly resource: {
    readonly type:
      | 'person'
      | 'account'
      | 'credential'
      | 'operation'
      | 'client'
      | 'sweep'
      | 'audit'
      | 'token'
      | 'tenant'
    readonly id: string
    readonly tenant: string
    readonly directory?: string | null
    readonly client?: string | null
    readonly owner?: string | null
    readonly pendingOwner?: string | null
    readonly protected?: boolean
  }
}

export interface Authoriser {
  decide(request: AuthoriseRequest): Decision
}
