import type { ServiceAccount } from '../domain/account.ts'
import { AppError, errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Task } from '../domain/task.ts'
import { isOverdue } from '../domain/task.ts'
import type { VendorCount } from '../store/store.ts'
import type { Caller, Lifecycle } from './context.ts'
import { auditRow, authorise, replanned, save } from './context.ts'
import { secondWord } from './protected.ts'
import { onlyByHand } from './steps/by-hand.ts'
import { planClose } from './switching.ts'

const pageSize = 100

/** Their commits are written as one group: thousands of accounts would take minutes one by one. */
const together = 25

/** What closing a vendor does, or would do, to one account. */
export interface VendorItem {
  readonly account: string
  readonly userName: string
  readonly status: ServiceAccount['status']
  /** `askAnother`: it is protected, and a second person has to say the same. */
  readonly act: 'retire' | 'askAnother' | 'none'
  readonly operation: string | null
  /** Keys that no API ends: somebody will be asked to. */
  readonly byHand: number
}

export interface VendorClosing {
  readonly vendor: string
  readonly dryRun: boolean
  /** One for all operations: `GET operations?cause=`; null when nothing was done. */
  readonly cause: string | null
  readonly closed: number
  readonly byHand: number
  readonly items: readonly VendorItem[]
}

/** Vendors with accounts that are not retired, by name. */
export function listVendors(
  life: Lifecycle,
  caller: Caller,
  page: { readonly after: string | null; readonly limit: number },
): Promise<readonly VendorCount[]> {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  return life.store.read.vendors(caller.tenant, page.after, page.limit)
}

async function* accountsOf(
  life: Lifecycle,
  caller: Caller,
  vendor: string,
): AsyncGenerator<ServiceAccount> {
  let after: string | null = null
  for (;;) {
    const page: readonly ServiceAccount[] = await life.store.read.accountsOfVendor(
      caller.tenant,
      vendor,
      after,
      pageSize,
    )
    yield* page
    const last = page.at(-1)
    if (!last || page.length < pageSize) return
    after = last.id
  }
}

/** What there is of a vendor, and what of it is not proven to be over. @throws notFound */
export async function vendorReport(life: Lifecycle, caller: Caller, vendor: string) {
  authorise(life, caller, 'report.read', { type: 'tenant', id: caller.tenant })
  const { read } = life.store
  const now = life.clock.now()
  const accounts = []
  for await (const account of accountsOf(life, caller, vendor)) {
    const [keys, tasks] = await Promise.all([
      read.keysOfAccount(account.tenant, account.id),
      read.tasksOfAccount(account.tenant, account.id),
    ])
    const open = tasks.filter((t) => t.status === 'open')
    const done = new Set(tasks.filter((t) => t.status === 'done').map((t) => t.keyId))
    const isOver = (k: (typeof keys)[number]) =>
      k.status === 'failed' ||
      k.outcome === 'refused' ||
      k.outcome === 'absent' ||
      (k.outcome === 'untestable' && done.has(k.keyId))
    accounts.push({
      account: account.id,
      userName: account.userName,
      status: account.status,
      statusReason: account.statusReason,
      owner: account.owner,
      keys: keys.length,
      /** Neither refused, nor absent, nor shown to be over. */
      open: keys.filter((k) => !isOver(k)).length,
      tasks: open.map((t) => taskLine(t, isOverdue(t, now))),
    })
  }
  if (accounts.length === 0) throw errors.notFound({ what: 'Vendor', id: vendor })
  const open = accounts.reduce((sum, a) => sum + a.open, 0)
  const isClosed = accounts.every((a) => a.status === 'retired' || a.status === 'retiring')
  const verdict = !isClosed ? 'open' : open > 0 ? 'incomplete' : 'complete'
  return { vendor, verdict, open, accounts }
}

function taskLine({ id, keyId, assignee, dueAt, instructions }: Task, overdue: boolean) {
  return { task: id, keyId, assignee, dueAt, overdue, instructions }
}

/**
 * Retires everything that is labelled `vendor=<name>`, as one cause. An operator's word: no brake
 * holds it. Repeating it takes up what is left.
 * @throws forbidden, notFound when nothing bears the label
 */
export async function closeVendor(
  life: Lifecycle,
  caller: Caller,
  vendor: string,
  want: { readonly reason: string; readonly dryRun: boolean },
): Promise<VendorClosing> {
  const decision = authorise(life, caller, 'vendor.close', { type: 'tenant', id: caller.tenant })
  const { reason, dryRun } = want
  const cause = life.ids.next()
  const items: VendorItem[] = []
  const closeOne = async (account: ServiceAccount): Promise<VendorItem> => {
    const byHand = await countByHand(life, account)
    const { id, userName, status } = account
    const item: VendorItem = { account: id, userName, status, act: 'none', byHand, operation: null }
    if (status === 'retired' || status === 'retiring') return item
    if (dryRun) return { ...item, act: 'retire' }
    const operation = await replanned(() =>
      retire(life, caller, id, { vendor, cause, reason }),
    ).catch((error: unknown) => {
      if (error instanceof AppError && error.code === 'secondPersonNeeded')
        return 'askAnother' as const
      throw error
    })
    if (operation === 'askAnother') return { ...item, act: operation }
    if (!operation) return item
    return { ...item, act: 'retire', operation: operation.id, status: 'retiring' }
  }
  let some: ServiceAccount[] = []
  for await (const account of accountsOf(life, caller, vendor)) {
    some.push(account)
    if (some.length < together) continue
    items.push(...(await Promise.all(some.map(closeOne))))
    some = []
  }
  items.push(...(await Promise.all(some.map(closeOne))))
  if (items.length === 0) throw errors.notFound({ what: 'Vendor', id: vendor })
  const acted = items.filter((i) => i.act === 'retire')
  const closed = acted.length
  const byHand = acted.reduce((sum, i) => sum + i.byHand, 0)
  if (!dryRun && closed > 0) {
    await life.store.commit([
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'vendor.closed',
        target: { type: 'vendor', id: vendor },
        decision,
        facts: { reason, cause, accounts: closed, byHand },
      }),
    ])
  }
  return { vendor, dryRun, cause: dryRun || closed === 0 ? null : cause, closed, byHand, items }
}

async function countByHand(life: Lifecycle, account: ServiceAccount): Promise<number> {
  const credentials = await life.store.read.credentialsOf(account.tenant, account.id)
  return credentials.filter(({ provider, kind, status }) => {
    const capabilities = life.providers.get(provider)?.capabilities[kind]
    const isOver = status === 'revoked' || status === 'failed'
    return capabilities && !isOver && (onlyByHand(capabilities) || capabilities.attested)
  }).length
}

/** @returns null when it was retired meanwhile */
async function retire(
  life: Lifecycle,
  caller: Caller,
  id: ServiceAccount['id'],
  why: { readonly vendor: string; readonly cause: string; readonly reason: string },
): Promise<Operation | null> {
  const account = await life.store.read.account(caller.tenant, id)
  if (!account || account.status === 'retired' || account.status === 'retiring') return null
  const now = life.clock.now()
  const { cause, reason, vendor } = why
  const planned = planClose(life, account, {
    kind: 'retire',
    reason: 'retired',
    actor: caller.actor,
    cause,
  })
  const words = await secondWord(life, caller, account, 'retire', reason)
  const gone: ServiceAccount = { ...planned.account, deletedAt: account.deletedAt ?? now }
  await save(
    life,
    [
      { type: 'account', account: gone, expectedVersion: account.version },
      ...planned.changes,
      ...words,
      auditRow(life, {
        tenant: caller.tenant,
        actor: caller.actor,
        action: 'account.retireRequested',
        target: { type: 'account', id },
        operation: planned.operation.id,
        facts: { reason, vendor, cause },
      }),
    ],
    { what: 'Account', id },
  )
  return planned.operation
}
