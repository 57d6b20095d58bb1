import type { DirectoryMove, Moved } from '../domain/directory-move.ts'
import type { Group } from '../domain/group.ts'
import type { TenantId } from '../domain/ids.ts'
import type { Person } from '../domain/owner.ts'
import type { Instant } from '../domain/time.ts'

/** The changes of `store.ts` that are about people who change directories. */
export type MoveChange =
  /**
   * Opens it: all people of `from`, and all groups but those of `except`, are `to`'s from this commit
   * on, with their ids, members and whatever they own. Conflict `busy` while another one is open.
   */
  | {
      readonly type: 'moveOpened'
      readonly move: DirectoryMove
      readonly except: readonly string[]
    }
  | { readonly type: 'moved'; readonly moved: readonly Moved[] }
  /** Conflict `version` unless it stands at `stage` and `after`. */
  | {
      readonly type: 'moveAdvanced'
      readonly move: DirectoryMove
      readonly from: Pick<DirectoryMove, 'stage' | 'after'>
    }
  /** The new directory has spoken of somebody; silent when it had, or nobody waits. */
  | {
      readonly type: 'movedConfirmed'
      readonly tenant: TenantId
      readonly move: string
      readonly subject: string
    }
  /** The old one tried to; silent about others. */
  | {
      readonly type: 'movedOldWord'
      readonly tenant: TenantId
      readonly move: string
      readonly subject: string
      readonly at: Instant
    }

export interface MoveReads {
  move(tenant: TenantId, id: string): Promise<DirectoryMove | null>
  /** There is at most one. */
  openMove(tenant: TenantId): Promise<DirectoryMove | null>
  /** Newest first, at most 100. */
  moves(tenant: TenantId): Promise<readonly DirectoryMove[]>
  movedOne(tenant: TenantId, move: string, subject: string): Promise<Moved | null>
  movedByKey(tenant: TenantId, move: string, key: string): Promise<Moved | null>
  /** By subject. */
  movedAfter(
    tenant: TenantId,
    move: string,
    after: string | null,
    limit: number,
  ): Promise<readonly Moved[]>
  /** Not deleted, by id; with the members nobody asked for. */
  peopleOfDirectory(
    tenant: TenantId,
    directory: string,
    after: string | null,
    limit: number,
  ): Promise<readonly Person[]>
  groupsOfDirectory(
    tenant: TenantId,
    directory: string,
    after: string | null,
    limit: number,
  ): Promise<readonly Group[]>
}
