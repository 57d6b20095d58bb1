import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { unique } from '../support/entities.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, startTestEngine, wants } from '../support/engine.ts'

const issuer = 'token.actions.githubusercontent.com'
const sub = 'repo:acme/shop:environment:production'
const aud = 'sts.amazonaws.com'

describe('a role that a workflow opens with its own identity', () => {
  let test: TestEngine
  beforeAll(async () => {
    test = await startTestEngine({
      federation: { createProviders: true },
      adopt: ['legacy-ci'],
    })
  })
  afterAll(() => test.close())

  const working = async (userName = unique('workflow')) => {
    const owner = await test.person()
    const scopes = [`issuer:${issuer}`, `subject:${sub}`, `audience:${aud}`]
    const account = await test.request(owner, {
      userName,
      credentials: [
        {
          provider: 'aws-prod',
          kind: 'federated-role',
          scopes: [...scopes, 's3:GetObject on arn:aws:s3:::artifacts/*'],
        },
      ],
    })
    const [credential] = await test.credentials(account.id)
    return { owner, account: account.id, credential: credential! }
  }
  /** The key id of the session the workflow gets, or how it is refused. */
  const enter = (RoleArn: string | null): string => {
    const { world } = test.aws
    const WebIdentityToken = world.issueWebIdentity({ sub, aud })
    try {
      const answer = world.callUnsigned('AssumeRoleWithWebIdentity', {
        RoleArn,
        RoleSessionName: 'run',
        WebIdentityToken,
      }) as { readonly Credentials: { readonly AccessKeyId: string } }
      return answer.Credentials.AccessKeyId
    } catch (error) {
      return (error as { readonly code: string }).code
    }
  }
  const mayRead = (session: string) =>
    test.aws.world.wouldAllow(session, 's3:GetObject', 'arn:aws:s3:::artifacts/a')

  it('is active without anything delivered, and never rotates', async () => {
    const { credential } = await working()
    const reads = mayRead(enter(credential.keyId))
    await test.pass(days(40), days(40))

    expect(credential).toMatchObject({ status: 'active', secretRef: null, rotateAfter: null })
    expect(reads).toBe(true)
    expect((await test.credential(credential.id)).generation).toBe(1)
    expect(enter(credential.keyId)).toMatch(/^ASIA/)
  })

  it('refuses its workflow, and stops what is running, when its owner leaves', async () => {
    const { owner, account, credential } = await working()
    const session = enter(credential.keyId)

    await test.leave(owner)
    await test.pass(10)

    expect((await test.account(account)).status).toBe('disabled')
    expect(enter(credential.keyId)).toBe('AccessDenied')
    expect([session.startsWith('ASIA'), mayRead(session)]).toEqual([true, false])
  })

  it('is gone when it was revoked', async () => {
    const { credential } = await working()

    await test.engine.revokeCredential(test.admin, credential.id)
    await test.pass(10)

    const revoked = await test.credential(credential.id)
    expect(revoked.status).toBe('revoked')
    expect(enter(credential.keyId)).toBe('AccessDenied')
  })
  it('leaves the user that an operator adopted beside it where it is, when its account is deleted', async () => {
    const { world } = test.aws
    const input = { UserName: 'legacy-ci' }
    const { accessKeyId } = world.admin
    world.call({ service: 'iam', operation: 'CreateUser', input, accessKeyId, region: 'us-east-1' })
    const { account } = await working('legacy-ci')
    await test.engine.requestCredential(test.admin, {
      ...wants.accessKey(),
      serviceAccount: account,
      displayName: null,
      readers: [],
      expiresAt: undefined,
      rotateEvery: undefined,
      overlap: undefined,
    } as never)
    await test.pass(10)

    await test.engine.switchAccount(test.admin, account, 'retire', null)
    await test.pass(20)
    test.clock.advance(days(90))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(20)

    expect((await test.account(account)).deleteAt).toBeNull()
    expect((await test.operations(account)).map((o) => o.status)).not.toContain('needsOperator')
    expect(world.users().map((user) => user.userName)).toContain('legacy-ci')
    expect(world.keysOf('legacy-ci')).toEqual([])
  })
})
