import type { ServiceAccount } from '../domain/account.ts'
import { errors, nearest } from '../domain/errors.ts'
import type { Instant } from '../domain/time.ts'
import { addSeconds, earlier } from '../domain/time.ts'
import type { CredentialEntry } from '../domain/want.ts'
import type { Template } from '../policy/templates.ts'
import type { Lifecycle } from './context.ts'

/** @throws invalidValue with the names that are known */
export function templateNamed(life: Pick<Lifecycle, 'vocabulary'>, name: string): Template {
  const all = life.vocabulary?.() ?? []
  const found = all.find((t) => t.name === name)
  if (found) return found
  const names = all.map((t) => t.name)
  const hint = nearest(name, names)
  const known = hint ? `did you mean "${hint}"?` : `known here: ${names.join(', ') || 'none'}.`
  throw errors.invalidValue({ path: 'entitlement', reason: `there is no "${name}"; ${known}` })
}

/**
 * Holds a request by name against its template: the environment, and the longest life, which caps
 * what was asked for. Scopes may be fewer than the template's, never others.
 * @throws invalidValue
 */
export function underTemplate<T extends CredentialEntry>(
  life: Pick<Lifecycle, 'vocabulary' | 'clock'>,
  account: Pick<ServiceAccount, 'environment' | 'expiresAt'>,
  want: T,
): T {
  if (want.entitlement === undefined || want.entitlement === null) return want
  const template = templateNamed(life, want.entitlement)
  const { environments, longestLife, name } = template
  if (environments.length > 0 && !environments.includes(account.environment ?? '')) {
    const here = account.environment === null ? 'none' : `"${account.environment}"`
    const reason = `"${name}" is for accounts in ${environments.join(', ')}; the environment of this one is ${here}.`
    throw errors.invalidValue({ path: 'entitlement', reason })
  }
  const other = (['provider', 'kind'] as const).find((key) => want[key] !== template[key])
  const more = want.scopes.find((scope) => !template.scopes.includes(scope))
  if (other !== undefined || more !== undefined) {
    const path = other ?? 'scopes'
    const said = other === undefined ? more! : want[other]
    const reason = `"${said}" is not what "${name}" stands for; leave it out, or leave entitlement out.`
    throw errors.invalidValue({ path, reason })
  }
  if (longestLife === null) return want
  const cap: Instant = addSeconds(life.clock.now(), longestLife)
  return { ...want, expiresAt: earlier(want.expiresAt ?? account.expiresAt, cap) }
}
