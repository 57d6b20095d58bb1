import type { CredentialKind } from '../../src/domain/credential.ts'
import type { Secret } from '../../src/domain/secret.ts'
import { seconds } from '../../src/domain/time.ts'
import type {
  Call,
  Capabilities,
  CheckReport,
  DiscoveryPage,
  Drift,
  EnsuredPrincipal,
  ExternalCredential,
  InventoryPage,
  Issued,
  LeftPerson,
  Listing,
  Prepared,
  ProbeAnswer,
  Provider,
  ProviderModule,
  WantedCredential,
  WantedPrincipal,
  WantedScopes,
} from '../../src/provider/contract.ts'
import { AppTokens } from './app-tokens.ts'
import { checkGithub } from './check.ts'
import { configSchemaOf, durationOf, openClient, type Config } from './config.ts'
import { DeployKeys } from './deploy-keys.ts'
import {
  assertUsable,
  readInstallation,
  resumeInstallation,
  suspendInstallation,
} from './installation.ts'
import { AppInstallations } from './installations.ts'
import type { GithubKind, GithubKit } from './kind.ts'
import { adoptedOf, writePrincipal, type ScopeRefusal } from './names.ts'
import { PatGrants } from './pat-grants.ts'
import { LeavingPeople } from './people.ts'
import { isRevocableByAnyone, revokeByAnyone } from './leaked.ts'
import { isKind, refusal } from './refusals.ts'
import { walk } from './walk.ts'

/** Every kind that is served; `kinds` of the configuration picks from them. */
const kinds: Readonly<Partial<Record<CredentialKind, (kit: GithubKit) => GithubKind>>> = {
  'deploy-key': (kit) => new DeployKeys(kit),
  'app-token': (kit) => new AppTokens(kit),
  'pat-grant': (kit) => new PatGrants(kit),
  'app-installation': (kit) => new AppInstallations(kit),
}

/** What a GitHub App can hand out, end and oversee in one organisation: see README.md. */
export const github: ProviderModule = {
  type: 'github',
  role: 'provider',
  configSchema: configSchemaOf(Object.keys(kinds)),
  create(host, options) {
    const config = options as unknown as Config
    const kit: GithubKit = {
      host,
      config,
      client: openClient(host, config),
      installationId: config.installationId,
      settle: durationOf('settle', config.settle, seconds(5)),
    }
    const wanted = config.kinds ?? Object.keys(kinds)
    return new Github(
      kit,
      Object.entries(kinds)
        .filter(([kind]) => wanted.includes(kind))
        .map(([, make]) => make(kit)),
    )
  },
}

class Github implements Provider {
  readonly name: string
  readonly type = github.type
  readonly capabilities: Capabilities
  readonly inventory?: (from: string | null, call: Call) => Promise<InventoryPage>
  readonly discover?: (from: string | null, call: Call) => Promise<DiscoveryPage>
  readonly removePerson?: (person: LeftPerson, call: Call) => Promise<readonly string[]>
  readonly #kit: GithubKit
  readonly #kinds: readonly GithubKind[]

  constructor(kit: GithubKit, served: readonly GithubKind[]) {
    this.name = kit.host.name
    this.#kit = kit
    this.#kinds = served
    this.capabilities = Object.fromEntries(served.map((k) => [k.kind, k.capabilities]))
    const listed = served.flatMap((k) =>
      k.inventory
        ? [{ name: k.kind, page: k.inventory.bind(k), made: k.capabilities.canCreate }]
        : [],
    )
    if (listed.length > 0) {
      this.inventory = (from, call) => {
        // Of what is only ever adopted, nothing can be told without the journal.
        const shown = listed.filter(({ made }) => made || call.journalled !== undefined)
        return walk(shown, from, call)
      }
    }
    // A kind that the App may not look at makes its page incomplete, and hides no other.
    const discovered = served.flatMap((k) =>
      k.discover
        ? [
            {
              name: k.kind,
              page: (from: string | null, call: Call) =>
                k.discover!(from, call).catch((error: unknown) => emptyIfDenied(error)),
            },
          ]
        : [],
    )
    if (discovered.length > 0) this.discover = (from, call) => walk(discovered, from, call)
    const { people } = kit.config
    if (people) {
      const leaving = new LeavingPeople(kit, people)
      this.removePerson = (person, call) => leaving.remove(person, call)
    }
  }

  checkScopes(kind: CredentialKind, scopes: readonly string[]): ScopeRefusal | null {
    const served = this.#kinds.find((k) => k.kind === kind)
    if (!served) return { scope: '', reason: `kind "${kind}" is not issued here.` }
    return served.checkScopes(scopes)
  }

  /** Creates nothing: the principal is the account at this installation, if that can be used. */
  async ensurePrincipal(want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    const id = this.#kit.installationId
    const needs = this.#kinds.find((kind) => kind.kind === want.kind)?.permissions ?? {}
    assertUsable(await readInstallation(this.#kit.client, call), needs, id)
    // True because all that is ever listed for it carries the account's id.
    return {
      external: writePrincipal(id, want.account, adoptedOf(want.external ?? '')),
      created: true,
    }
  }

  prepare(want: WantedCredential): Prepared {
    const kind = this.#kindOf(want.kind)
    if (!kind.prepare) throw refusal('invalid', `Nothing is prepared for kind "${want.kind}".`)
    return kind.prepare(want)
  }

  issue(principal: string, want: WantedCredential, call: Call): Promise<Issued> {
    return later(() => this.#kindOf(want.kind).issue(principal, want, call))
  }

  disable(principal: string, keyId: string, call: Call): Promise<void> {
    return later(() => {
      const kind = this.#ownerOf(keyId)
      return kind.disable?.(principal, keyId, call) ?? unsupported(kind, 'switched off')
    })
  }

  enable(principal: string, keyId: string, call: Call): Promise<void> {
    return later(() => {
      const kind = this.#ownerOf(keyId)
      return kind.enable?.(principal, keyId, call) ?? unsupported(kind, 'switched on again')
    })
  }

  revoke(principal: string, keyId: string, call: Call, held: Secret | null = null): Promise<void> {
    return later(() => this.#ownerOf(keyId).revoke(principal, keyId, call, held))
  }

  // Nothing at GitHub stands above one account's credentials that could deny them reversibly: the
  // kill switch of the installation (`suspend`) would stop everybody's tokens and no deploy key.
  async shutOff(): Promise<void> {}

  async turnOn(): Promise<void> {}

  probe(secret: Secret, kind: CredentialKind, call: Call): Promise<ProbeAnswer> {
    return later(async () => (await this.#kindOf(kind).probe?.(secret, call)) ?? 'untestable')
  }

  probeKey(principal: string, keyId: string, call: Call): Promise<ProbeAnswer> {
    return later(
      async () => (await this.#ownerOf(keyId).probeKey?.(principal, keyId, call)) ?? 'untestable',
    )
  }

  async list(principal: string, call: Call): Promise<Listing<ExternalCredential>> {
    const listings = await Promise.all(
      this.#kinds.flatMap((kind) => kind.list?.(principal, call) ?? []),
    )
    return {
      items: listings.flatMap((l) => l.items),
      complete: listings.every((l) => l.complete),
    }
  }

  /** GitHub changes nothing about a key that is there: what drifted is replaced by a rotation. */
  async driftOf(
    _principal: string,
    want: readonly WantedScopes[],
    call: Call,
  ): Promise<Listing<Drift>> {
    const items: Drift[] = []
    for (const one of want) {
      const kind = this.#kinds.find((k) => k.kind === one.kind)
      items.push(...((await kind?.driftOf?.(one, call)) ?? []))
    }
    return { items, complete: true }
  }

  adopt(external: string, want: WantedPrincipal, call: Call): Promise<EnsuredPrincipal> {
    return later(() => {
      for (const kind of this.#kinds) {
        const adopted = kind.adopt?.(external, want, call) ?? null
        if (adopted) return adopted
      }
      throw refusal('invalid', `"${external}" is nothing that could be adopted here.`)
    })
  }

  endsLeaked(text: string): boolean {
    return isRevocableByAnyone(text)
  }

  revokeLeaked(leaked: readonly Secret[], call: Call): Promise<void> {
    return revokeByAnyone(this.#kit.client, leaked, call)
  }

  check(call: Call): Promise<CheckReport> {
    return checkGithub(this.#kit, this.#kinds, call)
  }

  suspend(call: Call): Promise<void> {
    return suspendInstallation(this.#kit.client, call)
  }

  resume(call: Call): Promise<void> {
    return resumeInstallation(this.#kit.client, call)
  }

  async deletePrincipal(principal: string, call: Call): Promise<void> {
    const { items, complete } = await this.list(principal, call)
    for (const item of items) await this.revoke(principal, item.keyId, call)
    if (!complete) {
      throw refusal('unavailable', 'The listing of the credentials is cut: more may be there.')
    }
  }

  close(): Promise<void> {
    return this.#kit.client.close()
  }

  #kindOf(kind: CredentialKind): GithubKind {
    const found = this.#kinds.find((k) => k.kind === kind)
    if (!found) throw refusal('invalid', `Kind "${kind}" is not issued here.`)
    return found
  }

  #ownerOf(keyId: string): GithubKind {
    const found = this.#kinds.find((k) => k.ownsKey(keyId))
    if (!found) throw refusal('invalid', `"${keyId}" is not the id of a credential issued here.`)
    return found
  }
}

function emptyIfDenied(error: unknown): DiscoveryPage {
  if (!isKind(error, 'denied')) throw error
  return { items: [], next: null, complete: false, total: null }
}

function unsupported(kind: GithubKind, what: string): Promise<never> {
  return Promise.reject(
    refusal('invalid', `A ${kind.kind} cannot be ${what}: GitHub only knows present and deleted.`),
  )
}

/** What is thrown before the first await reaches the caller as a rejection too. */
async function later<T>(run: () => Promise<T>): Promise<T> {
  return run()
}
