import type { DirectoryListing, DirectoryPerson } from '../domain/directory.ts'
import type { JsonObject } from '../domain/json.ts'
import { isJsonObject } from '../domain/json.ts'
import { Secret } from '../domain/secret.ts'
import { parseInstant } from '../domain/time.ts'
import type { CallOptions, DirectoryHost, Page } from './calls.ts'
import { authorizationOf, Calls, ReadFailure, sameOrigin, textOf, Trail } from './calls.ts'
import { secretFrom } from './okta.ts'

export interface GraphConfig {
  readonly baseUrl: string
  readonly loginUrl: string
  readonly tenantId: string
  readonly clientId: string
  readonly clientSecretFile: string
  /** Asks for `employeeLeaveDateTime`, which needs User-LifeCycleInfo.Read.All besides User.Read.All. */
  readonly leaveDates: boolean
}

const selected = ['id', 'userPrincipalName', 'mail', 'employeeId', 'accountEnabled', 'manager']

/**
 * All people of an Entra ID tenant: a full round of `users/delta` from `@odata.nextLink` to
 * `@odata.nextLink` until a `@odata.deltaLink` ends it (a page without people is not the end, see
 * https://learn.microsoft.com/graph/delta-query-overview), then the recycle bin, since a first round
 * does not tell of those deleted before it. A token that ran out in between (410, or 400
 * `syncStateNotFound`) begins the round anew, once.
 */
export async function readGraph(
  name: string,
  config: GraphConfig,
  host: DirectoryHost,
): Promise<DirectoryListing> {
  const people = new Map<string, DirectoryPerson>()
  try {
    const base = config.baseUrl.replace(/\/+$/, '')
    const session = new Session(name, config, host)
    const select = [...selected, ...(config.leaveDates ? ['employeeLeaveDateTime'] : [])].join(',')
    for (let round = 1; ; round++) {
      const start = `${base}/v1.0/users/delta?$select=${select}`
      const whole = await walk(session, start, '@odata.deltaLink', (row) => note(people, row, name))
      if (whole) break
      if (round === 2) throw new ReadFailure(`${name} lost the place in its list twice.`)
      people.clear()
    }
    const bin = `${base}/v1.0/directory/deletedItems/microsoft.graph.user?$select=id,userPrincipalName,mail,employeeId,deletedDateTime`
    await walk(session, bin, null, (row) => {
      const person = binned(row, name)
      people.set(person.id, person)
    })
  } catch (error) {
    if (!(error instanceof ReadFailure)) throw error
    return { people: [...people.values()], complete: false, trouble: error.message }
  }
  return { people: [...people.values()], complete: true, trouble: null }
}

/**
 * @param end what the last page bears; null: it only lacks a link
 * @returns false when the service has forgotten where we were
 */
async function walk(
  session: Session,
  start: string,
  end: string | null,
  each: (row: JsonObject) => void,
): Promise<boolean> {
  const trail = new Trail(session.name)
  for (let url = start; ;) {
    trail.step(url)
    const { body, status } = await session.get(url)
    if (status === 410 || (status === 400 && codeOf(body) === 'syncStateNotFound')) return false
    const rows = isJsonObject(body) ? body['value'] : null
    if (status !== 200 || !isJsonObject(body) || !Array.isArray(rows)) {
      throw new ReadFailure(`${session.name} answers ${status} without a list.`)
    }
    for (const row of rows) {
      if (!isJsonObject(row)) throw new ReadFailure(`${session.name} lists something odd.`)
      each(row)
    }
    const next = textOf(body['@odata.nextLink'])
    if (next === null) {
      if (end !== null && textOf(body[end]) === null) {
        throw new ReadFailure(
          `${session.name} stops in the middle: neither a next page nor an end.`,
        )
      }
      return true
    }
    url = sameOrigin(next, start, session.name)
  }
}

function codeOf(body: unknown): string | null {
  const error = isJsonObject(body) ? body['error'] : null
  return isJsonObject(error) ? textOf(error['code']) : null
}

/** A round may tell of one object several times: the later word adds to the earlier. */
function note(people: Map<string, DirectoryPerson>, row: JsonObject, name: string): void {
  const id = textOf(row['id'])
  if (id === null) throw new ReadFailure(`${name} lists somebody without id.`)
  const before = people.get(id)
  if (isJsonObject(row['@removed'])) {
    // `changed` is in the recycle bin, `deleted` is gone for good: to us both have left.
    const known = before ?? { ...nobody, id, userName: id }
    people.set(id, { ...known, state: 'left', deleted: true })
    return
  }
  const enabled = row['accountEnabled']
  const manager = managerOf(row)
  people.set(id, {
    id,
    userName: textOf(row['userPrincipalName']) ?? before?.userName ?? id,
    email: 'mail' in row ? textOf(row['mail']) : (before?.email ?? null),
    externalId: null,
    employeeNumber: textOf(row['employeeId']) ?? before?.employeeNumber ?? null,
    state:
      enabled === true ? 'active' : enabled === false ? 'left' : (before?.state ?? 'unsettled'),
    deleted: false,
    manager: manager === undefined ? (before?.manager ?? null) : manager,
    leavesAt: instantOf(row['employeeLeaveDateTime']) ?? before?.leavesAt ?? null,
    changedAt: null,
  })
}

const nobody = {
  email: null,
  externalId: null,
  employeeNumber: null,
  leavesAt: null,
  changedAt: null,
} as const

/** A relation comes as a list of changes: the last one that was not removed. */
function managerOf(row: JsonObject): string | null | undefined {
  const changes = row['manager@delta']
  if (!Array.isArray(changes)) return undefined
  let manager: string | null = null
  for (const change of changes) {
    if (isJsonObject(change)) manager = '@removed' in change ? null : textOf(change['id'])
  }
  return manager
}

/** In the recycle bin the name bears the id without dashes in front, so that it can be given again. */
function binned(row: JsonObject, name: string): DirectoryPerson {
  const id = textOf(row['id'])
  if (id === null) throw new ReadFailure(`${name} lists somebody deleted without id.`)
  const userName = textOf(row['userPrincipalName']) ?? id
  const prefix = id.replaceAll('-', '')
  return {
    ...nobody,
    id,
    userName:
      userName.length > prefix.length && userName.startsWith(prefix)
        ? userName.slice(prefix.length)
        : userName,
    email: textOf(row['mail']),
    employeeNumber: textOf(row['employeeId']),
    state: 'left',
    deleted: true,
    changedAt: instantOf(row['deletedDateTime']),
  }
}

function instantOf(value: unknown) {
  const text = textOf(value)
  return text === null ? null : parseInstant(text)
}

/** Holds the access token of one reading (client credentials; it lives for an hour). */
class Session {
  readonly name: string
  readonly #config: GraphConfig
  readonly #host: DirectoryHost
  readonly #calls: Calls
  #token: Secret | null = null

  constructor(name: string, config: GraphConfig, host: DirectoryHost) {
    this.name = name
    this.#config = config
    this.#host = host
    this.#calls = new Calls(host, name)
  }

  async get(url: string): Promise<Page> {
    for (let attempt = 1; ; attempt++) {
      this.#token ??= await this.#signIn()
      const want: CallOptions = {
        url,
        authorization: authorizationOf('Bearer', this.#token),
        understood: attempt === 1 ? [400, 401, 410] : [400, 410],
      }
      const page = await this.#calls.send(want)
      if (page.status !== 401) return page
      this.#token = null
    }
  }

  async #signIn(): Promise<Secret> {
    const { loginUrl, tenantId, clientId, clientSecretFile, baseUrl } = this.#config
    const secret = await secretFrom(this.#host.resolvePath(clientSecretFile), 'clientSecretFile')
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: clientId,
      client_secret: secret.use((bytes) => bytes.toString('utf8')),
      scope: `${new URL(baseUrl).origin}/.default`,
    })
    const base = loginUrl.replace(/\/+$/, '')
    const url = `${base}/${encodeURIComponent(tenantId)}/oauth2/v2.0/token`
    const understood = [400, 401]
    const { body } = await this.#calls.send({ url, authorization: null, form, understood })
    const token = isJsonObject(body) ? textOf(body['access_token']) : null
    if (token === null) {
      const reason = isJsonObject(body) ? textOf(body['error']) : null
      // Error codes of OAuth are words; anything longer may repeat what we sent.
      const word = reason !== null && /^[a-z_]{1,40}$/.test(reason) ? ` (${reason})` : ''
      throw new ReadFailure(`${this.name} refuses to sign us in${word}: see clientId and secret.`)
    }
    return Secret.ofText(token)
  }
}
