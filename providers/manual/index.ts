import type { AccountId, TenantId } from '../../src/domain/ids.ts'
import type { Task, TaskAction } from '../../src/domain/task.ts'
import { toldState } from '../../src/domain/task.ts'
import { parseDuration, seconds } from '../../src/domain/time.ts'
import type {
  Call,
  ExternalCredential,
  HostContext,
  InventoryEntry,
  KindCapabilities,
  Provider,
  ProviderModule,
} from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'

const dueDefault = seconds(3 * 86_400)
const pageSize = 200

const capabilities: KindCapabilities = {
  canCreate: true,
  canRevoke: true,
  canList: true,
  maxLive: null,
  canDisable: true,
  canRescope: false,
  canProbe: false,
  canLastUsed: false,
  lastUsedLag: seconds(0),
  mint: 'none',
  lease: null,
  keepsSecret: false,
  attested: true,
  settleMin: seconds(0),
  settleMax: seconds(0),
  quota: null,
  probe: { count: 1, every: seconds(0) },
  cannot: [
    'Custody changes nothing itself: it asks a person, and waits until they show that it is done.',
    'Nothing is tried: the end of a key is what somebody said, with the evidence they showed, and never counts as refused or absent.',
    'Custody sees no secret of it, so it neither delivers nor rotates one.',
  ],
}

/** What is asked where the configuration says nothing better. */
const words: Readonly<Record<TaskAction, string>> = {
  create: 'Create the access that this account needs',
  disable: 'Switch off the access of this account, so that it can be switched on again',
  enable: 'Switch on again the access of this account',
  remove: 'Remove the access of this account for good',
  decide: 'Decide what becomes of the access of this account',
}

/**
 * For targets without an API: what is to be done becomes a task for a person, and what is known is
 * what people showed (docs/reference/tasks.md).
 */
export const manual: ProviderModule = {
  type: 'manual',
  role: 'provider',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      /** userName, address or id; a team's name is kept as it is. Absent: the account's owner. */
      assignee: { type: 'string', minLength: 1, maxLength: 200 },
      due: { type: 'string', format: 'positive-duration' },
      /** Where to go and what to click; shown in every task. */
      instructions: { type: 'string', minLength: 1, maxLength: 4_000 },
    },
  },
  create: (host, config) => createManual(host, config),
}

interface ManualConfig {
  readonly assignee?: string
  readonly due?: string
  readonly instructions?: string
}

function createManual(host: HostContext, config: ManualConfig): Provider {
  const { name } = host
  const book = () => {
    // Only where somebody is asked: its capabilities can be read without.
    if (host.tasks) return host.tasks
    throw new Error(`provider "${name}" needs a host that keeps tasks`)
  }
  const due = (config.due === undefined ? null : parseDuration(config.due)) ?? dueDefault

  const ask = async (
    principal: string,
    keyId: string,
    action: TaskAction,
    call: Call,
  ): Promise<void> => {
    const { tenant, account } = parsePrincipal(principal)
    await write(`asking somebody to ${action} ${keyId}`, () =>
      book().ask({
        tenant,
        provider: name,
        account,
        credential: credentialOf(keyId),
        keyId,
        action,
        instructions: [`${words[action]} at ${name}.`, config.instructions ?? []].flat().join(' '),
        assignee: config.assignee ?? null,
        due,
        operation: call.operation,
      }),
    )
  }
  const told = async (principal: string): Promise<ReadonlyMap<string, readonly Task[]>> => {
    const { tenant, account } = parsePrincipal(principal)
    return byKey(await read('reading its tasks', () => book().of(tenant, account, name)))
  }
  const stateOf = async (principal: string, keyId: string) => {
    return toldState((await told(principal)).get(keyId) ?? [])
  }
  const withdraw = async (principal: string, keyId: string, action: TaskAction): Promise<void> => {
    const { tenant, account } = parsePrincipal(principal)
    const about = { tenant, provider: name, account, keyId, action }
    await write('withdrawing a task', () => book().withdraw(about))
  }

  return {
    name,
    type: 'manual',
    capabilities: { manual: capabilities },
    checkScopes: () => null,
    ensurePrincipal: (want) =>
      Promise.resolve({ external: `${want.tenant}/${want.account}`, created: true }),
    async issue(principal, want, call) {
      const keyId = `${want.credential}.${want.generation}`
      const asked = (await told(principal)).get(keyId) ?? []
      if (!(await call.fence())) {
        throw new ProviderError('fenced', `Asking for ${keyId}: overtaken before writing.`, {
          outcome: 'notApplied',
        })
      }
      // Asked already, perhaps done by now: an answer that was lost asks nobody twice.
      if (!asked.some((t) => t.action === 'create')) await ask(principal, keyId, 'create', call)
      return { keyId, secret: null, fingerprint: 'none', expiresAt: null }
    },
    async disable(principal, keyId, call) {
      if ((await stateOf(principal, keyId)) === 'on') await ask(principal, keyId, 'disable', call)
    },
    async enable(principal, keyId, call) {
      const state = await stateOf(principal, keyId)
      if (state === 'gone') {
        throw new ProviderError('notFound', `${keyId} was removed by hand; request a new one.`, {
          outcome: 'notApplied',
        })
      }
      // Who has not switched it off yet need not; who has is asked to take it back.
      await withdraw(principal, keyId, 'disable')
      if (state === 'off') await ask(principal, keyId, 'enable', call)
    },
    async revoke(principal, keyId, call) {
      if ((await stateOf(principal, keyId)) === 'gone') return
      await withdraw(principal, keyId, 'create')
      await withdraw(principal, keyId, 'enable')
      await ask(principal, keyId, 'remove', call)
    },
    // Each key has its own task; a task for the whole account would ask for the same once more.
    shutOff: () => Promise.resolve(),
    turnOn: () => Promise.resolve(),
    probe: () => Promise.resolve('untestable'),
    async list(principal) {
      return { items: itemsOf(await told(principal)), complete: true }
    },
    async inventory(from) {
      const rows = await read('taking its inventory', () => book().page(name, from, pageSize))
      const owners = new Map(rows.map((t) => [`${t.tenant}/${t.account}`, t.account]))
      const entries = await Promise.all(
        [...owners].map(async ([external, account]): Promise<InventoryEntry> => ({
          external,
          name: account,
          account,
          createdAt: null,
          keys: itemsOf(await told(external)),
        })),
      )
      const next = rows.length < pageSize ? null : (rows.at(-1)?.id ?? null)
      return { entries, next, complete: true }
    },
    deletePrincipal: () => Promise.resolve(),
    close: () => Promise.resolve(),
  }
}

function byKey(tasks: readonly Task[]): ReadonlyMap<string, readonly Task[]> {
  return Map.groupBy(tasks, (t) => t.keyId)
}

function itemsOf(told: ReadonlyMap<string, readonly Task[]>): ExternalCredential[] {
  return [...told].flatMap(([keyId, tasks]) => {
    const state = toldState(tasks)
    if (state === 'gone') return []
    return [
      {
        keyId,
        fingerprint: null,
        kind: 'manual' as const,
        active: state === 'on',
        createdAt: tasks[0]!.createdAt,
        lastUsedAt: null,
        lastUsedUnknown: true as const,
      },
    ]
  })
}

function parsePrincipal(principal: string): { tenant: TenantId; account: AccountId } {
  const slash = principal.lastIndexOf('/')
  return {
    tenant: principal.slice(0, slash) as TenantId,
    account: principal.slice(slash + 1) as AccountId,
  }
}

function credentialOf(keyId: string): Task['credential'] {
  return keyId.slice(0, keyId.lastIndexOf('.')) as NonNullable<Task['credential']>
}

const read = <T>(what: string, run: () => Promise<T>): Promise<T> =>
  guarded(what, 'notApplied', run)

// A commit whose answer was lost may have been written.
const write = async (what: string, run: () => Promise<unknown>): Promise<void> => {
  await guarded(what, 'unknown', run)
}

async function guarded<T>(
  what: string,
  outcome: 'notApplied' | 'unknown',
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw new ProviderError('unavailable', `The book of tasks failed while ${what}.`, {
      outcome,
      cause,
    })
  }
}
