import type { ApiClient } from '../connection.ts'
import { namesOf } from '../names.ts'
import { type Column, type Row, record, table, type Terminal } from '../terminal.ts'

const dayMs = 86_400_000

/**
 * One account as somebody on call reads it: what state it is in and why, who answers for it, what
 * opens it, and what comes next. `--json` has everything.
 */
export async function accountCard(
  account: Row,
  api: ApiClient,
  terminal: Terminal,
  now: number = Date.now(),
): Promise<string> {
  const named = namesOf(api)
  const [whole = account] = await named([account])
  const backups = await named(rowsOf(whole['backups']).map((backup) => ({ backup })))
  const parts = [record(headOf(whole, backups, now), terminal)]
  const credentials = rowsOf(whole['credentials'])
  if (credentials.length > 0) parts.push(table(credentialColumns, credentials, terminal))
  const next = rowsOf(whole['next'])
  if (next.length > 0) parts.push(table(nextColumns, next, terminal))
  return parts.join('\n')
}

function headOf(account: Row, backups: readonly Row[], now: number): Row {
  const { kind, environment, purpose, labels, enforcement } = account
  return {
    userName: account['userName'],
    id: account['id'],
    status: `${text(account['status'])}${enforcement === 'observe' ? ', only watched' : ''}`,
    why: rowOf(account['why'])['sentence'],
    owner: nameOf(account['owner']),
    'offered to': nameOf(account['pendingOwner']),
    backups: backups.map(({ backup }) => {
      const isAgreed = rowOf(backup)['acceptedAt'] !== null
      return `${nameOf(backup)}${isAgreed ? '' : ' (has not agreed)'}`
    }),
    expires: whenOf(account['expiresAt'], now),
    'decided at': account['disableAt'],
    'deleted at': account['deleteAt'],
    kind: [kind, environment].filter(Boolean).join(', '),
    purpose,
    labels,
    protected: account['protected'] === true ? 'it takes two people to end it' : null,
    principals: rowsOf(account['principals']).map(
      (at) => `${text(at['provider'])}: ${text(at['external'])}`,
    ),
  }
}

const credentialColumns: readonly Column[] = [
  { title: 'credential', value: ({ id }) => id, whole: true },
  { title: 'provider', value: ({ provider }) => provider },
  { title: 'kind', value: ({ kind }) => kind },
  { title: 'status', value: ({ status }) => status },
  { title: 'key', value: ({ keyId }) => keyId },
  { title: 'rotates', value: ({ rotateAfter }) => dayOf(rotateAfter) },
  { title: 'expires', value: ({ expiresAt }) => dayOf(expiresAt) },
  { title: 'last used', value: ({ lastUsedAt }) => dayOf(lastUsedAt) },
  {
    title: 'delivered to',
    value: ({ deliverTo }) =>
      deliverTo ? `${text(rowOf(deliverTo)['sink'])}:${text(rowOf(deliverTo)['path'])}` : null,
  },
  { title: 'trouble', value: ({ lastError }) => lastError },
]

const nextColumns: readonly Column[] = [
  { title: 'next', value: ({ at }) => dayOf(at) },
  { title: 'what', value: ({ what }) => what },
  { title: 'rule', value: ({ rule }) => rule },
  { title: 'effect', value: ({ effect }) => (effect === 'does' ? null : effect) },
]

function rowOf(value: unknown): Row {
  return typeof value === 'object' && value !== null ? (value as Row) : {}
}

function rowsOf(value: unknown): readonly Row[] {
  return Array.isArray(value) ? (value as readonly Row[]) : []
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

function nameOf(reference: unknown): string | null {
  const { display, id, type } = rowOf(reference)
  if (id === undefined) return null
  const group = type === 'Group' ? ' (group)' : ''
  return `${display === undefined ? text(id) : `${text(display)}  ${text(id)}`}${group}`
}

function dayOf(instant: unknown): string | null {
  return typeof instant === 'string' ? instant.slice(0, 16).replace('T', ' ') : null
}

function whenOf(instant: unknown, now: number): string | null {
  if (typeof instant !== 'string') return null
  const days = Math.round((Date.parse(instant) - now) / dayMs)
  const distance = days === 0 ? 'today' : days > 0 ? `in ${plural(days)}` : `${plural(-days)} ago`
  return `${dayOf(instant)} UTC, ${distance}`
}

const plural = (days: number): string => `${days} ${days === 1 ? 'day' : 'days'}`
