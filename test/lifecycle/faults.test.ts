import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Credential } from '../../src/domain/credential.ts'
import type { Operation } from '../../src/domain/operation.ts'
import type { Worker } from '../../src/lifecycle/engine.ts'
import type { Provider } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { AwsError } from '../../src/sandbox/aws.ts'
import type { Fault } from '../../src/sandbox/faults.ts'
import type { TestEngine, TestEngineOptions } from '../support/engine.ts'
import { anotherWorker, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
const start = async (options: TestEngineOptions = {}): Promise<void> => {
  test = await startTestEngine(options)
}
afterEach(() => test.close())

const issuing = async (
  entry = wants.accessKey(),
  more: Parameters<TestEngine['request']>[1] = {},
): Promise<{
  readonly account: string
  readonly credential: string
  readonly operation: () => Promise<Operation>
  readonly now: () => Promise<Credential>
}> => {
  const owner = await test.person()
  const account = await test.request(owner, { credentials: [entry], drain: false, ...more })
  const [credential] = await test.credentials(account.id)
  const { id } = credential!
  return {
    account: account.id,
    credential: id,
    operation: async () => (await test.operations(id))[0]!,
    now: () => test.credential(id),
  }
}

type Issue = Provider['issue']

/** A worker for whom one provider issues in another way. */
function withIssue(
  name: string,
  act: (issue: Issue, ...args: Parameters<Issue>) => ReturnType<Issue>,
): Worker {
  return anotherWorker(test, (life) => {
    const provider = life.providers.get(name)!
    const other = new Proxy(provider, {
      get(object, property) {
        const value: unknown = Reflect.get(object, property, object)
        if (property === 'issue') return (...args: Parameters<Issue>) => act(issue, ...args)
        return typeof value === 'function' ? (value.bind(object) as unknown) : value
      },
    })
    const issue: Issue = (...args) => provider.issue(...args)
    return { ...life, providers: new Map(life.providers).set(name, other) }
  })
}

describe('a faulty AWS while a key is minted', () => {
  beforeEach(() => start())

  const faults: readonly (readonly [string, string, Fault, number])[] = [
    ['CreateAccessKey', 'lost answer', { kind: 'lostResponse' }, 1],
    ['CreateAccessKey', 'lost answer', { kind: 'lostResponse' }, 3],
    ['CreateAccessKey', 'cut connection', { kind: 'reset' }, 1],
    ['CreateAccessKey', 'throttling', { kind: 'throttle', retryAfterSeconds: 2 }, 2],
    ['CreateAccessKey', '5xx with effect', { kind: 'serverError', effect: true }, 1],
    ['CreateAccessKey', '5xx without effect', { kind: 'serverError', effect: false }, 2],
    ['CreateAccessKey', 'slow answer', { kind: 'delay', milliseconds: 20 }, 1],
    ['CreateUser', 'lost answer', { kind: 'lostResponse' }, 1],
    ['ListAccessKeys', '5xx', { kind: 'serverError', effect: false }, 2],
    ['CreateSecret', 'lost answer', { kind: 'lostResponse' }, 1],
    ['PutSecretValue', 'lost answer', { kind: 'lostResponse' }, 1],
    ['PutSecretValue', 'cut connection', { kind: 'reset' }, 2],
    ['PutSecretValue', '5xx with effect', { kind: 'serverError', effect: true }, 1],
    ['UpdateSecretVersionStage', 'lost answer', { kind: 'lostResponse' }, 1],
    ['GetCallerIdentity', 'throttling', { kind: 'throttle', retryAfterSeconds: 1 }, 2],
  ]

  it.each(faults)(
    '%s: %s (%o, %i times) ends with one key, which works',
    async (name, _w, fault, times) => {
      const minting = await issuing()
      test.aws.faults.arm(name, fault, times)

      await test.pass(60, 1)

      const credential = await minting.now()
      const user = test.awsUser(minting.account)!
      expect(await minting.operation()).toMatchObject({ status: 'succeeded' })
      expect(test.aws.world.keysOf(user).map((k) => k.accessKeyId)).toEqual([credential.keyId])
      expect(await test.works(credential)).toBe(true)
      const keys = await test.keys(minting.credential)
      expect(keys.filter((k) => k.status === 'active')).toHaveLength(1)
      expect(keys.filter((k) => k.status === 'issuing')).toEqual([])
    },
  )

  it('waits out the listing lag before it believes that nothing was made', async () => {
    await test.close()
    await start({ settle: 'PT15S' })
    const minting = await issuing()
    await test.pass(0)
    const second = await issuing()
    test.aws.world.lagSeconds = 10
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })

    await test.pass(9, 1)
    const user = test.awsUser(second.account)!
    expect(test.aws.world.keysOf(user)).toHaveLength(1)
    expect((await second.now()).status).toBe('issuing')

    await test.pass(60, 1)
    expect(test.aws.world.keysOf(user).map((k) => k.accessKeyId)).toEqual([
      (await second.now()).keyId,
    ])
    expect(await test.works(await second.now())).toBe(true)
    expect((await minting.now()).status).toBe('active')
  })

  it('counts the listing lag from the end of a call that hung, not from its start', async () => {
    await test.close()
    await start({ settle: 'PT15S' })
    const minting = await issuing()
    test.aws.world.lagSeconds = 10
    let calls = 0
    const worker = withIssue('aws-prod', async (issue, ...args) => {
      if (++calls > 1) return issue(...args)
      // The request waits in a queue on its way; nobody waits for its answer.
      test.clock.advance(19)
      await issue(...args)
      throw new ProviderError('unavailable', 'no answer in 20 s', { outcome: 'unknown' })
    })
    for (let second = 0; second < 60; second++) {
      await worker.drain()
      test.clock.advance(1)
    }

    expect((await minting.operation()).status).toBe('succeeded')
    expect(await test.liveAtProviders(minting.account)).toHaveLength(1)
  })

  it('looks for what a call that hung has made before an issue is given up', async () => {
    await test.close()
    await start({ settle: 'PT15S' })
    const minting = await issuing()
    test.aws.world.lagSeconds = 10
    const worker = withIssue('aws-prod', async (issue, ...args) => {
      test.clock.advance(19)
      await issue(...args)
      throw new ProviderError('unavailable', 'no answer in 20 s', { outcome: 'unknown' })
    })
    await worker.drain()

    await test.engine.cancelOperation(test.admin, (await minting.operation()).id)
    await test.pass(60, 1)

    const given = await minting.operation()
    expect(given.status).toBe('cancelled')
    expect(given.memo['mint'] ?? null).toBeNull()
    expect(await test.liveAtProviders(minting.account)).toEqual([])
  })

  it('looks for what a lost answer has made until the list has caught up, also to revoke it', async () => {
    await test.close()
    await start({ settle: 'PT15S' })
    const minting = await issuing()
    test.aws.world.lagSeconds = 10
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })
    await test.pass(1, 1)

    await test.engine.revokeCredential(test.admin, minting.credential)
    await test.pass(120, 1)

    expect((await minting.operation()).status).toBe('succeeded')
    expect(await test.liveAtProviders(minting.account)).toEqual([])
  })

  it('asks a person when it is not allowed to mint, in a sentence, and goes on after a retry', async () => {
    const minting = await issuing()
    const world = test.aws.world
    const original = world.call.bind(world)
    let allowed = false
    world.call = (call) => {
      if (call.operation === 'CreateAccessKey' && !allowed)
        throw new AwsError('AccessDenied', 'not authorized to perform iam:CreateAccessKey')
      return original(call)
    }

    await test.pass(3)

    const asked = await minting.operation()
    expect(asked).toMatchObject({ status: 'needsOperator', failure: { code: 'denied' } })
    expect(asked.failure!.message).toMatch(/CreateAccessKey.*not authorized/)
    const waiting = await test.account(asked.account!)
    expect(waiting).toMatchObject({ status: 'provisioning', statusReason: 'providerDenied' })
    expect((await minting.now()).lastError).toBe(asked.failure!.message)

    allowed = true
    await test.engine.retryOperation(test.admin, asked.id)
    await test.pass(3)
    expect(await test.works(await minting.now())).toBe(true)
    const up = await test.account(asked.account!)
    expect(up).toMatchObject({ status: 'active', statusReason: null })
  })

  it('gives up asking AWS after eight failures and asks a person instead', async () => {
    const minting = await issuing()
    test.aws.faults.arm('CreateAccessKey', { kind: 'throttle', retryAfterSeconds: 1 }, 100)

    await test.pass(200, 5)

    const asked = await minting.operation()
    expect(asked).toMatchObject({ status: 'needsOperator', failure: { code: 'throttled' } })
    const waiting = await test.account(asked.account!)
    expect(waiting).toMatchObject({ status: 'provisioning', statusReason: 'providerThrottled' })
    expect(test.aws.world.keysOf(test.awsUser(minting.account)!)).toEqual([])

    await test.engine.cancelOperation(test.admin, asked.id)
    expect((await minting.operation()).status).toBe('cancelled')
  })

  it('touches no key it did not make, and asks when one appears on its own user', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await test.credentials(account.id)
    const user = test.awsUser(account.id)!
    const foreign = await mintByHand(user)

    const operation = await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(5)

    expect(await test.operation(operation.id)).toMatchObject({
      status: 'needsOperator',
      failure: { code: 'foreignKey' },
    })
    expect((await test.operation(operation.id)).failure!.message).toContain(foreign)
    expect(test.aws.world.wouldAccept(foreign)).toBe(true)
    expect(await test.works(await test.credential(credential!.id))).toBe(true)
  })

  it('leaves alone what somebody made by hand long after the answer was lost', async () => {
    const minting = await issuing()
    test.aws.faults.arm('CreateAccessKey', { kind: 'serverError', effect: false })
    const world = test.aws.world
    const original = world.call.bind(world)
    let lost = false
    world.call = (call) => {
      if (lost && call.operation === 'ListAccessKeys')
        throw new AwsError('AccessDenied', 'not authorized to perform iam:ListAccessKeys')
      return original(call)
    }
    await test.worker.drain()
    lost = true
    await test.pass(60, 1)
    const asked = await minting.operation()
    expect(asked.status).toBe('needsOperator')
    test.clock.advance(3_600)
    const byHand = await mintByHand(test.awsUser(minting.account)!)

    world.call = original
    await test.engine.cancelOperation(test.admin, asked.id)
    await test.pass(60, 1)

    expect((await minting.operation()).status).toBe('cancelled')
    expect(world.keysOf(test.awsUser(minting.account)!).map((k) => k.accessKeyId)).toEqual([byHand])
  })

  it('asks when two keys appeared while its answer was lost: either may be someone else’s', async () => {
    const minting = await issuing()
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })
    await test.pass(0)
    const user = test.awsUser(minting.account)!
    await mintByHand(user)

    await test.pass(60)

    expect(await minting.operation()).toMatchObject({
      status: 'needsOperator',
      failure: { code: 'foreignKey' },
    })
    expect(test.aws.world.keysOf(user).map((k) => k.status)).toEqual(['Active', 'Active'])
  })

  it('starts over when the sink refuses the secret for good, and leaves no key behind', async () => {
    const minting = await issuing()
    test.aws.faults.arm('PutSecretValue', { kind: 'serverError', effect: false }, 100)

    await test.pass(300, 5)

    expect((await minting.operation()).status).toBe('needsOperator')
    const user = test.awsUser(minting.account)!
    expect(test.aws.world.keysOf(user).length).toBeLessThanOrEqual(1)

    test.aws.faults.release()
    await test.engine.retryOperation(test.admin, (await minting.operation()).id)
    await test.pass(5)
    expect(await test.works(await minting.now())).toBe(true)
    expect(test.aws.world.keysOf(user)).toHaveLength(1)
  })

  it('never overwrites an object in the sink that it did not create', async () => {
    const entry = wants.accessKey()
    const name = `custody/default/${entry.deliverTo!.path}`
    test.aws.world.call({
      service: 'secretsmanager',
      operation: 'CreateSecret',
      input: { Name: name, SecretString: 'somebody else’s', ClientRequestToken: 'x'.repeat(32) },
      accessKeyId: test.aws.world.admin.accessKeyId,
      region: 'us-east-1',
    })
    const minting = await issuing(entry)

    await test.pass(5)

    expect((await minting.operation()).status).toBe('needsOperator')
    expect(test.aws.world.secret(name)!.current).toBe('somebody else’s')
    expect(test.aws.world.keysOf(test.awsUser(minting.account)!)).toEqual([])
  })
})

describe('a user that was there before Custody', () => {
  it('is never guessed about: a lost answer ends with a person, and its keys are left alone', async () => {
    await start({ adopt: ['legacy-ci'] })
    byAdmin('CreateUser', { UserName: 'legacy-ci' })
    const old = await mintByHand('legacy-ci')
    const minting = await issuing(wants.accessKey(), { userName: 'legacy-ci' })
    test.aws.faults.arm('CreateAccessKey', { kind: 'lostResponse' })

    await test.pass(60)

    expect(await minting.operation()).toMatchObject({
      status: 'needsOperator',
      failure: { code: 'foreignKey' },
    })
    expect(test.aws.world.wouldAccept(old)).toBe(true)
    expect(test.aws.world.keysOf('legacy-ci').map((k) => k.status)).toEqual(['Active', 'Active'])
  })

  it('loses only the key that Custody made when its owner leaves', async () => {
    await start({ adopt: ['legacy-ci'] })
    byAdmin('CreateUser', { UserName: 'legacy-ci' })
    const old = await mintByHand('legacy-ci')
    const owner = await test.person()
    const account = await test.request(owner, {
      userName: 'legacy-ci',
      credentials: [wants.accessKey()],
    })
    const [credential] = await test.credentials(account.id)

    await test.engine.revokeCredential(test.admin, credential!.id)
    await test.pass(3)

    expect(test.aws.world.keysOf('legacy-ci').map((k) => k.accessKeyId)).toEqual([old])
    expect(test.aws.world.wouldAccept(old)).toBe(true)
  })
})

it('takes a half-made key away before it lets go of a cancelled issue', async () => {
  await start()
  test.aws.faults.arm(
    'UpdateSecretVersionStage',
    { kind: 'throttle', retryAfterSeconds: 0 },
    100_000,
  )
  const { deliverTo } = wants.accessKey()
  const served = await issuing(wants.deployKey({ deliverTo }))
  await test.pass(600, 60)
  const stuck = await served.operation()
  expect(stuck.status).toBe('needsOperator')
  expect(await test.liveAtProviders(served.account)).toHaveLength(1)

  test.aws.faults.release()
  const asked = await test.engine.cancelOperation(test.admin, stuck.id)
  await test.pass(2)

  expect(asked.status).toBe('queued')
  expect(await served.operation()).toMatchObject({
    status: 'cancelled',
    failure: { code: 'cancelled' },
  })
  expect(await test.liveAtProviders(served.account)).toEqual([])
  expect((await served.now()).status).toBe('failed')
})

describe('a faulty GitHub while a deploy key is registered', () => {
  beforeEach(() => start())
  const post = 'POST /repos/{owner}/{repo}/keys'

  it.each<readonly [string, Fault, number]>([
    ['lost answer', { kind: 'lostResponse' }, 1],
    ['lost answers', { kind: 'lostResponse' }, 3],
    ['cut connection', { kind: 'reset' }, 2],
    ['5xx with effect', { kind: 'serverError', effect: true }, 1],
    ['throttling', { kind: 'throttle', retryAfterSeconds: 3 }, 2],
  ])(
    '%s (%o, %i times) ends with one key, which is the one in the sink',
    async (_n, fault, times) => {
      const minting = await issuing(wants.deployKey())
      test.github.faults.arm(post, fault, times)

      await test.pass(60)

      expect((await minting.operation()).status).toBe('succeeded')
      expect(await test.liveAtProviders(minting.account)).toHaveLength(1)
      expect(await test.served(await minting.now())).toContain('PRIVATE KEY')
      expect(await test.keys(minting.credential)).toHaveLength(1)
    },
  )

  it('leaves nothing in the sink when a registration without an answer is given up', async () => {
    const { deliverTo } = wants.accessKey()
    const minting = await issuing(wants.deployKey({ deliverTo }))
    test.github.faults.arm(post, { kind: 'lostResponse' })
    await test.pass(0)
    const { tenant, ...credential } = await minting.now()
    const labels = () => {
      const secret = test.aws.world.secret(`custody/${tenant}/${credential.deliverTo.path}`)
      return Object.values(secret?.stages ?? {}).flat()
    }
    expect(labels()).toContain('AWSPENDING')

    await test.engine.cancelOperation(test.admin, (await minting.operation()).id)
    await test.pass(60, 1)

    expect((await minting.operation()).status).toBe('cancelled')
    expect(await test.liveAtProviders(minting.account)).toEqual([])
    expect(labels()).not.toContain('AWSPENDING')
  })

  it('leaves no key behind when the answer to the first request was lost and the second is refused for good', async () => {
    const minting = await issuing(wants.deployKey())
    test.github.faults.arm(post, { kind: 'lostResponse' })
    let calls = 0
    const worker = withIssue('github-acme', async (issue, ...args) => {
      if (++calls > 1) {
        throw new ProviderError('invalid', 'key is invalid', { outcome: 'notApplied' })
      }
      return issue(...args)
    })
    for (let second = 0; second < 30; second++) {
      await worker.drain()
      test.clock.advance(1)
    }

    expect((await minting.operation()).status).toBe('failed')
    expect(await test.liveAtProviders(minting.account)).toEqual([])
    expect((await test.keys(minting.credential)).map((k) => k.status)).toContain('failed')
  })
})

function byAdmin(operation: string, input: Readonly<Record<string, unknown>>): unknown {
  return test.aws.world.call({
    service: 'iam',
    operation,
    input,
    accessKeyId: test.aws.world.admin.accessKeyId,
    region: 'us-east-1',
  })
}

/** What somebody with the console does. */
async function mintByHand(UserName: string): Promise<string> {
  const answer = byAdmin('CreateAccessKey', { UserName }) as {
    readonly AccessKey: { readonly AccessKeyId: string }
  }
  return answer.AccessKey.AccessKeyId
}
