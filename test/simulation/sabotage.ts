import type { ConsumerReport } from '../../src/domain/consumer.ts'
import { anyone } from '../../src/domain/consumer.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { instantOf, seconds } from '../../src/domain/time.ts'
import type { Transport, WireAnswer, WireRequest } from '../../src/provider/contract.ts'
import type { Change, Store } from '../../src/store/store.ts'
import type { Worlds } from './wire-services.ts'
import { githubUrl } from './wire-services.ts'

/** Ways to break Custody from outside, each of which some law must notice. */
export const sabotages = [
  /** AWS says that it has switched a key off, and has not. */
  'keys stay active',
  /** Writes of workers that lost their claim are let through. */
  'fences are ignored',
  /** What a killed process was doing is never taken up again. */
  'leases never lapse',
  /** The rows that say what keys there are get lost. */
  'keys are not journalled',
  /** Nothing follows when somebody leaves. */
  'leavers are forgotten',
  /** A mint leaves no row in the audit. */
  'mints are not audited',
  /** A deletion leaves two. */
  'deletions are audited twice',
  /** The database is told what the sink is told. */
  'secrets are written down',
  /** A new key ends the ones before it at once. */
  'old keys end too soon',
  /** Each deploy key is registered a second time, under another public key. */
  'keys come in pairs',
  /** Switching a key off reaches one that is somebody else's. */
  'strangers are touched',
  /** A key that is switched on again is not, and whoever tries it is told that it is. */
  'undone keys are not tried',
  /** Everybody is said to have moved to the new key. */
  'overlaps ignore consumers',
  /** A change of scopes is accepted, and its plan lost. */
  'rescopes are lost',
  /** AWS says that it has given more rights, and has not. */
  'rights are noted but not given',
  /** The policy acts on what it should only watch. */
  'watching is forgotten',
] as const
export type Sabotage = (typeof sabotages)[number]

/** What a sabotaged process has on its mind. */
export class Saboteur {
  readonly #sabotage: Sabotage | null
  readonly #worlds: Worlds
  #lastSecret = ''
  /** Keys that were to be on, and are not. */
  readonly #dead = new Set<string>()
  /** What AWS said when a user was given rights, by user. */
  readonly #given = new Map<string, WireAnswer>()

  constructor(sabotage: Sabotage | null, worlds: Worlds) {
    this.#sabotage = sabotage
    this.#worlds = worlds
  }

  store(store: Store): Store {
    const edited = (edit: (changes: readonly Change[]) => readonly Change[]): Store => ({
      ...store,
      commit: (changes) => store.commit(edit(changes)),
    })
    switch (this.#sabotage) {
      case 'fences are ignored':
        return { ...store, commit: async (all) => store.commit(await fencesOf(store, all)) }
      case 'leases never lapse':
        return {
          ...store,
          claim: (worker, now, _lease, ...rest) => store.claim(worker, now, seconds(1e9), ...rest),
        }
      case 'keys are not journalled':
        return edited((changes) => changes.filter((c) => c.type !== 'key'))
      case 'leavers are forgotten':
        return edited((changes) =>
          changes.filter(
            (c) => !(c.type === 'enqueue' && ['leave', 'disable'].includes(c.operation.kind)),
          ),
        )
      case 'mints are not audited':
        return edited((changes) =>
          changes.filter((c) => !(c.type === 'audit' && c.row.action === 'key.issued')),
        )
      case 'deletions are audited twice':
        return edited((changes) =>
          changes.flatMap((c) =>
            c.type === 'audit' && c.row.action === 'key.deleted'
              ? [c, { ...c, row: { ...c.row, id: `${c.row.id.slice(0, -4)}ffff` } }]
              : [c],
          ),
        )
      case 'overlaps ignore consumers':
        return {
          ...store,
          read: { ...store.read, consumerReports: (...asked) => everybodyMoved(store, asked) },
        }
      case 'rescopes are lost':
        return edited((changes) =>
          changes.filter((c) => !(c.type === 'enqueue' && c.operation.kind === 'rescope')),
        )
      case 'secrets are written down':
        return edited((changes) =>
          changes.map((c) =>
            c.type === 'audit'
              ? { ...c, row: { ...c.row, facts: { ...c.row.facts, note: this.#lastSecret } } }
              : c,
          ),
        )
      default:
        return store
    }
  }

  transport(transport: Transport): Transport {
    switch (this.#sabotage) {
      case 'keys stay active':
        return this.#after(transport, 'UpdateAccessKey', (input) => {
          this.#setKey(input.get('UserName')!, input.get('AccessKeyId')!, 'Active')
        })
      case 'undone keys are not tried':
        return this.#unproven(transport)
      case 'rights are noted but not given':
        return (request, signal) => this.#withoutRights(transport, request, signal)
      case 'old keys end too soon':
        return this.#after(transport, 'CreateAccessKey', (input, body) => {
          const user = input.get('UserName')!
          for (const { accessKeyId } of this.#worlds.aws.keysOf(user)) {
            if (!body.includes(accessKeyId)) this.#setKey(user, accessKeyId, 'Inactive')
          }
        })
      case 'strangers are touched':
        return this.#after(transport, 'UpdateAccessKey', () => {
          const [key] = this.#worlds.aws.keysOf('build-server')
          this.#setKey('build-server', key!.accessKeyId, 'Inactive')
        })
      case 'keys come in pairs':
        return async (request, signal) => {
          const answer = await transport(request, signal)
          if (answer.status === 201 && isDeployKeyPost(request)) this.#addTwin(request)
          return answer
        }
      case 'secrets are written down':
        return async (request, signal) => {
          const secret = /"SecretString":"((?:[^"\\]|\\.)*)"/.exec(request.body)?.[1]
          if (secret !== undefined) this.#lastSecret = JSON.parse(`"${secret}"`) as string
          return transport(request, signal)
        }
      default:
        return transport
    }
  }

  #unproven(transport: Transport): Transport {
    return async (request, signal) => {
      const answer = await transport(request, signal)
      const input = new URLSearchParams(request.body)
      const key = input.get('AccessKeyId')
      if (input.get('Action') === 'UpdateAccessKey' && answer.status === 200 && key !== null) {
        if (input.get('Status') === 'Active') {
          this.#setKey(input.get('UserName')!, key, 'Inactive')
          this.#dead.add(key)
        } else this.#dead.delete(key)
      }
      const caller = /Credential=([A-Z0-9]+)\//.exec(request.headers['authorization'] ?? '')?.[1]
      const isProbe = input.get('Action') === 'GetCallerIdentity'
      return isProbe && this.#dead.has(caller ?? '')
        ? { ...answer, status: 200, body: identityBody }
        : answer
    }
  }

  async #withoutRights(
    transport: Transport,
    request: WireRequest,
    signal: AbortSignal | null,
  ): Promise<WireAnswer> {
    const input = new URLSearchParams(request.body)
    const user = input.get('UserName') ?? ''
    const isMore = input.get('PolicyDocument')?.includes('PutObject') === true
    const isChange = input.get('Action') === 'PutUserPolicy' && isMore && this.#given.has(user)
    if (!isChange) {
      const answer = await transport(request, signal)
      if (input.get('Action') === 'PutUserPolicy') this.#given.set(user, answer)
      return answer
    }
    return this.#given.get(user)!
  }

  #after(
    transport: Transport,
    action: string,
    act: (input: URLSearchParams, body: string) => void,
  ): Transport {
    return async (request, signal) => {
      const answer = await transport(request, signal)
      const input = new URLSearchParams(request.body)
      if (input.get('Action') === action && answer.status === 200) act(input, answer.body)
      return answer
    }
  }

  #setKey(UserName: string, AccessKeyId: string, Status: 'Active' | 'Inactive'): void {
    const { aws } = this.#worlds
    aws.call({
      service: 'iam',
      operation: 'UpdateAccessKey',
      input: { UserName, AccessKeyId, Status },
      accessKeyId: aws.admin.accessKeyId,
      region: 'us-east-1',
    })
  }

  #addTwin({ url, body }: WireRequest): void {
    const { github } = this.#worlds
    const { title, key } = JSON.parse(body) as { readonly title: string; readonly key: string }
    const [type, blob] = key.split(' ')
    const bytes = Buffer.from(blob!, 'base64')
    bytes[bytes.length - 1]! ^= 1
    const [, , owner, name] = url.pathname.split('/')
    const repository = github.findRepository(owner!, name!)!
    github.addDeployKey(repository, title, `${type} ${bytes.toString('base64')}`, true, 'twin')
  }
}

async function fencesOf(store: Store, changes: readonly Change[]): Promise<readonly Change[]> {
  return Promise.all(
    changes.map(async (change) => {
      if (change.type !== 'advance') return change
      const stored = await store.read.operation(defaultTenant, change.id)
      return stored ? { ...change, fence: stored.fence } : change
    }),
  )
}

async function everybodyMoved(
  { read }: Store,
  [tenant, account]: Parameters<Store['read']['consumerReports']>,
): Promise<readonly ConsumerReport[]> {
  const generation = Number.MAX_SAFE_INTEGER
  const said = { consumer: anyone, kind: 'waived', generation, at: instantOf(0), by: '' } as const
  const all = await read.credentialsOf(tenant, account)
  return all.map(({ id: credential }) => ({ ...said, tenant, account, credential }))
}

const identityBody =
  '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/x</Arn><UserId>AIDAX</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>'

const isDeployKeyPost = ({ method, url }: WireRequest): boolean =>
  method === 'POST' && url.origin === githubUrl && url.pathname.endsWith('/keys')
