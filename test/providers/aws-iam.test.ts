import * as iam from '@aws-sdk/client-iam'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { awsIam } from '../../providers/aws-iam/index.ts'
import { checkShape } from '../../src/document/document.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext, Provider, TokenBook } from '../../src/provider/contract.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import {
  callWith,
  providerConformance,
  providerErrorFrom,
  wantCredential,
  wantPrincipal,
} from '../conformance/provider.ts'
import { ManualClock } from '../support/manual-clock.ts'

const managed = 'arn:aws:iam::aws:policy/ReadOnlyAccess'

function hostWith(clock: ManualClock, directory = '/'): HostContext {
  return {
    name: 'aws-test',
    clock,
    random: (length) => new Uint8Array(length),
    resolvePath: (path) => join(directory, path),
    tokens: {} as TokenBook,
    pepper: Secret.ofText('unused'),
  }
}

const configOf = (sandbox: AwsSandbox, more: Record<string, unknown> = {}) => ({
  region: 'eu-central-1',
  endpoint: sandbox.url,
  credentials: sandbox.world.admin,
  settle: 'PT0S',
  probe: { count: 1, every: 'PT0S' },
  allowedPolicies: [managed],
  ...more,
})

/** The policy that providers/aws-iam/README.md tells operators to give Custody. */
function policyOfReadme(): string {
  const readme = readFileSync(new URL('../../providers/aws-iam/README.md', import.meta.url), 'utf8')
  return /```json\n(.+?)```/s.exec(readme)![1]!
}

/** A key of a user that may do what the README lists and nothing else. */
async function leastPrivileged(sandbox: AwsSandbox) {
  const admin = new iam.IAM({
    region: 'eu-central-1',
    endpoint: sandbox.url,
    credentials: sandbox.world.admin,
  })
  const UserName = 'custody'
  const PolicyDocument = policyOfReadme()
  await admin.createUser({ UserName })
  const { Policy } = await admin.createPolicy({ PolicyName: 'custody', PolicyDocument })
  await admin.attachUserPolicy({ UserName, PolicyArn: Policy!.Arn })
  const { AccessKey } = await admin.createAccessKey({ UserName })
  admin.destroy()
  return { accessKeyId: AccessKey!.AccessKeyId!, secretAccessKey: AccessKey!.SecretAccessKey! }
}

async function connect(world: { lag?: number; leastPrivilege?: boolean } = {}) {
  const clock = new ManualClock()
  const sandbox = await startAwsSandbox({ clock })
  const credentials = world.leastPrivilege ? await leastPrivileged(sandbox) : sandbox.world.admin
  sandbox.world.lagSeconds = world.lag ?? 0
  sandbox.world.propagationSeconds = world.lag ?? 0
  const provider = awsIam.create(hostWith(clock), configOf(sandbox, { credentials }))
  const idOf = (secret: Secret) =>
    secret.use((bytes) => JSON.parse(bytes.toString('utf8')) as { accessKeyId: string }).accessKeyId
  return {
    provider,
    sandbox,
    kind: 'access-key' as const,
    clock,
    scopes: [`policy:${managed}`, 's3:GetObject on arn:aws:s3:::bucket/*'],
    otherScopes: ['s3:PutObject'],
    plantDrift: ({ principal }: { readonly principal: string }) => {
      const { userName: UserName } = JSON.parse(principal) as { readonly userName: string }
      const { accessKeyId } = sandbox.world.admin
      const byHand = (operation: string, more: Readonly<Record<string, unknown>> = {}) =>
        sandbox.world.call({
          service: 'iam',
          operation,
          input: { UserName, ...more },
          accessKeyId,
          region: 'us-east-1',
        })
      byHand('AttachUserPolicy', { PolicyArn: 'arn:aws:iam::aws:policy/AdministratorAccess' })
      byHand('DeleteUserPermissionsBoundary')
      byHand('CreateLoginProfile', { Password: 'by hand' })
      byHand('CreateGroup', { GroupName: `of-${UserName}` })
      byHand('AddUserToGroup', { GroupName: `of-${UserName}` })
      byHand('CreateServiceSpecificCredential', { ServiceName: 'codecommit.amazonaws.com' })
    },
    refusedScope: 'iam:*',
    settle: () => clock.advance(world.lag ?? 0),
    isUsable: (secret: Secret) =>
      sandbox.world.wouldAllow(idOf(secret), 's3:GetObject', 'arn:aws:s3:::bucket/a'),
    armLostIssue: () => sandbox.faults.arm('CreateAccessKey', { kind: 'lostResponse' }),
    armThrottledIssue: () =>
      sandbox.faults.arm('CreateAccessKey', { kind: 'throttle', retryAfterSeconds: 7 }),
    armBrokenInventory: () => sandbox.faults.arm('ListAccessKeys', { kind: 'reset' }, 99),
    dispose: () => sandbox.close(),
  }
}

providerConformance('aws-iam', () => connect())
providerConformance('aws-iam with only the rights its README lists', () =>
  connect({ leastPrivilege: true }),
)
providerConformance('aws-iam with writes that take 10 s to spread', () => connect({ lag: 10 }))

describe('aws-iam', () => {
  let sandbox: AwsSandbox
  let provider: Provider
  let clock: ManualClock
  let admin: iam.IAM

  beforeEach(async () => {
    const made = await connect()
    ;({ sandbox, provider, clock } = made)
    admin = new iam.IAM({
      region: 'eu-central-1',
      endpoint: sandbox.url,
      credentials: sandbox.world.admin,
    })
  })
  afterEach(async () => {
    await provider.close()
    admin.destroy()
    await sandbox.close()
  })

  const userOf = (external: string) => (JSON.parse(external) as { userName: string }).userName
  const seen = (userName: string) => sandbox.world.users().find((u) => u.userName === userName)!

  async function issued(scopes: readonly string[] = []) {
    const want = wantPrincipal(clock)
    const { external } = await provider.ensurePrincipal(want, callWith())
    const credential = wantCredential(want, 'access-key', clock, { scopes })
    const key = await provider.issue(external, credential, callWith())
    return { want, external, credential, key, userName: userOf(external) }
  }

  describe('the user', () => {
    it('carries path, tags and a boundary from its first moment', async () => {
      const want = wantPrincipal(clock, 'Deploy Bot (prod)')

      const { external, created } = await provider.ensurePrincipal(want, callWith())

      const user = seen(userOf(external))
      expect(created).toBe(true)
      expect(user.userName).toBe(`Deploy-Bot-prod--${want.account.slice(-12)}`)
      expect(user).toMatchObject({
        path: '/custody/',
        tags: {
          'custody:id': want.account,
          'custody:tenant': want.tenant,
          'custody:operation': want.operation,
        },
        boundary: 'arn:aws:iam::123456789012:policy/custody/custody-boundary-v2',
      })
    })

    it('keeps names of 64 characters at most', async () => {
      const { external } = await provider.ensurePrincipal(
        wantPrincipal(clock, 'x'.repeat(200)),
        callWith(),
      )

      expect(userOf(external)).toHaveLength(64)
    })

    it('is found by its tags when the answer of its creation was lost', async () => {
      const want = wantPrincipal(clock)
      sandbox.faults.arm('CreateUser', { kind: 'lostResponse' })

      const lost = await providerErrorFrom(provider.ensurePrincipal(want, callWith()))
      const again = await provider.ensurePrincipal(want, callWith())

      expect([lost.kind, lost.outcome]).toEqual(['unavailable', 'unknown'])
      expect(again.created).toBe(true)
      expect(sandbox.world.users()).toHaveLength(1)
    })

    it('gets its boundary back when someone took it off', async () => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      await admin.deleteUserPermissionsBoundary({ UserName: userOf(external) })

      await provider.ensurePrincipal(want, callWith())

      expect(seen(userOf(external)).boundary).toContain('custody-boundary-v2')
    })

    it('is never taken from someone else', async () => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      const user = userOf(external)
      await admin.untagUser({ UserName: user, TagKeys: ['custody:id'] })

      const error = await providerErrorFrom(provider.ensurePrincipal(want, callWith()))

      expect([error.kind, error.outcome]).toEqual(['conflict', 'notApplied'])
      expect(error.message).toContain('was not made by Custody')
    })

    it('is taken as it is when the operator lists it under adopt', async () => {
      await admin.createUser({ UserName: 'legacy' })
      await admin.attachUserPolicy({ UserName: 'legacy', PolicyArn: managed })
      const adopting = awsIam.create(hostWith(clock), configOf(sandbox, { adopt: ['legacy'] }))
      const want = wantPrincipal(clock, 'legacy')

      const ensured = await adopting.ensurePrincipal(want, callWith())
      const credential = wantCredential(want, 'access-key', clock)
      await adopting.issue(ensured.external, credential, callWith())
      await adopting.close()

      expect(ensured.created).toBe(false)
      expect(seen('legacy')).toMatchObject({
        tags: { 'custody:adopted': `default/${want.account}` },
        boundary: null,
        attachedPolicies: [managed],
      })
    })

    it('is adopted for one account only', async () => {
      await admin.createUser({ UserName: 'legacy' })
      const adopting = awsIam.create(hostWith(clock), configOf(sandbox, { adopt: ['legacy'] }))
      const first = wantPrincipal(clock, 'legacy')
      await adopting.ensurePrincipal(first, callWith())
      await adopting.ensurePrincipal(first, callWith())

      const second = adopting.ensurePrincipal(wantPrincipal(clock, 'legacy'), callWith())
      const error = await providerErrorFrom(second)
      await adopting.close()

      expect(error.kind).toBe('conflict')
      expect(error.message).toContain(`is adopted for default/${first.account}`)
    })

    it('is never deleted, whatever is asked for', async () => {
      await admin.createUser({ UserName: 'legacy' })
      const adopting = awsIam.create(hostWith(clock), configOf(sandbox, { adopt: ['legacy'] }))
      const { external } = await adopting.ensurePrincipal(
        wantPrincipal(clock, 'legacy'),
        callWith(),
      )

      const error = await providerErrorFrom(adopting.deletePrincipal(external, callWith()))
      await adopting.close()

      expect([error.kind, error.outcome]).toEqual(['conflict', 'notApplied'])
      expect(seen('legacy')).toBeDefined()
    })

    it('must exist to be adopted', async () => {
      const adopting = awsIam.create(hostWith(clock), configOf(sandbox, { adopt: ['legacy'] }))

      const ensured = adopting.ensurePrincipal(wantPrincipal(clock, 'legacy'), callWith())
      const error = await providerErrorFrom(ensured)
      await adopting.close()

      expect(error.kind).toBe('notFound')
      expect(sandbox.world.users()).toEqual([])
    })

    it('cannot re-arm itself, whatever its policies allow', async () => {
      const { key, userName } = await issued([`policy:${managed}`])
      await admin.attachUserPolicy({
        UserName: userName,
        PolicyArn: 'arn:aws:iam::aws:policy/AdministratorAccess',
      })
      const self = `arn:aws:iam::123456789012:user/custody/${userName}`
      const may = (action: string, on = self) => sandbox.world.wouldAllow(key.keyId, action, on)

      const attempts = [
        may('iam:CreateAccessKey'),
        may('iam:UpdateAccessKey'),
        may('iam:DeleteUserPolicy'),
        may('iam:DeleteUserPermissionsBoundary'),
        may('sts:GetSessionToken', '*'),
      ]

      expect(attempts).toEqual([false, false, false, false, false])
      expect(may('s3:GetObject', 'arn:aws:s3:::bucket/a')).toBe(true)
    })

    it('uses the boundary of the configuration when there is one', async () => {
      const own = awsIam.create(hostWith(clock), configOf(sandbox, { boundaryArn: managed }))

      const { external } = await own.ensurePrincipal(wantPrincipal(clock), callWith())
      await own.close()

      expect(seen(userOf(external)).boundary).toBe(managed)
    })
  })

  describe('identity by UserId', () => {
    it('follows a renamed user', async () => {
      const { external, key, userName } = await issued()
      await admin.updateUser({ UserName: userName, NewUserName: 'renamed' })

      await provider.disable(external, key.keyId, callWith())
      const listing = await provider.list(external, callWith())

      expect(listing.items.map((k) => [k.keyId, k.active])).toEqual([[key.keyId, false]])
    })

    it('takes all of a denial back, also the one that stood in for a policy that did not fit', async () => {
      const { external, key, userName: UserName } = await issued(['s3:GetObject'])
      const filler = { Sid: 'x'.repeat(1_840), Effect: 'Allow', Action: 'a:B', Resource: '*' }
      await admin.putUserPolicy({
        UserName,
        PolicyName: 'filler',
        PolicyDocument: JSON.stringify({ Version: '2012-10-17', Statement: [filler] }),
      })
      const may = () =>
        sandbox.world.wouldAllow(key.keyId, 's3:GetObject', 'arn:aws:s3:::artifacts/x')
      expect(may()).toBe(true)
      await provider.shutOff(external, callWith())
      expect(may()).toBe(false)
      expect(seen(UserName).attachedPolicies).toHaveLength(1)
      await provider.turnOn(external, callWith())
      expect(may()).toBe(true)
    })

    it('leaves a stranger of the same name alone', async () => {
      const { external, key, userName } = await issued()
      await admin.deleteAccessKey({ UserName: userName, AccessKeyId: key.keyId })
      await provider.deletePrincipal(external, callWith())
      await admin.createUser({ UserName: userName })
      const theirs = await admin.createAccessKey({ UserName: userName })

      const listing = await provider.list(external, callWith())
      await provider.shutOff(external, callWith())
      await provider.deletePrincipal(external, callWith())

      expect(listing.items).toEqual([])
      expect(seen(userName).inlinePolicies).toEqual({})
      expect(sandbox.world.wouldAccept(theirs.AccessKey!.AccessKeyId!)).toBe(true)
    })

    it('mints nothing on a stranger of the same name', async () => {
      const { external, credential, userName } = await issued()
      await provider.deletePrincipal(external, callWith())
      await admin.createUser({ UserName: userName })

      const error = await providerErrorFrom(provider.issue(external, credential, callWith()))

      expect(error.kind).toBe('notFound')
      expect(sandbox.world.keysOf(userName)).toEqual([])
    })
  })

  describe('issuing', () => {
    it('gives the key as JSON and its fingerprint as the hash of exactly those bytes', async () => {
      const { key } = await issued()

      const parts = key.secret!.use((bytes) => JSON.parse(bytes.toString()) as object)

      expect(Object.keys(parts)).toEqual(['accessKeyId', 'secretAccessKey'])
      expect(key.fingerprint).toBe(key.secret!.fingerprint())
      expect(key.expiresAt).toBeNull()
    })

    it('grants the scopes as one inline policy and the managed ones asked for', async () => {
      const { userName } = await issued([
        `policy:${managed}`,
        's3:GetObject on arn:aws:s3:::b/*',
        's3:PutObject on arn:aws:s3:::b/*',
        'sqs:SendMessage',
      ])

      const user = seen(userName)
      const document = JSON.parse(user.inlinePolicies['custody-scopes']!) as object

      expect(user.attachedPolicies).toEqual([managed])
      expect(document).toMatchObject({
        Statement: [
          { Action: ['s3:GetObject', 's3:PutObject'], Resource: 'arn:aws:s3:::b/*' },
          { Action: ['sqs:SendMessage'], Resource: '*' },
        ],
      })
    })

    it('takes scopes away that the next generation no longer has', async () => {
      const { external, credential, userName } = await issued([`policy:${managed}`, 's3:GetObject'])

      await provider.issue(external, { ...credential, scopes: [], generation: 2 }, callWith())

      expect(seen(userName)).toMatchObject({ inlinePolicies: {}, attachedPolicies: [] })
      expect(seen(userName).tags['custody:generation']).toBe('2')
    })

    it.each([
      ['lostResponse', { kind: 'lostResponse' }, 1],
      ['reset', { kind: 'reset' }, 0],
      ['5xx after the effect', { kind: 'serverError', effect: true }, 1],
      ['5xx before the effect', { kind: 'serverError', effect: false }, 0],
      ['an answer that is none of theirs', { kind: 'garbage' }, 1],
    ] as const)('calls %s unknown and never sends twice', async (_what, fault, keys) => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      sandbox.faults.arm('CreateAccessKey', fault)

      const error = await providerErrorFrom(
        provider.issue(external, wantCredential(want, 'access-key', clock), callWith()),
      )

      expect([error.kind, error.outcome]).toEqual(['unavailable', 'unknown'])
      expect(sandbox.world.keysOf(userOf(external))).toHaveLength(keys)
    })

    it('takes no proxy’s page for an empty listing, nor for a switch that worked', async () => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      const { keyId } = await provider.issue(
        external,
        wantCredential(want, 'access-key', clock),
        callWith(),
      )
      sandbox.faults.arm('ListAccessKeys', { kind: 'garbage' })
      sandbox.faults.arm('UpdateAccessKey', { kind: 'garbage' })

      const listing = await providerErrorFrom(provider.list(external, callWith()))
      const disabling = await providerErrorFrom(provider.disable(external, keyId, callWith()))

      expect([listing.kind, listing.outcome]).toEqual(['unavailable', 'unknown'])
      expect([disabling.kind, disabling.outcome]).toEqual(['unavailable', 'unknown'])
    })

    it('hands on how long a throttled caller should wait', async () => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      sandbox.faults.arm('CreateAccessKey', { kind: 'throttle', retryAfterSeconds: 7 })

      const error = await providerErrorFrom(
        provider.issue(external, wantCredential(want, 'access-key', clock), callWith()),
      )

      expect([error.kind, error.retryAfter]).toEqual(['throttled', 7])
    })

    it('calls an abort while the answer is out unknown', async () => {
      const want = wantPrincipal(clock)
      const { external } = await provider.ensurePrincipal(want, callWith())
      sandbox.faults.arm('CreateAccessKey', { kind: 'hold' })
      const stop = new AbortController()

      const credential = wantCredential(want, 'access-key', clock)
      const pending = provider.issue(external, credential, callWith({ signal: stop.signal }))
      const failed = providerErrorFrom(pending)
      await sandbox.faults.whenHolding()
      stop.abort()

      expect((await failed).outcome).toBe('unknown')
      expect(sandbox.world.keysOf(userOf(external))).toHaveLength(1)
    })

    it('says that nothing happened when the provider cannot be reached', async () => {
      const nowhere = { ...configOf(sandbox), endpoint: 'http://127.0.0.1:9' }
      const unreachable = awsIam.create(hostWith(clock), nowhere)

      const ensured = unreachable.ensurePrincipal(wantPrincipal(clock), callWith())
      const error = await providerErrorFrom(ensured)
      await unreachable.close()

      expect([error.kind, error.outcome]).toEqual(['unavailable', 'notApplied'])
      expect(error.message).toBe('AWS GetUser: ECONNREFUSED')
    })

    it('says which right its own credentials lack', async () => {
      const { key } = await issued()
      const credentials = key.secret!.use(
        (bytes) => JSON.parse(bytes.toString()) as Record<string, string>,
      )
      const powerless = awsIam.create(hostWith(clock), configOf(sandbox, { credentials }))

      const ensured = powerless.ensurePrincipal(wantPrincipal(clock), callWith())
      const error = await providerErrorFrom(ensured)
      await powerless.close()

      expect([error.kind, error.outcome]).toEqual(['denied', 'notApplied'])
      expect(error.message).toContain('not authorized to perform: iam:GetUser')
    })

    it('shows no part of the secret in an error, however deeply it is printed', async () => {
      const { external, credential, key } = await issued()
      await provider.issue(external, { ...credential, generation: 2 }, callWith())

      const error = await providerErrorFrom(
        provider.issue(external, { ...credential, generation: 3 }, callWith()),
      )
      const shown = inspect({ error, provider }, { depth: 20, showHidden: true })

      const { secretAccessKey } = key.secret!.use(
        (bytes) => JSON.parse(bytes.toString()) as { secretAccessKey: string },
      )
      expect(error.message).toMatch(/^AWS CreateAccessKey: LimitExceededException \(HTTP 409/)
      expect(shown).not.toContain(secretAccessKey)
    })
  })

  describe('scopes', () => {
    it.each([
      ['*', /a scope is/i],
      ['s3:*', /grants everything in s3/],
      ['iam:*', /grants everything in iam/],
      ['iam:CreateAccessKey', /could widen its own rights/],
      ['iam:Get*', /only exact Get and List/],
      ['organizations:LeaveOrganization', /could widen/],
      ['sts:AssumeRole', /needs the role it is for/],
      ['policy:arn:aws:iam::aws:policy/AdministratorAccess', /allowedPolicies/],
      ['S3:GetObject', /a scope is/i],
      ['s3:GetObject on a b', /a scope is/i],
    ])('refuses %s', (scope, reason) => {
      const refused = provider.checkScopes('access-key', ['s3:GetObject', scope])

      expect(refused).toEqual({ scope, reason: expect.stringMatching(reason) as string })
    })

    it.each([
      's3:GetObject',
      's3:Get*',
      'iam:ListUsers',
      'sts:AssumeRole on arn:aws:iam::123456789012:role/deploy',
      `policy:${managed}`,
    ])('grants %s', (scope) => {
      expect(provider.checkScopes('access-key', [scope])).toBeNull()
    })

    it('refuses more than IAM leaves room for', () => {
      const scopes = Array.from({ length: 40 }, (_, i) => `s3:GetObject on arn:aws:s3:::b${i}/*`)

      expect(provider.checkScopes('access-key', scopes)?.reason).toContain('managed policy')
    })

    it('refuses kinds it does not issue', () => {
      expect(provider.checkScopes('deploy-key', [])?.reason).toContain('deploy-key')
    })
  })

  describe('revoking', () => {
    it('leaves a dead key behind when the deletion fails', async () => {
      const { external, key, userName } = await issued()
      sandbox.faults.arm('DeleteAccessKey', { kind: 'reset' })

      await providerErrorFrom(provider.revoke(external, key.keyId, callWith()))

      expect(sandbox.world.wouldAccept(key.keyId)).toBe(false)
      expect(sandbox.world.keysOf(userName)).toHaveLength(1)
    })

    it('leaves dead keys behind when deleting the user fails', async () => {
      const { external, key } = await issued()
      sandbox.faults.arm('DeleteAccessKey', { kind: 'reset' })

      await providerErrorFrom(provider.deletePrincipal(external, callWith()))

      expect(sandbox.world.wouldAccept(key.keyId)).toBe(false)
    })

    it('cannot bring back a key that is gone', async () => {
      const { external, key } = await issued()
      await provider.revoke(external, key.keyId, callWith())

      const error = await providerErrorFrom(provider.enable(external, key.keyId, callWith()))

      expect([error.kind, error.outcome]).toEqual(['notFound', 'notApplied'])
    })

    it('does not take a missing right for an absent key', async () => {
      const { external, key } = await issued()
      const reads = JSON.stringify({
        Version: '2012-10-17',
        Statement: { Effect: 'Allow', Action: 'iam:GetUser', Resource: '*' },
      })
      await admin.createUser({ UserName: 'reader' })
      await admin.putUserPolicy({ UserName: 'reader', PolicyName: 'p', PolicyDocument: reads })
      const made = await admin.createAccessKey({ UserName: 'reader' })
      const credentials = {
        accessKeyId: made.AccessKey!.AccessKeyId,
        secretAccessKey: made.AccessKey!.SecretAccessKey,
      }
      const powerless = awsIam.create(hostWith(clock), configOf(sandbox, { credentials }))

      const error = await providerErrorFrom(powerless.disable(external, key.keyId, callWith()))
      await powerless.close()

      expect(error.kind).toBe('denied')
      expect(sandbox.world.wouldAccept(key.keyId)).toBe(true)
    })

    it("never touches a key of another user, even under our user's name", async () => {
      const ours = await issued()
      await admin.createUser({ UserName: 'stranger' })
      const theirs = await admin.createAccessKey({ UserName: 'stranger' })
      const keyId = theirs.AccessKey!.AccessKeyId!

      await provider.disable(ours.external, keyId, callWith())
      await provider.revoke(ours.external, keyId, callWith())

      expect(sandbox.world.wouldAccept(keyId)).toBe(true)
    })
  })

  describe('proving dead', () => {
    it('still accepts the key of a user that is shut off: only the key itself is tried', async () => {
      const { external, key } = await issued()

      await provider.shutOff(external, callWith())

      expect(await provider.probe(key.secret!, 'access-key', callWith())).toBe('accepted')
      expect(sandbox.world.wouldAllow(key.keyId, 's3:GetObject')).toBe(false)
    })

    it('does not call a wrong secret a dead key', async () => {
      const { key } = await issued()
      const wrong = Secret.ofText(
        JSON.stringify({ accessKeyId: key.keyId, secretAccessKey: 'x'.repeat(40) }),
      )

      const error = await providerErrorFrom(provider.probe(wrong, 'access-key', callWith()))

      expect([error.kind, error.outcome]).toEqual(['invalid', 'notApplied'])
    })

    it.each(['not json', '{}', '[1]'])('refuses to try %s', async (text) => {
      const probe = provider.probe(Secret.ofText(text), 'access-key', callWith())

      expect((await providerErrorFrom(probe)).kind).toBe('invalid')
    })

    it('gives no verdict when the provider does not answer', async () => {
      const { key } = await issued()
      sandbox.faults.arm('GetCallerIdentity', { kind: 'serverError', effect: false })

      const error = await providerErrorFrom(provider.probe(key.secret!, 'access-key', callWith()))

      expect(error.kind).toBe('unavailable')
    })
  })

  describe('listing', () => {
    it('reads every page', async () => {
      const { external, credential } = await issued()
      await provider.issue(external, { ...credential, generation: 2 }, callWith())
      sandbox.world.pageSizeMax = 1

      const listing = await provider.list(external, callWith())

      expect(listing).toMatchObject({ complete: true })
      expect(listing.items).toHaveLength(2)
    })

    it('says that it is incomplete when a later page fails', async () => {
      const { external, credential } = await issued()
      await provider.issue(external, { ...credential, generation: 2 }, callWith())
      sandbox.world.pageSizeMax = 1
      // The first page is let through by a fault that changes nothing.
      sandbox.faults.arm('ListAccessKeys', { kind: 'delay', milliseconds: 0 })
      sandbox.faults.arm('ListAccessKeys', { kind: 'throttle', retryAfterSeconds: 1 })

      const listing = await provider.list(external, callWith())

      expect(listing.complete).toBe(false)
      expect(listing.items).toHaveLength(1)
    })

    it('fails when the first page does', async () => {
      const { external } = await issued()
      sandbox.faults.arm('ListAccessKeys', { kind: 'throttle', retryAfterSeconds: 1 })

      const error = await providerErrorFrom(provider.list(external, callWith()))

      expect(error.kind).toBe('throttled')
    })

    it("reports a consumer's use and not that of a probe", async () => {
      const { external, key } = await issued(['iam:ListUsers'])
      const lastUsed = async () => (await provider.list(external, callWith())).items[0]!.lastUsedAt
      const credentials = key.secret!.use(
        (bytes) => JSON.parse(bytes.toString()) as { accessKeyId: string; secretAccessKey: string },
      )
      const consumer = new iam.IAM({ region: 'us-east-1', endpoint: sandbox.url, credentials })

      await provider.probe(key.secret!, 'access-key', callWith())
      const probed = await lastUsed()
      await consumer.listUsers({})
      const used = await lastUsed()

      expect([probed, used]).toEqual([null, clock.now()])
    })

    it('does not fail for want of the right to read last use', async () => {
      const { external, key } = await issued()
      sandbox.faults.arm('GetAccessKeyLastUsed', { kind: 'throttle', retryAfterSeconds: 1 })

      const listing = await provider.list(external, callWith())

      expect(listing.items).toMatchObject([{ keyId: key.keyId, lastUsedAt: null }])
    })
  })

  describe('deleting the user', () => {
    async function laden() {
      const made = await issued([`policy:${managed}`, 's3:GetObject'])
      const UserName = made.userName
      await provider.shutOff(made.external, callWith())
      await admin.createLoginProfile({ UserName, Password: 'x' })
      await admin.createGroup({ GroupName: 'g' })
      await admin.addUserToGroup({ UserName, GroupName: 'g' })
      const mfa = await admin.createVirtualMFADevice({ VirtualMFADeviceName: 'm' })
      await admin.enableMFADevice({
        UserName,
        SerialNumber: mfa.VirtualMFADevice!.SerialNumber,
        AuthenticationCode1: '123456',
        AuthenticationCode2: '654321',
      })
      await admin.uploadSigningCertificate({ UserName, CertificateBody: 'c' })
      await admin.uploadSSHPublicKey({ UserName, SSHPublicKeyBody: 'k' })
      const ServiceName = 'codecommit.amazonaws.com'
      await admin.createServiceSpecificCredential({ UserName, ServiceName })
      await admin.createServiceSpecificCredential({ UserName, ServiceName })
      return made
    }

    it('removes all nine kinds of things that block it', async () => {
      const { external, key } = await laden()
      sandbox.world.pageSizeMax = 1

      await provider.deletePrincipal(external, callWith())

      expect(sandbox.world.users()).toEqual([])
      expect(sandbox.world.wouldAccept(key.keyId)).toBe(false)
    })

    it('needs no more rights than the README lists', async () => {
      const { external } = await laden()
      const credentials = await leastPrivileged(sandbox)
      const modest = awsIam.create(hostWith(clock), configOf(sandbox, { credentials }))

      await modest.deletePrincipal(external, callWith())
      await modest.close()

      expect(sandbox.world.users().map((user) => user.userName)).toEqual(['custody'])
    })

    it('goes on where it was interrupted', async () => {
      const { external } = await laden()
      const steps = [
        'DeleteAccessKey',
        'DeleteLoginProfile',
        'DeleteVirtualMFADevice',
        'DeleteServiceSpecificCredential',
        'DetachUserPolicy',
        'DeleteUserPolicy',
        'DeleteUser',
      ]
      for (const step of steps) sandbox.faults.arm(step, { kind: 'lostResponse' })

      const failures: string[] = []
      for (const _ of steps) {
        const error = await providerErrorFrom(provider.deletePrincipal(external, callWith()))
        failures.push(/^AWS (\w+)/.exec(error.message)![1]!)
      }
      await provider.deletePrincipal(external, callWith())

      expect(failures).toEqual(steps)
      expect(sandbox.world.users()).toEqual([])
    })
  })

  describe('configuration', () => {
    const validate = (config: object): boolean =>
      checkShape({ ...config }, awsIam.configSchema, null).length === 0

    it.each([
      { region: 'us-east-1' },
      {
        region: 'us-gov-west-1',
        path: '/custody/',
        endpoint: 'http://127.0.0.1:4566',
        settle: 'PT15S',
        probe: { count: 5, every: 'PT2S' },
        boundaryArn: 'arn:aws:iam::123456789012:policy/edge',
        credentials: { accessKeyId: 'AKIAAAAAAAAAAAAAAAAA', secretAccessKeyFile: 'aws.key' },
      },
    ])('admits %j', (config) => {
      expect(validate(config)).toBe(true)
    })

    it.each([
      {},
      { region: 'us-east-1', regoin: 'x' },
      { region: 'us-east-1', settle: '15s' },
      { region: 'us-east-1', settle: 'P1M' },
      { region: 'us-east-1', path: 'custody' },
      { region: 'us-east-1', credentials: { accessKeyId: 'AKIAAAAAAAAAAAAAAAAA' } },
    ])('refuses %j', (config) => {
      expect(validate(config)).toBe(false)
    })

    it('waits 15 s and probes five times unless told otherwise', () => {
      const plain = awsIam.create(hostWith(clock), { region: 'us-east-1' })

      expect(plain.capabilities['access-key']).toMatchObject({
        settleMin: 0,
        settleMax: 15,
        probe: { count: 5, every: 2 },
      })
    })

    it('reads the secret access key from a file', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'custody-'))
      const { accessKeyId, secretAccessKey } = sandbox.world.admin
      writeFileSync(join(directory, 'aws.key'), `${secretAccessKey}\n`, { mode: 0o600 })
      const credentials = { accessKeyId, secretAccessKeyFile: 'aws.key' }
      const filed = awsIam.create(hostWith(clock, directory), configOf(sandbox, { credentials }))

      const ensured = await filed.ensurePrincipal(wantPrincipal(clock), callWith())
      await filed.close()
      rmSync(directory, { recursive: true })

      expect(ensured.created).toBe(true)
    })

    it('names the file it cannot read', () => {
      const credentials = { accessKeyId: 'AKIAAAAAAAAAAAAAAAAA', secretAccessKeyFile: 'none.key' }

      expect(() => awsIam.create(hostWith(clock), configOf(sandbox, { credentials }))).toThrow(
        'cannot read secretAccessKeyFile /none.key',
      )
    })
  })
})
