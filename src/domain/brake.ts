import type { TenantId } from './ids.ts'
import type { JsonObject } from './json.ts'
import type { Instant } from './time.ts'

/**
 * `leavers`: a directory lets too many people go at once. `clock`: the machine's time cannot be
 * believed. `restored`: the database is older than what the providers hold. `listing`: what a
 * provider lists is incomplete or has shrunk.
 */
export type BrakeName = 'leavers' | 'clock' | 'restored' | 'listing'
export const brakeNames: readonly BrakeName[] = ['leavers', 'clock', 'restored', 'listing']

/** A brake that is on: a row, so that every process and every restart sees it. */
export interface Brake {
  /** null: of the whole installation. */
  readonly tenant: TenantId | null
  readonly name: BrakeName
  /** What it concerns: a directory, a provider; empty where there is but one. */
  readonly subject: string
  /** When it was engaged first; engaging it again only replaces the facts. */
  readonly since: Instant
  /** For the operator who has to decide. Never a secret. */
  readonly facts: JsonObject
}
