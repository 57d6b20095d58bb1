import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { github } from '../../providers/github/index.ts'
import { loginOf } from '../../providers/github/people-config.ts'
import { generateSshKeyPair } from '../../providers/github/openssh.ts'
import type { AccountId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type {
  Call,
  Discovered,
  LeftPerson,
  Provider,
  WantedPrincipal,
} from '../../src/provider/contract.ts'
import { checkShape } from '../../src/document/document.ts'
import type { GithubSandbox } from '../../src/sandbox/github.ts'
import { generateAppKey, GithubWorld, startGithubSandbox } from '../../src/sandbox/github.ts'
import { refusalOf } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const appKey = generateAppKey()
const account = '0193a7c0-0000-7000-8000-00000000000a' as AccountId
const granted = {
  administration: 'write',
  members: 'write',
  metadata: 'read',
  organization_administration: 'read',
  organization_personal_access_tokens: 'write',
} as const
const listGrants = 'GET /orgs/{org}/personal-access-tokens'
const endGrant = 'POST /orgs/{org}/personal-access-tokens/{pat_id}'
const endGrants = 'POST /orgs/{org}/personal-access-tokens'
const removeMember = 'DELETE /orgs/{org}/memberships/{username}'

let home: string
let clock: ManualClock
let world: GithubWorld
let sandbox: GithubSandbox
let provider: Provider

const everything = {
  logins: { from: 'userName' },
  removeMembership: true,
  removeOutsideCollaborator: true,
  revokeGrants: true,
} as const

function connect(config: Readonly<Record<string, unknown>> = {}): Provider {
  const options = {
    baseUrl: sandbox.url,
    appId: world.app.id,
    installationId: world.app.installationId,
    privateKeyFile: 'app.pem',
    settle: 'PT0S',
    ...config,
  }
  expect(checkShape({ ...options }, github.configSchema, null)).toEqual([])
  const host = {
    name: 'github-acme',
    clock,
    random: (n: number) => randomBytes(n),
    resolvePath: (path: string) => join(home, path),
    tokens: null as never,
    pepper: Secret.ofText('unused'),
  }
  return github.create(host, options)
}

function callOf(): Call {
  return {
    key: randomUUID(),
    operation: null,
    signal: new AbortController().signal,
    fence: () => Promise.resolve(true),
  }
}

const want = (external?: string): WantedPrincipal => ({
  tenant: defaultTenant,
  account,
  userName: 'ci',
  operation: 'op' as OperationId,
  ...(external === undefined ? {} : { external }),
})

const person = (userName: string): LeftPerson => ({
  id: 'p',
  userName,
  externalId: null,
  emails: [],
})

const remove = (userName: string) => provider.removePerson!(person(userName), callOf())

async function discovered(): Promise<readonly Discovered[]> {
  const items: Discovered[] = []
  for (let from: string | null = null; ;) {
    const page = await provider.discover!(from, callOf())
    expect(page.complete).toBe(true)
    items.push(...page.items)
    if (page.next === null) return items
    from = page.next
  }
}

const sent = (operation: string) => sandbox.requests.filter((r) => r.startsWith(`${operation} `))

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'custody-people-'))
  await writeFile(join(home, 'app.pem'), appKey, { mode: 0o600 })
})
afterAll(() => rm(home, { recursive: true, force: true }))
beforeEach(async () => {
  clock = new ManualClock()
  world = new GithubWorld({ clock, privateKeyPem: appKey, permissions: granted })
  sandbox = await startGithubSandbox({ clock, world })
  provider = connect({ people: everything })
})
afterEach(async () => {
  await provider.close()
  await sandbox.close()
})

describe('discovery at GitHub', () => {
  it('shows grants, foreign deploy keys and apps of others, each with whom to ask', async () => {
    clock.advance(400 * 86_400)
    world.people.addToken({ owner: 'ada', name: 'laptop' })
    world.people.addToken({
      owner: 'bob',
      name: 'ci',
      expiresAt: addSeconds(clock.now(), 86_400),
      lastUsedAt: clock.now(),
    })
    clock.advance(100 * 86_400)
    world.addDeployKeyByHand('acme', 'website', 'left by mona', newPublicKey())
    world.addDeployKeyByHand('acme', 'deploy', `custody/${account}/c/g1/op`, newPublicKey())
    world.people.installForeignApp({ slug: 'deploybot', publisher: 'shipfast' })
    provider = connect({ patGrants: { maxAge: 'P90D' } })

    const found = await discovered()

    expect(
      found.map(({ kind, name }) => `${kind} ${name.replace(/token \d+/, 'token N')}`),
    ).toEqual([
      'deploy-key acme/website: left by mona',
      'pat-grant laptop (token N of ada)',
      'pat-grant ci (token N of bob)',
      'app-installation deploybot',
    ])
    const [key, forever, ending, app] = found
    expect(key).toMatchObject({ owners: [{ hint: 'mona', from: 'creator' }], account: null })
    expect(forever).toMatchObject({ owners: [{ hint: 'ada', from: 'holder' }], obstacle: null })
    expect(forever!.notes).toEqual([
      'The token never expires.',
      'Granted 100 days ago; the configuration allows 90.',
      'The token was never used.',
      'Reaches all repositories with contents=read.',
    ])
    expect(ending!.notes![0]).toBe('The token has expired.')
    expect(ending!.keys[0]).toMatchObject({ active: false })
    expect(app).toMatchObject({ vendor: 'shipfast', owners: [] })
    expect(app!.notes).toEqual(['Reaches all repositories with contents=read, metadata=read.'])
  })

  it('reads on page by page, and says so when a kind may not be looked at', async () => {
    for (let n = 0; n < 101; n++) world.people.addToken({ owner: 'ada', name: `t${n}` })

    expect((await discovered()).filter(({ kind }) => kind === 'pat-grant')).toHaveLength(101)

    world.setPermissions({ administration: 'write', metadata: 'read' })
    const blind = connect()
    const page = await blind.discover!('pat-grant ', callOf())
    expect(page).toMatchObject({ items: [], complete: false, next: 'app-installation ' })
    await blind.close()
  })

  it('adopts what it showed, and lists and ends it from then on', async () => {
    const { grant } = world.people.addToken({ owner: 'ada', name: 'laptop' })
    world.people.addToken({ owner: 'bob', name: 'other' })
    const key = world.addDeployKeyByHand('acme', 'website', 'by hand', newPublicKey())
    const repository = world.findRepository('acme', 'website')!

    const one = await provider.adopt!(`pat#${grant!.id}`, want(), callOf())
    const grants = await provider.list(one.external, callOf())
    expect(one.created).toBe(false)
    expect(grants.items.map(({ keyId }) => keyId)).toEqual([`pat#${grant!.id}`])
    // Nothing was issued for it, so no repository was read.
    expect(sent('GET /installation/repositories')).toEqual([])

    const both = await provider.adopt!(`${repository.id}#${key.id}`, want(one.external), callOf())
    const ensured = await provider.ensurePrincipal(want(both.external), callOf())
    const { items, complete } = await provider.list(ensured.external, callOf())
    expect(complete).toBe(true)
    expect(items.map(({ keyId }) => keyId).toSorted()).toEqual(
      [`${repository.id}#${key.id}`, `pat#${grant!.id}`].toSorted(),
    )

    for (const { keyId } of items) await provider.revoke(ensured.external, keyId, callOf())
    expect(await provider.list(ensured.external, callOf())).toEqual({ items: [], complete: true })
    expect(world.deployKeys('acme', 'website')).toEqual([])
    expect(world.people.grants().map((g) => g.token.owner)).toEqual(['bob'])
    // The token itself is none of ours to end.
    expect(grant!.token.revokedAt).toBeNull()
  })

  it.each([
    ['pat#99', 'notFound'],
    ['app#99', 'notFound'],
    ['1003#99', 'notFound'],
    ['somebody', 'invalid'],
  ])('does not adopt %s, which is not there (%s)', async (external, kind) => {
    const error = await refusalOf(provider.adopt!(external, want(), callOf()))
    expect(error).toMatchObject({ kind, outcome: 'notApplied' })
  })
})

describe('the grant of a personal token', () => {
  it('is ended once, and an end that is repeated looks for it in the whole listing', async () => {
    const { grant } = world.people.addToken({ owner: 'ada', name: 'laptop' })
    sandbox.faults.arm(endGrant, { kind: 'lostResponse' }, 1)

    const lost = await refusalOf(provider.revoke('', `pat#${grant!.id}`, callOf()))
    await provider.revoke('', `pat#${grant!.id}`, callOf())

    expect(lost).toMatchObject({ outcome: 'unknown' })
    expect(world.people.grants()).toEqual([])
    expect(sent(listGrants)).toHaveLength(1)
  })

  it('cannot be made, and an app of somebody else cannot be ended: the refusals say who can', async () => {
    const app = world.people.installForeignApp({ slug: 'deploybot', publisher: 'shipfast' })

    expect(provider.capabilities['pat-grant']).toMatchObject({ canCreate: false, mint: 'none' })
    expect(provider.checkScopes('pat-grant', [])!.reason).toContain('adopted')
    const error = await refusalOf(provider.revoke('', `app#${app.id}`, callOf()))
    expect(error.kind).toBe('denied')
    expect(error.message).toContain(`organizations/acme/settings/installations/${app.id}`)

    world.people.foreignInstallations.splice(0)
    await provider.revoke('', `app#${app.id}`, callOf())
  })
})

describe('a person who left', () => {
  it('loses grants and membership, told in lines, and is unknown afterwards', async () => {
    world.people.addMember('root', 'admin')
    world.people.addMember('ada', 'admin')
    world.people.addToken({ owner: 'Ada', name: 'laptop' })
    world.people.addToken({ owner: 'bob', name: 'other' })

    const lines = await remove('ada')

    expect(lines.join('\n')).toMatch(
      /^Grant \d+ of ada's token "laptop" in acme was ended; the token itself lives on outside of it\.\nada was removed from acme, where the role was owner\.$/,
    )
    expect(world.people.member('ada')).toBeNull()
    expect(world.people.grants().map((g) => g.token.owner)).toEqual(['bob'])
    expect(await remove('ada')).toEqual([])
    expect(await remove('nobody-here')).toEqual([])
    expect(await remove('not a login')).toEqual([])
  })

  it('is not removed as the last owner, though the grants end first', async () => {
    world.people.addMember('ada', 'admin')
    world.people.addToken({ owner: 'ada', name: 'laptop' })

    expect(await remove('ada')).toHaveLength(1)
    const error = await refusalOf(remove('ada'))

    expect(error.kind).toBe('denied')
    expect(error.message).toContain('ada is the last owner of acme')
    expect(sent(removeMember)).toEqual([])
    expect(world.people.grants()).toEqual([])
  })

  it('loses the membership although the grants cannot be read; why not is told when asked again', async () => {
    world.people.addMember('root', 'admin')
    world.people.addMember('ada', 'member')
    sandbox.faults.arm(listGrants, { kind: 'lostResponse' }, 2)

    const lines = await remove('ada')
    const error = await refusalOf(remove('ada'))

    expect(lines).toEqual(['ada was removed from acme, where the role was member.'])
    expect(error.message).toContain('personal-access-tokens')
    expect(world.people.member('ada')).toBeNull()
    expect(await remove('ada')).toEqual([])
  })

  it('loses many grants by one request, and is not done before the listing is', async () => {
    world.people.revokeDelaySeconds = 30
    for (let n = 0; n < 12; n++) world.people.addToken({ owner: 'ada', name: `t${n}` })

    const lines = await remove('ada')
    const again = await remove('ada')
    clock.advance(31)

    expect(lines).toHaveLength(12)
    expect(again).toEqual(lines)
    expect(await remove('ada')).toEqual([])
    expect(sent(endGrants)).toHaveLength(2)
    expect(sent(endGrant)).toEqual([])
  })

  it('is removed as an outside collaborator, and an invitation is withdrawn', async () => {
    world.people.addMember('root', 'admin')
    world.people.addMember('new', 'member', 'pending')
    world.people.addOutsideCollaborator('eve', ['website'])

    expect(await remove('new')).toEqual(['The invitation of new to acme was withdrawn.'])
    expect(await remove('eve')).toEqual(['eve was removed as an outside collaborator of acme.'])
    expect(world.people.outsideCollaborators.size).toBe(0)
  })

  it.each([
    ['nobody, without a rule', {}, null],
    ['userName', { from: 'userName' }, null],
    ['externalId', { from: 'externalId' }, 'ada-ext'],
    ['emailLocalPart', { from: 'emailLocalPart' }, 'ada'],
    [
      'the map before all',
      { from: 'externalId', map: { 'ADA@acme.example': 'lovelace' } },
      'lovelace',
    ],
    ['a map with something else', { map: { 'ada@acme.example': '../etc' } }, null],
  ] as const)('is known at GitHub by %s', (_by, logins, login) => {
    const ada = {
      id: 'p',
      userName: 'ada@acme.example',
      externalId: 'ada-ext',
      emails: ['ada@acme.example'],
    }
    expect(loginOf(ada, logins)).toBe(login)
  })

  it('is nobody’s business when the configuration does not say so', async () => {
    const plain = connect()
    expect(plain.removePerson === undefined).toBe(true)
    await plain.close()
  })
})

describe('a leaked token', () => {
  const leak = (text: string) => provider.revokeLeaked!([Secret.ofText(text)], callOf())

  it('ends everywhere, without credentials of ours', async () => {
    const { token } = world.people.addToken({
      owner: 'ada',
      name: 'classic',
      prefix: 'ghp',
      grant: null,
    })

    expect(provider.endsLeaked!(token.text)).toBe(true)
    expect(provider.endsLeaked!('ghs_0123456789abcdef0123')).toBe(false)
    await leak(token.text)

    expect(token.revokedAt).toBe(clock.now())
    await leak('ghp_neverissuedtoanybody0000')
    expect(sandbox.requests).toEqual([
      'POST /credentials/revoke 202',
      'POST /credentials/revoke 202',
    ])
    const withToken = await fetch(`${sandbox.url}/credentials/revoke`, {
      method: 'POST',
      headers: { authorization: 'token ghp_x' },
      body: JSON.stringify({ credentials: [token.text] }),
    })
    expect(withToken.status).toBe(403)
  })

  it('waits when GitHub takes no more this hour, and the error repeats nothing', async () => {
    for (let n = 0; n < 60; n++) world.people.spendAnonymous()

    const error = await refusalOf(leak('ghp_secretsecretsecret0000'))

    expect(error).toMatchObject({ kind: 'throttled', retryAfter: 3_600 })
    expect(error.message).not.toContain('secretsecret')
  })
})

function newPublicKey(): string {
  return generateSshKeyPair('test', randomBytes).publicKey
}
