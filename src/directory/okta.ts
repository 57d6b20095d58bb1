import { readFile } from 'node:fs/promises'
import type { DirectoryListing, DirectoryPerson, DirectoryState } from '../domain/directory.ts'
import { isJsonObject } from '../domain/json.ts'
import { Secret } from '../domain/secret.ts'
import { parseInstant } from '../domain/time.ts'
import type { DirectoryHost } from './calls.ts'
import { authorizationOf, Calls, ReadFailure, sameOrigin, textOf, Trail } from './calls.ts'

export interface OktaConfig {
  readonly baseUrl: string
  readonly tokenFile: string
  readonly auth: 'ssws' | 'bearer'
}

/**
 * Okta's status words (https://developer.okta.com/docs/api/openapi/okta-management/, `UserStatus`).
 * Who is suspended keeps the applications assigned, so their leaving is nobody's word; who is staged
 * has not begun.
 */
const states: Readonly<Record<string, DirectoryState>> = {
  ACTIVE: 'active',
  PROVISIONED: 'active',
  RECOVERY: 'active',
  PASSWORD_EXPIRED: 'active',
  LOCKED_OUT: 'active',
  STAGED: 'unsettled',
  SUSPENDED: 'unsettled',
  DEPROVISIONED: 'left',
}

/**
 * All people of an Okta organisation: `GET /api/v1/users`, 200 a page, from link to link
 * (`rel="next"`). The plain list leaves out who is DEPROVISIONED, so those are asked for in a second
 * pass; it comes second, for somebody who is deactivated meanwhile is then in both, and the later
 * word counts.
 */
export async function readOkta(
  name: string,
  config: OktaConfig,
  host: DirectoryHost,
): Promise<DirectoryListing> {
  const people = new Map<string, DirectoryPerson>()
  try {
    const token = await secretFrom(host.resolvePath(config.tokenFile), 'tokenFile')
    const scheme = config.auth === 'bearer' ? 'Bearer' : 'SSWS'
    const calls = new Calls(host, name)
    const first = `${config.baseUrl.replace(/\/+$/, '')}/api/v1/users?limit=200`
    const left = `${first}&filter=${encodeURIComponent('status eq "DEPROVISIONED"')}`
    const trail = new Trail(name)
    for (const start of [first, left]) {
      for (let url: string | null = start; url !== null;) {
        trail.step(url)
        const { body, headers } = await calls.send({
          url,
          authorization: authorizationOf(scheme, token),
        })
        if (!Array.isArray(body))
          throw new ReadFailure(`${name} answers something else than a list.`)
        for (const row of body) {
          const person = personOf(row, name)
          people.set(person.id, person)
        }
        const next = nextOf(headers.get('link'))
        url = next === null ? null : sameOrigin(next, config.baseUrl, name)
      }
    }
  } catch (error) {
    if (!(error instanceof ReadFailure)) throw error
    return { people: [...people.values()], complete: false, trouble: error.message }
  }
  return { people: [...people.values()], complete: true, trouble: null }
}

/** @throws ReadFailure naming the setting; never what is in the file */
export async function secretFrom(file: string, setting: string): Promise<Secret> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ReadFailure(`${setting}: ${file} cannot be read (${cause.code ?? 'unknown'}).`)
  })
  if (text.trim() === '') throw new ReadFailure(`${setting}: ${file} is empty.`)
  return Secret.ofText(text.trim())
}

function personOf(row: unknown, name: string): DirectoryPerson {
  const profile = isJsonObject(row) ? row['profile'] : null
  const id = isJsonObject(row) ? textOf(row['id']) : null
  if (!isJsonObject(row) || !isJsonObject(profile) || id === null) {
    throw new ReadFailure(`${name} lists somebody without id or profile.`)
  }
  const changed = textOf(row['statusChanged'])
  return {
    id,
    userName: textOf(profile['login']) ?? id,
    email: textOf(profile['email']),
    externalId: null,
    employeeNumber: textOf(profile['employeeNumber']),
    state: states[textOf(row['status']) ?? ''] ?? 'unsettled',
    deleted: false,
    // `manager` holds a name for people to read; only `managerId` can be compared.
    ...('managerId' in profile ? { manager: textOf(profile['managerId']) } : {}),
    leavesAt: null,
    changedAt: changed === null ? null : parseInstant(changed),
  }
}

/** The target of `rel="next"` (RFC 8288); Okta sends `self` and `next` as one header or two. */
export function nextOf(header: string | null): string | null {
  for (const [, target, parameters] of (header ?? '').matchAll(/<([^>]*)>([^<]*)/g)) {
    if (/;\s*rel="?next"?/.test(parameters!)) return target!
  }
  return null
}
