import type { Credential, IssuedKey } from '../../src/domain/credential.ts'
import type { AccountWrite, CredentialEntry } from '../../src/domain/want.ts'
import type { AuditRow, Sealed } from '../../src/store/store.ts'
import type { TestEngine, TestEngineOptions } from './engine.ts'
import { minutes, startTestEngine, wants } from './engine.ts'

export interface Up {
  readonly owner: string
  readonly account: string
  readonly credential: Credential
  /** What consumers read. */
  readonly token: string
}

export let test: TestEngine

export async function start(options: TestEngineOptions = {}): Promise<void> {
  test = await startTestEngine(options)
}
export const stop = (): Promise<void> => test.close()
export const world = () => test.github.world

let before: ReadonlySet<string> = new Set()

/** From here on only what is handed out from now on counts as live. */
export function forgetEarlier(): void {
  before = new Set(
    world()
      .installationTokens()
      .map(({ token }) => token),
  )
}

/** What GitHub would accept now, of all that it handed out. */
export const live = (): readonly string[] =>
  world()
    .installationTokens()
    .filter((t) => t.permissions['contents'] !== undefined && !before.has(t.token))
    .filter((t) => world().isAlive(t))
    .map((t) => t.token)
export const isLive = (token: string | null): boolean => token !== null && live().includes(token)

export async function leased(
  more: Partial<AccountWrite> & { readonly entry?: Partial<CredentialEntry> } = {},
): Promise<Up> {
  const { entry, ...rest } = more
  const owner = await test.person()
  const { id } = await test.request(owner, { credentials: [wants.appToken(entry)], ...rest })
  const [credential] = await test.credentials(id)
  return { owner, account: id, credential: credential!, token: (await test.served(credential!))! }
}

export async function actions(target: string, action: string): Promise<readonly AuditRow[]> {
  return test.store.read.audit(test.admin.tenant, { target, action, after: null, limit: 200 })
}

export async function keyOf({ credential }: Up, generation: number): Promise<IssuedKey> {
  return (await test.keys(credential.id)).find((key) => key.generation === generation)!
}

/** As the scheduler does it: the rotation sweep looks each `step`. */
export async function liveOn(total: number, step = minutes(1)): Promise<void> {
  for (let left = total; left > 0; left -= step) {
    test.clock.advance(Math.min(left, step))
    await test.engine.runSweep(test.admin, 'rotation')
    await test.worker.drain()
  }
}

export async function sealedRows(credential: Credential): Promise<readonly Sealed[]> {
  const rows = await test.store.read.allSealed(null, 1_000)
  return rows.filter((row) => row.credential === credential.id)
}

export async function retire({ account }: Pick<Up, 'account'>): Promise<void> {
  await test.engine.switchAccount(test.admin, account, 'retire', null)
  await test.pass(2)
}
