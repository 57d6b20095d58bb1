import type { Command } from 'commander'

export interface Mutation {
  /** What stops working: such a verb asks for a name to be typed, unless nothing would. */
  readonly destroys?: string
  /** It asks by itself, with more to show than a name; a plan of it is confirmed as well. */
  readonly asksItself?: boolean
  /**
   * The server itself says what it would do. `--dry-run` prints that, and `--output` makes a plan of
   * it. Otherwise `--dry-run` writes the plan.
   */
  readonly isPlannedByServer?: boolean
}

const plain: Mutation = {}
const asking: Mutation = { asksItself: true }
const planned: Mutation = { isPlannedByServer: true }

/**
 * The verbs that change something, by the words they are called with. A verb that is not here has no
 * plan file: it only reads, or works on this machine, or (`eject`, `directory`, `provider import`)
 * has a review of its own, or (`leak report`) sends secrets, which must not lie in a file.
 */
export const mutations: Readonly<Record<string, Mutation>> = {
  'account request': plain,
  'account disable': { destroys: 'is switched off at once, with all its credentials' },
  'account enable': plain,
  'account retire': { destroys: 'is switched off now and deleted after the hold' },
  'account transfer': plain,
  'account certify': plain,
  'credential rotate': plain,
  'credential rehearse': plain,
  'credential revoke': { destroys: 'stops working at once, for good' },
  'owner leave': { destroys: 'counts as gone: what they own is switched off or handed over now' },
  'owner move': planned,
  'transfer accept': plain,
  'transfer decline': plain,
  'approval approve': asking,
  'approval deny': asking,
  'brake release': asking,
  'operation retry': plain,
  'operation cancel': plain,
  'operation waive': plain,
  'sweep run': planned,
  'finding adopt': plain,
  'finding revert': plain,
  'finding accept': plain,
  'provider suspend': asking,
  'provider resume': asking,
  'vendor close': planned,
  'client create': plain,
  'client revoke': { destroys: 'ends for good, with all its tokens' },
  'consumer seen': plain,
  'consumer hook-secret': plain,
  'task done': plain,
  'task reopen': plain,
  'seal rotate': plain,
  undo: planned,
}

/** `account disable`: the words that call it, without the program's own. */
export function wordsOf(command: Command): string {
  const names: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name())
  return names.join(' ')
}

export const actionPlanFormat = 'action-plan/1'

export function isActionPlan(content: string): boolean {
  return /^\s*\{/.test(content) && /"custody"\s*:\s*"action-plan\/1"/.test(content)
}
