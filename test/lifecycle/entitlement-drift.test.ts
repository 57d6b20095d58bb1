import { IAM } from '@aws-sdk/client-iam'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { Finding } from '../../src/domain/finding.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { TestEngine } from '../support/engine.ts'
import { days, hours, startTestEngine, wants } from '../support/engine.ts'

const administrator = 'arn:aws:iam::aws:policy/AdministratorAccess'

describe('rights that nobody granted', () => {
  let test: TestEngine
  let credential: Credential
  let UserName: string

  beforeEach(async () => {
    test = await startTestEngine()
    const account = await test.request(await test.person(), { credentials: [wants.accessKey()] })
    credential = (await test.credentials(account.id))[0]!
    UserName = test.awsUser(account.id)!
  })
  afterEach(() => test.close())

  const sweep = async (after = hours(1)): Promise<void> => {
    test.clock.advance(after)
    await test.engine.runSweep(test.admin, 'reconcile')
    await test.pass(30, 10)
  }
  const drifts = async (): Promise<readonly Finding[]> => {
    const { tenant } = test.admin
    const kind = 'entitlement-drift'
    return test.store.read.findings({ tenant, kind, after: null, limit: 50 })
  }
  const told = async () =>
    (await drifts())
      .map(({ status, facts }) =>
        [status, facts['what'] as string, facts['reach'] as string].join(' '),
      )
      .sort()
  const byHand = (operation: string, input: Record<string, unknown>) => {
    const { accessKeyId } = test.aws.world.admin
    const call = { service: 'iam', operation, input, accessKeyId, region: 'us-east-1' } as const
    return test.aws.world.call(call) as Record<string, Record<string, string>>
  }
  const user = () => test.aws.world.users().find((one) => one.userName === UserName)!
  /** Signed with the delivered key, over HTTP. */
  const asConsumer = async (): Promise<'allowed' | 'refused'> => {
    const credentials = JSON.parse((await test.served(credential))!)
    const iam = new IAM({
      region: 'eu-central-1',
      endpoint: test.aws.url,
      credentials,
      maxAttempts: 1,
    })
    try {
      await iam.listUsers({})
      return 'allowed'
    } catch (error) {
      expect(error).toMatchObject({ name: 'AccessDenied' })
      return 'refused'
    } finally {
      iam.destroy()
    }
  }
  const revert = async ({ id }: Finding) => {
    const { operation } = await test.engine.revertFinding(test.admin, id, 'nobody asked for it')
    await test.pass(60, 5)
    return test.operation(operation.id)
  }

  it('are found by the next reconcile, put back, and refused by a real call of the same key', async () => {
    expect(await asConsumer()).toBe('refused')
    byHand('AttachUserPolicy', { UserName, PolicyArn: administrator })
    expect(await asConsumer()).toBe('allowed')

    await sweep()
    const [finding] = await drifts()
    expect(finding).toMatchObject({
      status: 'open',
      account: credential.account,
      facts: {
        what: 'attachedPolicy',
        name: administrator,
        granted: null,
        actual: administrator,
        reach: 'more',
      },
    })
    // Nothing was done about it by itself.
    expect(await asConsumer()).toBe('allowed')
    const operation = await revert(finding!)

    expect(operation.status).toBe('succeeded')
    expect(await asConsumer()).toBe('refused')
    expect(await told()).toEqual(['resolved attachedPolicy more'])
    const keys = test.aws.world.keysOf(UserName).map((key) => key.accessKeyId)
    expect(keys).toEqual([credential.keyId])
    await sweep()
    expect(await told()).toEqual(['resolved attachedPolicy more'])
  })

  it('of every sort are told one by one, and each is put back alone', async () => {
    const { boundary } = user()
    byHand('DeleteUserPermissionsBoundary', { UserName })
    byHand('CreateLoginProfile', { UserName, Password: 'by hand' })
    byHand('CreateGroup', { GroupName: 'admins' })
    byHand('AddUserToGroup', { UserName, GroupName: 'admins' })
    byHand('UploadSSHPublicKey', { UserName, SSHPublicKeyBody: 'ssh-rsa x' })
    byHand('DeleteUserPolicy', { UserName, PolicyName: 'custody-scopes' })
    byHand('TagUser', { UserName, Tags: [{ Key: 'custody:tenant', Value: 'another' }] })
    byHand('PutUserPolicy', {
      UserName,
      PolicyName: 'extra',
      PolicyDocument:
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
    })

    await sweep()

    expect(await told()).toEqual([
      'open boundary more',
      'open group more',
      'open inlinePolicy less',
      'open inlinePolicy more',
      'open loginProfile more',
      'open mark other',
      'open sshKey more',
    ])
    for (const finding of await drifts()) expect((await revert(finding)).status).toBe('succeeded')
    expect(user()).toMatchObject({ boundary, attachedPolicies: [] })
    expect(Object.keys(user().inlinePolicies)).toEqual(['custody-scopes'])
    expect(user().tags['custody:tenant']).toBe(test.admin.tenant)
    expect(() => byHand('GetLoginProfile', { UserName })).toThrow(/cannot be found/)
    expect(new Set(await told()).values().next().value).toMatch(/^resolved/)
    expect((await drifts()).every(({ status }) => status === 'resolved')).toBe(true)
  })

  it('end by themselves when somebody takes them away, and are believed only by a look at the user', async () => {
    byHand('AttachUserPolicy', { UserName, PolicyArn: administrator })
    await sweep()
    test.aws.faults.arm('GetAccountAuthorizationDetails', { kind: 'reset' }, 99)
    byHand('DetachUserPolicy', { UserName, PolicyArn: administrator })
    test.aws.faults.arm('ListAttachedUserPolicies', { kind: 'reset' }, 99)

    await sweep()
    await test.pass(300, 10)
    expect(await told()).toEqual(['open attachedPolicy more'])
    test.aws.faults.release()
    await sweep()
    await sweep()

    expect(await told()).toEqual(['resolved attachedPolicy more'])
  })

  it('can be let be until a date, after which they are open again, and be taken back earlier', async () => {
    byHand('AttachUserPolicy', { UserName, PolicyArn: administrator })
    await sweep()
    const [{ id }] = (await drifts()) as [Finding]
    const until = addSeconds(test.clock.now(), days(1))
    const want = { finding: id, reason: 'until the migration is over', until }
    const listed = async () =>
      (await test.engine.exceptions(test.caller('auditor'), { after: null, limit: 9 })).items

    await test.engine.makeException(test.caller('security', { name: 'Sec' }), want)
    expect(await listed()).toMatchObject([
      { owner: expect.any(String), finding: { id, acceptance: { by: 'Sec', until } } },
    ])
    await sweep()
    expect(await told()).toEqual(['accepted attachedPolicy more'])
    await sweep(days(1))
    expect(await told()).toEqual(['open attachedPolicy more'])
    expect(await listed()).toEqual([])

    await test.engine.makeException(test.admin, {
      ...want,
      until: addSeconds(test.clock.now(), days(1)),
    })
    await test.engine.endException(test.admin, id)
    expect(await told()).toEqual(['open attachedPolicy more'])
  })

  it('become what is granted where scopes can say them, and are refused where they cannot', async () => {
    byHand('AttachUserPolicy', { UserName, PolicyArn: administrator })
    byHand('PutUserPolicy', {
      UserName,
      PolicyName: 'custody-scopes',
      PolicyDocument:
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["sqs:SendMessage"],"Resource":"*"}]}',
    })
    await sweep()
    const all = await drifts()
    const [policy] = all.filter(({ facts }) => facts['what'] === 'attachedPolicy')
    const [scopes] = all.filter(({ facts }) => facts['what'] === 'inlinePolicy')

    await expect(test.engine.adoptDrift(test.admin, policy!.id, 'x')).rejects.toMatchObject({
      code: 'wrongState',
      message: expect.stringMatching(/No scope of aws-prod says attachedPolicy/),
    })
    await expect(
      test.engine.adoptDrift(test.caller('owner'), scopes!.id, 'x'),
    ).rejects.toMatchObject({ code: 'notFound' })
    await test.engine.adoptDrift(test.admin, scopes!.id, 'the queue is theirs by now')

    expect((await test.credential(credential.id)).scopes).toEqual(['sqs:SendMessage'])
    await sweep()
    expect(await told()).toEqual(['open attachedPolicy more', 'resolved inlinePolicy more'])
  })

  it('are put back though answers get lost and listings fail', async () => {
    byHand('AttachUserPolicy', { UserName, PolicyArn: administrator })
    await sweep()
    const [finding] = await drifts()
    test.aws.faults.arm('DetachUserPolicy', { kind: 'lostResponse' })
    test.aws.faults.arm('ListAttachedUserPolicies', { kind: 'serverError', effect: false })

    const operation = await revert(finding!)
    await test.pass(300, 10)

    expect((await test.operation(operation.id)).status).toBe('succeeded')
    expect(user().attachedPolicies).toEqual([])
  })
})
