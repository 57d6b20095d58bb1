import type { ApiClient } from './connection.ts'
import { cellText, CommandFailure, exitCodes, type Row } from './terminal.ts'

/** A change, as it is sent. */
export interface PlannedRequest {
  readonly method: string
  readonly path: string
  readonly body: unknown
}

export interface HitCredential {
  readonly id: string
  readonly provider: string | null
  readonly kind: string | null
  readonly status: string | null
  readonly generation: number | null
  readonly keyId: string | null
  readonly lastUsedAt: string | null
}

/** What one request would hit, as it is now. */
export interface Subject {
  readonly what: string
  readonly id: string
  readonly name: string
  /** What must be the same when it is done: its status, owner, end. */
  readonly state: Row
  /** For people to read; it moves without anything having changed. */
  readonly updatedAt: string | null
  readonly credentials: readonly HitCredential[]
  /** Of a person: the accounts. Of what the server plans: what it would do. */
  readonly items: readonly Row[]
}

type Kind = readonly [what: string, noun: string, state: readonly string[]]

const accountState = [
  'status',
  'statusReason',
  'owner',
  'pendingOwner',
  'expiresAt',
  'protected',
  'disableAt',
  'deleteAt',
] as const
const account: Kind = ['account', 'accounts', accountState]
const kinds: Readonly<Record<string, Kind>> = {
  accounts: account,
  transfers: account,
  credentials: ['credential', 'credentials', ['status', 'generation', 'keyId', 'expiresAt']],
  owners: ['owner', 'owners', ['active', 'leftAt', 'leavesAt', 'heldBy']],
  operations: ['operation', 'operations', ['status', 'step', 'kind']],
  approvals: ['approval', 'approvals', ['status', 'hash']],
  findings: ['finding', 'findings', ['status', 'kind']],
  tasks: ['task', 'tasks', ['status', 'action']],
  providers: ['provider', 'providers', ['type', 'role']],
  clients: ['client', 'clients', ['role', 'revokedAt', 'person', 'directory']],
  brakes: ['brake', 'brakes', ['since', 'stops']],
}

/** What of an item a decision is about. Instants that are counted from now would never be the same. */
const itemState = [
  'id',
  'account',
  'userName',
  'status',
  'decision',
  'act',
  'rule',
  'outcome',
  'why',
  'subject',
]

const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/**
 * Reads what a request would hit.
 * @returns null when there is nothing yet, as before `client create`
 * @throws CommandFailure when it cannot be read
 */
export async function observe(request: PlannedRequest, api: ApiClient): Promise<Subject | null> {
  const { path: route, body } = request
  if (route === '/scim/v2/Users') {
    const owner = ((body as Row)[nhi] as Row | undefined)?.['owner'] as Row | undefined
    return typeof owner?.['value'] === 'string' ? read('owners', owner['value'], api) : null
  }
  const [, noun = '', id] = /^\/api\/v1\/([a-z-]+)\/([^/?]+)/.exec(route) ?? []
  if (id === undefined || !kinds[noun]) return null
  const subject = await read(noun, decodeURIComponent(id), api, (body ?? {}) as Row)
  if (!route.endsWith('/leave')) return subject
  const { rows } = await api.list(`/api/v1/owners/${id}/impact`, {}, null)
  return {
    ...subject,
    items: rows.map((row) => pick(row, itemState)),
    credentials: rows.filter(isHit).flatMap((row) => credentialsOf(row)),
  }
}

/** What the server itself says it would do, as a subject. */
export function subjectOfPlan(request: PlannedRequest, answer: unknown): Subject {
  const items = ((answer as Row | null)?.['items'] ?? []) as readonly Row[]
  return {
    what: 'plan',
    id: request.path,
    name: request.path,
    state: {},
    updatedAt: null,
    credentials: [],
    items: items.map((row) => pick(row, itemState)),
  }
}

async function read(noun: string, id: string, api: ApiClient, body: Row = {}): Promise<Subject> {
  const [what, collection, state] = kinds[noun]!
  const route = `/api/v1/${collection}`
  let row: Row | undefined
  if (noun === 'clients' || noun === 'brakes') {
    // These cannot be asked for by name.
    for await (const { rows } of api.pages(route, {}, null)) {
      row ??= rows.find(
        (r) =>
          r[noun === 'clients' ? 'id' : 'name'] === id &&
          (body['subject'] === undefined || r['subject'] === body['subject']),
      )
    }
    if (!row) throw new CommandFailure(exitCodes.notFound, `There is no ${what} "${id}".`)
  } else row = (await api.send('GET', `${route}/${encodeURIComponent(id)}`)).body as Row
  const self = what === 'credential' ? [row] : []
  const name = row['userName'] ?? row['keyId'] ?? row['name'] ?? id
  return {
    what,
    id,
    name: typeof name === 'string' ? name : id,
    state: pick(row, state),
    updatedAt: (row['updatedAt'] ?? null) as string | null,
    credentials: self.length > 0 ? self.map(credentialOf) : credentialsOf(row),
    // Of a batch: the people in it.
    items: ((row['items'] ?? []) as readonly Row[]).map((item) => pick(item, itemState)),
  }
}

function pick(row: Row, names: readonly string[]): Row {
  return Object.fromEntries(names.flatMap((n) => (row[n] === undefined ? [] : [[n, row[n]]])))
}

function credentialsOf(row: Row): readonly HitCredential[] {
  return ((row['credentials'] ?? []) as readonly Row[]).map(credentialOf)
}

function credentialOf(row: Row): HitCredential {
  const text = (name: string) => (row[name] ?? null) as string | null
  return {
    id: String(row['id']),
    provider: text('provider'),
    kind: text('kind'),
    status: text('status'),
    generation: (row['generation'] ?? null) as number | null,
    keyId: text('keyId'),
    lastUsedAt: text('lastUsedAt'),
  }
}

/** One sentence for each thing that is not as it was; when a key was last used is none. */
export function changesSince(before: Subject | null, now: Subject | null): readonly string[] {
  if (before === null || now === null) return []
  const who = `${before.what} ${cellText(before.name)}`
  const state = differences(before.state, now.state).map((text) => `${who}: ${text}`)
  const compared = (c: HitCredential): Row => pick({ ...c }, ['status', 'generation', 'keyId'])
  const credentials = compareLists(
    before.credentials.map((c) => [`credential ${c.id}`, compared(c)]),
    now.credentials.map((c) => [`credential ${c.id}`, compared(c)]),
  )
  const keyed = (items: readonly Row[]) =>
    items.map((item, i): [string, Row] => [
      cellText(item['userName'] ?? item['account'] ?? item['id'] ?? `item ${i + 1}`),
      item,
    ])
  const items = compareLists(keyed(before.items), keyed(now.items))
  return [...state, ...[...credentials, ...items].map((text) => `of ${who}: ${text}`)]
}

function compareLists(
  before: readonly (readonly [string, Row])[],
  now: readonly (readonly [string, Row])[],
): readonly string[] {
  const [old, fresh] = [new Map(before), new Map(now)]
  return [
    ...[...old].flatMap(([key, row]) => {
      const other = fresh.get(key)
      if (!other) return [`${key} is gone`]
      return differences(row, other).map((text) => `${key}: ${text}`)
    }),
    ...[...fresh.keys()].filter((key) => !old.has(key)).map((key) => `${key} is new`),
  ]
}

function differences(before: Row, now: Row): readonly string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((name) => {
    const [old, fresh] = [before[name] ?? null, now[name] ?? null].map((v) => JSON.stringify(v))
    if (old === fresh) return []
    return [
      `${name} was ${cellText(before[name]) || 'none'} and is ${cellText(now[name]) || 'none'}`,
    ]
  })
}

/** `none`: it is looked at, and stays as it is. */
function isHit(item: Row): boolean {
  return (item['decision'] ?? item['act']) !== 'none'
}

/** How many of what it is about are changed. */
export function hitsOf({ items }: Subject): number {
  return items.filter(isHit).length
}

const ended = ['revoked', 'failed', 'released']
const warnDays = 7

/** Credentials that something would be taken from. */
export function liveCredentials(subject: Subject, isSwitchedOff: boolean) {
  const over = isSwitchedOff ? [...ended, 'disabled'] : ended
  return subject.credentials.filter((c) => c.status === null || !over.includes(c.status))
}

/** False when it is sure that nothing would stop working. */
export function isDestructive(subject: Subject, words: string): boolean {
  if (subject.what === 'client') return (subject.state['revokedAt'] ?? null) === null
  if (words === 'owner leave') {
    return hitsOf(subject) > 0
  }
  return liveCredentials(subject, words === 'account disable').length > 0
}

/** What it hits, for people: counts, each credential, and loudly what was used lately. */
export function radius(subject: Subject, now: number, isTaken: boolean): readonly string[] {
  const { credentials, items } = subject
  const hits = hitsOf(subject)
  const lines = credentials.map(
    (c) =>
      `  ${[c.provider, c.kind, c.keyId ?? c.id, c.status].map(cellText).filter(Boolean).join(' · ')} · ${usedText(c.lastUsedAt, now)}`,
  )
  const shown = lines.slice(0, 20)
  if (lines.length > shown.length) shown.push(`  and ${lines.length - shown.length} more`)
  const recent = credentials.filter(
    (c) =>
      isTaken && c.lastUsedAt !== null && now - Date.parse(c.lastUsedAt) < warnDays * 86_400_000,
  )
  const counts = [
    ...(subject.what === 'account' ? ['1 account'] : []),
    ...(items.length > 0
      ? [subject.what === 'approval' ? `people: ${hits}` : counted(hits, 'account')]
      : []),
    ...(credentials.length > 0 ? [counted(credentials.length, 'credential')] : []),
  ]
  return [
    [`${subject.what} ${cellText(subject.name)}`, counts.join(', ')].filter(Boolean).join(': '),
    ...shown,
    ...(recent.length > 0
      ? [
          `WARNING: ${counted(recent.length, 'credential')} of them used in the last ${warnDays} days; whatever uses them stops working.`,
        ]
      : []),
  ]
}

function counted(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}

function usedText(instant: string | null, now: number): string {
  if (instant === null) return 'no known use'
  const days = Math.floor((now - Date.parse(instant)) / 86_400_000)
  return days <= 0 ? 'last used today' : `last used ${counted(days, 'day')} ago`
}
