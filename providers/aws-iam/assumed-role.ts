import { IAM } from '@aws-sdk/client-iam'
import { STS } from '@aws-sdk/client-sts'
import type { Clock, Instant } from '../../src/domain/time.ts'
import { addSeconds, instantOf } from '../../src/domain/time.ts'
import type { Call, HostContext } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { ClientSettings } from '../aws/client.ts'
import { durationOf } from '../aws/client.ts'
import { mapErrors } from '../aws/errors.ts'
import type { AssumeRoleConfig } from './config.ts'
import { refuse } from './marks.ts'

export interface Clients {
  readonly iam: IAM
  readonly sts: STS
}

interface Fetched {
  readonly key: SessionKey
  readonly until: Instant
}

interface SessionKey {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
}

/** What STS takes for a session (AWS, "AssumeRole"); the role may allow less. */
const secondsLeast = 900
const secondsMost = 12 * 3_600
/** Before its end a session is renewed: longer than a step takes. */
const marginSeconds = 120
const sessionsMax = 256
/** Where nothing of the journal asks: checks, discovery, findings. */
const nameless = 'custody'

/**
 * Custody in the role it was configured to assume: a session of its own for each operation, named
 * by the operation, so that CloudTrail tells which of them did what.
 */
export class AssumedRole {
  readonly #host: HostContext
  readonly #settings: Omit<ClientSettings, 'requestHandler'> & {
    readonly requestHandler: IAM['config']['requestHandler']
  }
  readonly #base: Clients
  readonly #config: AssumeRoleConfig
  readonly #seconds: number
  /** By session name, the one used last at the end. */
  readonly #sessions = new Map<string, Clients>()

  /** @throws ProviderError `invalid` for a duration that STS would not take */
  constructor(
    host: HostContext,
    settings: ClientSettings,
    base: Clients,
    config: AssumeRoleConfig,
  ) {
    this.#host = host
    this.#base = base
    this.#config = config
    this.#seconds = durationOf(config.duration ?? 'PT15M')
    if (this.#seconds < secondsLeast || this.#seconds > secondsMost) {
      throw refuse('invalid', 'assumeRole.duration must be between PT15M and PT12H.')
    }
    // One pool of sockets for all sessions: a session that is forgotten leaves nothing behind.
    this.#settings = { ...settings, requestHandler: base.iam.config.requestHandler }
  }

  clientsFor(call: Call): Clients {
    const name = call.operation ?? nameless
    const known = this.#sessions.get(name)
    const clients = known ?? this.#open(name)
    this.#sessions.delete(name)
    this.#sessions.set(name, clients)
    if (this.#sessions.size > sessionsMax) {
      this.#sessions.delete(this.#sessions.keys().next().value!)
    }
    return clients
  }

  #open(name: string): Clients {
    const kept = new KeptKey(this.#host.clock, () => this.#assume(name))
    // The SDK would judge a key's age by the machine's clock: it is told that we keep it ourselves.
    const credentials = Object.assign(() => kept.get(), { memoized: true })
    const settings = { ...this.#settings, credentials }
    return {
      iam: mapErrors(new IAM(settings), this.#host.sawDate),
      sts: mapErrors(new STS(settings), this.#host.sawDate),
    }
  }

  /** @throws ProviderError with outcome `notApplied`: what the session was wanted for was not sent */
  async #assume(RoleSessionName: string): Promise<Fetched> {
    const { roleArn: RoleArn, externalId: ExternalId } = this.#config
    try {
      const { Credentials: made } = await this.#base.sts.assumeRole({
        RoleArn,
        RoleSessionName,
        DurationSeconds: this.#seconds,
        ...(ExternalId === undefined ? {} : { ExternalId }),
      })
      const key = {
        accessKeyId: made!.AccessKeyId!,
        secretAccessKey: made!.SecretAccessKey!,
        sessionToken: made!.SessionToken!,
      }
      return { key, until: instantOf(made!.Expiration!.getTime()) }
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error
      const { kind, message, retryAfter } = error
      throw new ProviderError(kind, message, { outcome: 'notApplied', retryAfter })
    }
  }
}

/** The key of one session, fetched when it is needed and again before it ends. */
class KeptKey {
  readonly #clock: Clock
  readonly #fetch: () => Promise<Fetched>
  #current: Fetched | null = null
  #fetching: Promise<SessionKey> | null = null

  constructor(clock: Clock, fetch: () => Promise<Fetched>) {
    this.#clock = clock
    this.#fetch = fetch
  }

  async get(): Promise<SessionKey> {
    const current = this.#current
    if (current && addSeconds(this.#clock.now(), marginSeconds) < current.until) return current.key
    this.#fetching ??= this.#fetch()
      .then((fetched) => {
        this.#current = fetched
        return fetched.key
      })
      .finally(() => {
        this.#fetching = null
      })
    return this.#fetching
  }
}
