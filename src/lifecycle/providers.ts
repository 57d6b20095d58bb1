import type { CredentialKind } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import type { Instant } from '../domain/time.ts'
import { timeoutOf } from '../domain/time.ts'
import type {
  Call,
  CheckFinding,
  CheckReport,
  KindCapabilities,
  Provider,
  SecretSink,
} from '../provider/contract.ts'
import { ProviderError } from '../provider/contract.ts'
import type { GateState } from './bulkhead.ts'
import type { Caller, Lifecycle } from './context.ts'
import { authorise } from './context.ts'

export type ProviderRole = 'provider' | 'sink'

/** A provider or sink as configured, with what can be asked of it. Durations are in seconds. */
export interface ProviderView {
  readonly name: string
  readonly type: string
  readonly role: ProviderRole
  /** What it issues; a sink issues nothing. */
  readonly kinds: readonly ({ readonly kind: CredentialKind } & KindCapabilities)[]
  readonly can: Readonly<Record<string, boolean>>
  /** How calls to it fare in this process; null where this process makes none. */
  readonly gate: Omit<GateState, 'name' | 'role'> | null
}

/** What a check found. The worst of its findings decides: failed, then unknown, then ok. */
export interface ProviderCheck extends CheckReport {
  readonly name: string
  readonly type: string
  readonly role: ProviderRole
  readonly checkedAt: Instant
  readonly state: CheckFinding['state']
}

export type Plugin =
  | { readonly role: 'provider'; readonly it: Provider }
  | { readonly role: 'sink'; readonly it: SecretSink }

/** All of them, in the order of the configuration, providers first. */
export function listProviders(life: Lifecycle, caller: Caller): readonly ProviderView[] {
  authorise(life, caller, 'provider.read', { type: 'provider', id: 'any' })
  const all: readonly Plugin[] = [
    ...[...life.providers.values()].map((it) => ({ role: 'provider', it }) as const),
    ...[...life.sinks.values()].map((it) => ({ role: 'sink', it }) as const),
  ]
  return all.map((plugin) => viewOf(life, plugin))
}

/**
 * @param role tells a provider from a sink of the same name; without it the provider is meant
 * @throws notFound
 */
export function showProvider(
  life: Lifecycle,
  caller: Caller,
  name: string,
  role: ProviderRole | null = null,
): ProviderView {
  authorise(life, caller, 'provider.read', { type: 'provider', id: name })
  return viewOf(life, pluginOf(life, name, role))
}

/** @throws notFound */
function pluginOf(life: Lifecycle, name: string, role: ProviderRole | null): Plugin {
  const provider = role === 'sink' ? undefined : life.providers.get(name)
  if (provider) return { role: 'provider', it: provider }
  const sink = role === 'provider' ? undefined : life.sinks.get(name)
  if (sink) return { role: 'sink', it: sink }
  throw errors.notFound({ what: role === 'sink' ? 'Sink' : 'Provider', id: name })
}

function viewOf(life: Lifecycle, plugin: Plugin): ProviderView {
  const { role, it } = plugin
  const { name, type } = it
  return {
    name,
    type,
    role,
    kinds: role === 'provider' ? kindsOf(it) : [],
    can:
      role === 'provider'
        ? {
            check: it.check !== undefined,
            discover: it.discover !== undefined,
            adopt: it.adopt !== undefined,
            inventory: it.inventory !== undefined,
            suspend: it.suspend !== undefined,
            removePeople: it.removePerson !== undefined,
          }
        : { check: it.examine !== undefined, read: it.canRead },
    gate: gateOf(life, plugin),
  }
}

function kindsOf({ capabilities }: Provider): ProviderView['kinds'] {
  return Object.entries(capabilities).map(([kind, flags]) => ({
    kind: kind as CredentialKind,
    ...flags,
  }))
}

function gateOf(life: Lifecycle, { role, it }: Plugin): ProviderView['gate'] {
  const found = life.gates?.().find((gate) => gate.name === it.name && gate.role === role)
  if (!found) return null
  const { state, restsUntil, callsPerSecond, waiting } = found
  return { state, restsUntil, callsPerSecond, waiting }
}

/** Below the 30 s that the command line waits for an answer. */
const checkMilliseconds = 25_000

/** Checks under way: whoever asks meanwhile gets the same answer, and the provider is asked once. */
const underWay = new WeakMap<object, Promise<ProviderCheck>>()

/**
 * Lets a provider or sink try what it was configured with; nothing changes there. It goes past the
 * bulkhead: what is left in peace is just what an operator wants to look into.
 * @returns a report whatever happens: what cannot be reached or makes no sense has failed
 * @throws notFound, forbidden
 */
export async function checkProvider(
  life: Lifecycle,
  caller: Caller,
  name: string,
  role: ProviderRole | null = null,
): Promise<ProviderCheck> {
  authorise(life, caller, 'provider.check', { type: 'provider', id: name })
  const plugin = pluginOf(life, name, role)
  const running = underWay.get(plugin.it)
  if (running) return running
  const started = examinePlugin(life, plugin).finally(() => underWay.delete(plugin.it))
  underWay.set(plugin.it, started)
  return started
}

/** As `checkProvider`, for a local command that is its own authority. Never throws. */
export async function examinePlugin(
  life: Pick<Lifecycle, 'clock' | 'ids'>,
  plugin: Plugin,
): Promise<ProviderCheck> {
  const { role, it } = plugin
  const signal = timeoutOf(life.clock, checkMilliseconds)
  const call: Call = { key: life.ids.next(), operation: null, signal, fence: async () => true }
  const report = await Promise.race([ask(plugin, call), tooLate(signal)]).catch(failedReport)
  const { findings, leastPolicy } = report
  const worst = (['failed', 'unknown'] as const).find((s) => findings.some((f) => f.state === s))
  return {
    name: it.name,
    type: it.type,
    role,
    checkedAt: life.clock.now(),
    state: worst ?? 'ok',
    findings,
    leastPolicy,
  }
}

async function ask({ role, it }: Plugin, call: Call): Promise<CheckReport> {
  const answer = role === 'provider' ? it.check?.(call) : it.examine?.(call)
  if (answer !== undefined) return answer
  const message = `${it.type} has no check of its own.`
  return {
    findings: [{ name: 'check', state: 'unknown', message, remedy: null }],
    leastPolicy: null,
  }
}

/** One that does not heed its signal must not keep the client waiting either. */
function tooLate(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => {
      const message = `It did not answer within ${checkMilliseconds / 1_000} s.`
      reject(new ProviderError('unavailable', message, { outcome: 'notApplied' }))
    })
  })
}

/** Only the words of a `ProviderError` are fit to be read: anything else may quote what it met. */
function failedReport(error: unknown): CheckReport {
  const known = error instanceof ProviderError
  const message = known ? error.message : 'The check itself failed; this is a fault in its module.'
  const kind = known ? error.kind : 'invalid'
  const finding = { name: 'reachable', state: 'failed', message, remedy: remedies[kind] } as const
  return { findings: [finding], leastPolicy: null }
}

const remedies: Readonly<Record<ProviderError['kind'], string>> = {
  unavailable: 'See that its address is right and can be reached from here.',
  throttled: 'Wait a while, and check again.',
  denied: 'See that the configured credentials are right and still valid.',
  notFound: 'See that what the configuration names exists.',
  conflict: 'Check again; if it stays so, look at it there.',
  limit: 'Make room there, or have its limit raised.',
  invalid: 'See that the configuration fits what is there.',
  fenced: 'Check again.',
}
