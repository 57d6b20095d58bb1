import { Secret } from '../../src/domain/secret.ts'
import type {
  Call,
  CheckFinding,
  CheckReport,
  HostContext,
  SecretSink,
  SinkModule,
  SinkTarget,
} from '../../src/provider/contract.ts'
import { shownVersion, type ProviderError } from '../../src/provider/contract.ts'
import type { GithubClient } from '../github/client.ts'
import { openClient, type Config as ConnectionConfig } from '../github/config.ts'
import type { Attempt } from '../github/errors.ts'
import { isKind, refusal } from '../github/refusals.ts'
import {
  holderOf,
  markName,
  readSeen,
  versionOf,
  type Holder,
  type ListedSecret,
  type Seen,
} from './marks.ts'
import { placeOf, type Place } from './place.ts'
import { readBox, seal, writeVersion, type PublicKey, type SealedBox } from './sealed.ts'

interface Config {
  /** Name of the `github` provider whose App writes the secrets. */
  readonly provider: string
  /** Which repositories see a new secret of an organisation. */
  readonly organizationVisibility?: 'all' | 'private'
}

/**
 * Secrets of GitHub Actions: of repositories, environments and organisations. They can be written
 * and not read, so a delivery is sealed for GitHub and carried by its version until it is promoted:
 * see README.md and docs/decisions/0015.
 */
export const githubActions: SinkModule = {
  type: 'github-actions',
  role: 'sink',
  configSchema: {
    type: 'object',
    additionalProperties: false,
    required: ['provider'],
    properties: {
      provider: { type: 'string', minLength: 1 },
      organizationVisibility: { enum: ['all', 'private'] },
    },
  },
  create(host, options) {
    const config = options as unknown as Config
    const peer = host.peer?.(config.provider) ?? null
    if (peer?.type !== 'github') {
      throw refusal('invalid', `"${config.provider}" is not a configured provider of type github.`)
    }
    const client = openClient(host, peer.config as unknown as ConnectionConfig)
    return new GithubActions(host, client, config.organizationVisibility ?? 'private')
  },
}

const pageSize = 100
/** An organisation may have 1 000 secrets. */
const pagesMax = 20
/** GitHub shows nobody what a mark contains; its name says everything. */
const markText = 'A mark of Custody, which manages the secret beside it.'

class GithubActions implements SecretSink {
  readonly name: string
  readonly type = githubActions.type
  readonly canRead = false
  readonly staging = 'carried'
  readonly cannot = [
    'Be read back: whether consumers get the bytes that were delivered is not tried.',
    'Refuse a write that somebody makes by hand in the second of our own.',
    'Keep a delivery over a change of the public key at GitHub: the key is then made anew.',
    'Take a path that somebody else wrote first, or a secret limited to selected repositories.',
  ]
  readonly #client: GithubClient
  readonly #visibility: string
  readonly #publicKeys = new Map<string, PublicKey>()

  constructor(host: HostContext, client: GithubClient, visibility: string) {
    this.name = host.name
    this.#client = client
    this.#visibility = visibility
  }

  async check(target: SinkTarget, call: Call): Promise<void> {
    const place = placeOf(target.path)
    await this.#own(place, target, call)
    await this.#fetchKey(place, call)
  }

  async deliver(target: SinkTarget, secret: Secret, call: Call): Promise<string> {
    const place = placeOf(target.path)
    await this.#own(place, target, call)
    return writeVersion(versionOf(call.key), await seal(secret, await this.#fetchKey(place, call)))
  }

  async promote(
    target: SinkTarget,
    version: string,
    from: string | null,
    call: Call,
  ): Promise<string> {
    const place = placeOf(target.path)
    const id = shownVersion(version)
    const seen = await this.#own(place, target, call)
    const holder = versionAt(holderOf(seen))
    const isMarked = seen.marks.some((mark) => mark.version === id && !mark.isNext)
    if (holder === id && isMarked) {
      await this.#removeMarks(place, target, seen, id, call)
      return place.ref
    }
    if (holder !== id) refuseStale(place, seen, holder, from)
    const box = readBox(version)
    if (!box)
      throw refusal('invalid', `Version ${id} of ${place.ref} carries nothing; rotate again.`)

    await this.#putMark(place, markName(place.name, target, id, '_NEXT'), call)
    await this.#put(place, place.name, box, call, seen.secret).catch((error: unknown) => {
      if (!isStaleKey(error)) throw error
      this.#publicKeys.delete(place.id)
      // `invalid` ends the operation and removes the new key: only a new one can be sealed again.
      throw refusal(
        'invalid',
        `GitHub changed the public key of ${place.id} since the secret was sealed for it; rotate again.`,
      )
    })
    await this.#putMark(place, markName(place.name, target, id), call)
    await this.#removeMarks(place, target, seen, id, call)
    await this.#delete(place, markName(place.name, target, id, '_NEXT'), call)
    return place.ref
  }

  /** Nothing of a delivery is at GitHub before it is promoted, and a sealed box cannot be had back. */
  async find(): Promise<string | null> {
    return null
  }

  async read(): Promise<Secret | null> {
    return null
  }

  async current(target: SinkTarget, call: Call): Promise<string | null> {
    const place = placeOf(target.path)
    return versionAt(holderOf(await this.#own(place, target, call)))
  }

  async discard(target: SinkTarget, version: string, call: Call): Promise<void> {
    const place = placeOf(target.path)
    const id = shownVersion(version)
    const seen = await this.#see(place, target, call)
    const holder = holderOf(seen)
    if (versionAt(holder) === id) return
    for (const mark of seen.marks.filter((m) => m.version === id)) {
      await this.#delete(place, mark.name, call)
    }
  }

  async remove(target: SinkTarget, call: Call): Promise<void> {
    const place = placeOf(target.path)
    const seen = await this.#see(place, target, call)
    // What somebody wrote over ours is theirs.
    if (versionAt(holderOf(seen)) !== null) await this.#delete(place, place.name, call)
    for (const mark of seen.marks) await this.#delete(place, mark.name, call)
  }

  async examine(call: Call): Promise<CheckReport> {
    const id = this.#client.installationId
    const attempt: Attempt = { request: `GET /app/installations/${id}`, writes: false }
    const leastPolicy = 'secrets: write\nenvironments: write\norganization_secrets: write'
    try {
      const { data } = await this.#client.asApp(attempt, call, (octokit, options) =>
        octokit.rest.apps.getInstallation({ installation_id: id, ...options }),
      )
      const granted = data.permissions as Readonly<Record<string, string | undefined>>
      const findings = ['secrets', 'environments', 'organization_secrets'].map((name) =>
        permissionFinding(name, granted[name] === 'write'),
      )
      return { findings, leastPolicy }
    } catch (error) {
      const { message } = error as Error
      const remedy = "Check appId, installationId and privateKeyFile of the sink's provider."
      return {
        findings: [{ name: 'credentials', state: 'failed', message, remedy }],
        leastPolicy,
      }
    }
  }

  close(): Promise<void> {
    return this.#client.close()
  }

  // --- what lies there -------------------------------------------------------------------------

  async #see(place: Place, target: SinkTarget, call: Call): Promise<Seen> {
    const attempt = attemptOf('GET', place)
    const all: ListedSecret[] = []
    for (let page = 1; page <= pagesMax; page++) {
      const { data } = await this.#client.asInstallation(attempt, call, (octokit, options) =>
        octokit.request(`GET ${place.route}`, {
          ...place.params,
          per_page: pageSize,
          page,
          ...options,
        }),
      )
      const { secrets, total_count } = data as {
        readonly secrets: readonly ListedSecret[]
        readonly total_count: number
      }
      all.push(...secrets)
      if (all.length >= total_count || secrets.length === 0) {
        return readSeen(place.name, target, all)
      }
    }
    throw refusal('limit', `${place.id} has more than ${pagesMax * pageSize} secrets.`)
  }

  /** @throws ProviderError `conflict` when consumers read there what Custody did not put there */
  async #own(place: Place, target: SinkTarget, call: Call): Promise<Seen> {
    const seen = await this.#see(place, target, call)
    if (seen.isMarkedByOther || holderOf(seen) === 'foreign') {
      const which = seen.isMarkedByOther ? 'belongs to another credential' : 'was not written by us'
      throw refusal('conflict', `${place.ref} ${which}; choose another name, or delete it there.`)
    }
    if (seen.secret?.visibility === 'selected') {
      throw refusal(
        'conflict',
        `${place.ref} is limited to selected repositories, which writing it would undo; open it to all or to private ones.`,
      )
    }
    return seen
  }

  async #removeMarks(
    place: Place,
    target: SinkTarget,
    { marks }: Seen,
    except: string,
    call: Call,
  ): Promise<void> {
    const kept = markName(place.name, target, except)
    for (const { name } of marks) if (name !== kept) await this.#delete(place, name, call)
  }

  // --- one request each ------------------------------------------------------------------------

  /** A mark can be sealed again, so a public key that changed is asked for once. */
  async #putMark(place: Place, name: string, call: Call): Promise<void> {
    using text = Secret.ofText(markText)
    const key = this.#publicKeys.get(place.id) ?? (await this.#fetchKey(place, call))
    try {
      await this.#put(place, name, await seal(text, key), call, null)
    } catch (error) {
      if (!isStaleKey(error)) throw error
      const fresh = await this.#fetchKey(place, call)
      await this.#put(place, name, await seal(text, fresh), call, null)
    }
  }

  async #put(
    place: Place,
    name: string,
    { keyId, box }: SealedBox,
    call: Call,
    before: ListedSecret | null,
  ): Promise<void> {
    const visibility = before?.visibility ?? this.#visibility
    await this.#client.asInstallation(
      { ...attemptOf('PUT', place, name), writes: true },
      call,
      (octokit, options) =>
        octokit.request(`PUT ${place.route}/{secret_name}`, {
          ...place.params,
          secret_name: name,
          encrypted_value: box,
          key_id: keyId,
          ...(place.isOrganization ? { visibility } : {}),
          ...options,
        }),
    )
  }

  async #delete(place: Place, name: string, call: Call): Promise<void> {
    const attempt: Attempt = { ...attemptOf('DELETE', place, name), writes: true, ends: true }
    await this.#client
      .asInstallation(attempt, call, (octokit, options) =>
        octokit.request(`DELETE ${place.route}/{secret_name}`, {
          ...place.params,
          secret_name: name,
          ...options,
        }),
      )
      .catch((error: unknown) => {
        if (!isKind(error, 'notFound')) throw error
      })
  }

  async #fetchKey(place: Place, call: Call): Promise<PublicKey> {
    const { data } = await this.#client.asInstallation(
      attemptOf('GET', place, 'public-key'),
      call,
      (octokit, options) =>
        octokit.request(`GET ${place.route}/public-key`, { ...place.params, ...options }),
    )
    const { key_id, key } = data as { readonly key_id: string; readonly key: string }
    const fresh = { id: key_id, key: Buffer.from(key, 'base64') }
    this.#publicKeys.set(place.id, fresh)
    return fresh
  }
}

function versionAt(holder: Holder): string | null {
  return typeof holder === 'string' ? null : holder.version
}

/** Compare before set: GitHub has no conditional write, so this is as near as it gets. */
function refuseStale(place: Place, seen: Seen, holder: string | null, from: string | null): void {
  const expected = from === null ? null : shownVersion(from)
  if (holder === expected) return
  // Deleted by hand: nothing is overwritten when it is written again.
  if (seen.secret === null && seen.marks.some((mark) => mark.version === expected)) return
  throw refusal(
    'conflict',
    `Version ${holder ?? 'none'} of ${place.ref} is current, not ${expected ?? 'none'}: someone else moved it.`,
  )
}

function attemptOf(method: string, place: Place, name?: string): Attempt {
  const request = `${method} ${place.id}/${name ?? 'secrets'}`
  return { request, writes: false, needs: place.needs }
}

/** GitHub's 422 for a `key_id` that it does not use any more. */
function isStaleKey(error: unknown): error is ProviderError {
  return isKind(error, 'invalid') && /public key id is invalid/i.test(error.message)
}

function permissionFinding(name: string, isGranted: boolean): CheckFinding {
  return isGranted
    ? { name, state: 'ok', message: `The App may write ${name}.`, remedy: null }
    : {
        name,
        // Each is needed for one sort of path only.
        state: 'unknown',
        message: `The App may not write ${name}.`,
        remedy: `Grant ${name}=write to the App and accept it in the organisation, if paths need it.`,
      }
}
