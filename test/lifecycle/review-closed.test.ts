import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ServiceAccount } from '../../src/domain/account.ts'
import type { AccountWrite, CredentialEntry } from '../../src/domain/want.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { SecretSink } from '../../src/provider/contract.ts'
import type { TestEngine } from '../support/engine.ts'
import { anotherWorker, days, hours, minutes, startTestEngine, wants } from '../support/engine.ts'

let test: TestEngine
beforeEach(async () => {
  test = await startTestEngine()
})
afterEach(() => test.close())

const refusal = (kind: 'denied' | 'invalid'): ProviderError =>
  new ProviderError(kind, 'refused by the test', { outcome: 'notApplied' })

/** The sink with some of its methods replaced. */
const sinkWith = (sink: SecretSink, instead: Partial<SecretSink>): SecretSink =>
  new Proxy(sink, {
    get(object, property) {
      const value: unknown = Reflect.get(instead, property) ?? Reflect.get(object, property, object)
      return typeof value === 'function' ? value.bind(object) : value
    },
  })

/** A worker of its own whose AWS sink behaves as told; runs `seconds` in steps of one. */
const passWith = async (instead: Partial<SecretSink>, total: number): Promise<void> => {
  const worker = anotherWorker(test, (life) => ({
    ...life,
    sinks: new Map(life.sinks).set(
      'aws-secrets',
      sinkWith(life.sinks.get('aws-secrets')!, instead),
    ),
  }))
  for (let i = 0; i < total; i++) {
    await worker.drain()
    test.clock.advance(1)
  }
}

/** What a client sends to keep the account as it is. */
const writeOf = (account: ServiceAccount, more: Partial<AccountWrite> = {}): AccountWrite => ({
  type: 'account',
  userName: account.userName,
  externalId: account.externalId,
  active: undefined,
  kind: account.kind,
  owner: undefined,
  backupOwners: account.backups.map(({ type, id }) => ({ type, id })),
  purpose: account.purpose,
  environment: account.environment,
  labels: account.labels,
  expiresAt: undefined,
  protected: undefined,
  credentials: undefined,
  attributes: account.attributes,
  ...more,
})

const update = async (account: string, more: Partial<AccountWrite>): Promise<unknown> => {
  const current = await test.account(account)
  return test.engine.updateAccount(test.admin, current, writeOf(current, more), { mayRemove: true })
}

const accountWith = async (...credentials: readonly CredentialEntry[]): Promise<ServiceAccount> =>
  test.request(await test.person(), { credentials })

const switchOff = async (account: string): Promise<void> => {
  await test.engine.switchAccount(test.admin, account, 'disable', null)
  await test.pass(5)
}

describe('a closed account', () => {
  it('is given no credential by an update', async () => {
    const account = await accountWith(wants.accessKey())
    await switchOff(account.id)
    const [held] = await test.credentials(account.id)

    const asked = update(account.id, {
      credentials: [
        {
          value: held!.id,
          provider: held!.provider,
          kind: held!.kind,
          scopes: held!.scopes,
        },
        wants.token(),
      ],
    })

    await expect(asked).rejects.toMatchObject({ code: 'wrongState' })
    await test.pass(10)
    expect(await test.liveAtProviders(account.id)).toEqual([])
    expect(await test.store.read.principal(account.tenant, account.id, 'aws-prod')).toMatchObject({
      state: 'off',
    })
  })

  it('keeps a revocation that disabling overtook: enabling does not bring the key back', async () => {
    const account = await accountWith(wants.accessKey(), wants.token())
    const leaked = (await test.credentials(account.id)).find((c) => c.kind === 'access-key')!
    await test.engine.revokeCredential(test.admin, leaked.id)

    await switchOff(account.id)
    await test.engine.switchAccount(test.admin, account.id, 'enable', null)
    await test.pass(10)

    expect(test.aws.world.wouldAccept(leaked.keyId!)).toBe(false)
    expect((await test.credential(leaked.id)).status).toBe('revoked')
    expect(test.aws.world.keysOf(test.awsUser(account.id)!)).toEqual([])
  })

  it('is disabled although a failed credential gave its path to another one', async () => {
    const path = 'shared/path'
    const failing = wants.deployKey({
      deliverTo: { sink: 'files', path },
      scopes: ['repo:acme/gone'],
    })
    const account = await test.request(await test.person(), {
      credentials: [failing],
      drain: false,
    })
    await test.pass(3)
    const [failed] = await test.credentials(account.id)
    await test.store.commit([
      {
        type: 'credential',
        credential: { ...failed!, status: 'failed' },
        expectedVersion: failed!.version,
      },
    ])
    const heir = await accountWith(wants.token({ deliverTo: { sink: 'files', path } }))

    await test.engine.switchAccount(test.admin, account.id, 'retire', null)
    await test.pass(5)

    expect((await test.account(account.id)).status).toBe('retired')
    await test.pass(days(91), days(1))
    await test.engine.runSweep(test.admin, 'expiry')
    await test.pass(5)
    expect((await test.account(account.id)).deleteAt).toBeNull()
    const [other] = await test.credentials(heir.id)
    expect(await test.served(other!)).not.toBeNull()
  })
})

describe('what is being revoked', () => {
  it('ends the old key of a rotation however long the provider is down', async () => {
    const owner = await test.person()
    const backup = await test.person()
    const account = await test.request(owner, {
      credentials: [wants.accessKey()],
      backupOwners: [{ type: 'User', id: backup }],
    })
    const [credential] = await test.credentials(account.id)
    await test.leave(owner)
    await test.pass(minutes(50), minutes(5))
    test.aws.faults.arm('UpdateAccessKey', { kind: 'serverError', effect: false }, 40)

    await test.pass(hours(5), minutes(1))

    expect((await test.operations(credential!.id)).map((o) => o.status)).not.toContain(
      'needsOperator',
    )
    expect(test.aws.world.wouldAccept(credential!.keyId!)).toBe(false)
  })

  it('becomes revoked although an older key was deleted without having been tried', async () => {
    const owner = await test.person()
    const backup = await test.person()
    const account = await test.request(owner, {
      credentials: [wants.accessKey()],
      backupOwners: [{ type: 'User', id: backup }],
    })
    const [credential] = await test.credentials(account.id)
    await test.engine.rotateCredential(test.admin, credential!.id)
    await test.pass(5)
    await test.leave(owner)
    await test.pass(hours(2), minutes(5))

    await test.engine.revokeCredential(test.admin, credential!.id)
    await test.pass(10)

    expect((await test.credential(credential!.id)).status).toBe('revoked')
    expect(await test.liveAtProviders(account.id)).toEqual([])
  })

  it('is refused by introspection from the moment the revocation was accepted', async () => {
    const account = await accountWith(wants.token())
    const [credential] = await test.credentials(account.id)

    await test.engine.revokeCredential(test.admin, credential!.id)

    expect(await test.works(credential!)).toBe(false)
  })

  it('lets the account become active when it was the last one being made', async () => {
    test.aws.faults.arm('CreateUser', { kind: 'serverError', effect: false }, 50)
    const account = await test.request(await test.person(), {
      credentials: [wants.accessKey(), wants.token()],
      drain: false,
    })
    await test.pass(3)
    const stuck = (await test.credentials(account.id)).find((c) => c.kind === 'access-key')!

    await test.engine.revokeCredential(test.admin, stuck.id)
    await test.pass(70, 5)

    expect((await test.account(account.id)).status).toBe('active')
  })

  it('is proven by a listing when what the sink holds cannot be read any more', async () => {
    const account = await accountWith(wants.accessKey())
    const [credential] = await test.credentials(account.id)
    await test.engine.switchAccount(test.admin, account.id, 'disable', null)

    await passWith({ read: () => Promise.reject(refusal('denied')) }, 5)

    const [key] = await test.keys(credential!.id)
    expect(key).toMatchObject({ status: 'disabled', outcome: 'untestable', refusedAt: null })
    expect((await test.account(account.id)).status).toBe('disabled')
  })
})

describe('a key that was made and then refused for good', () => {
  it('does not stay alive behind a failed credential', async () => {
    const account = await test.request(await test.person(), {
      credentials: [wants.accessKey()],
      drain: false,
    })

    await passWith({ promote: () => Promise.reject(refusal('invalid')) }, 30)

    const [credential] = await test.credentials(account.id)
    expect(credential!.status).toBe('failed')
    expect(await test.liveAtProviders(account.id)).toEqual([])
  })
})

describe('minting', () => {
  it('makes no key for an account whose owner left before the fan-out came to it', async () => {
    const owner = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()], drain: false })
    const person = await test.engine.person(test.admin, owner)
    await test.store.commit([
      {
        type: 'person',
        person: { ...person, active: false, leftAt: test.clock.now() },
        expectedVersion: person.version,
      },
    ])

    await test.pass(30)

    expect(await test.liveAtProviders(account.id)).toEqual([])
    const [credential] = await test.credentials(account.id)
    expect(credential!.status).toBe('pending')
  })
})

describe('an account handed on before the fan-out came to it', () => {
  it('does not keep the keys that the leaver knows', async () => {
    const owner = await test.person()
    const next = await test.person()
    const account = await test.request(owner, { credentials: [wants.accessKey()] })
    const [credential] = await test.credentials(account.id)
    await test.leave(owner)

    await test.engine.transfer(test.admin, account.id, {
      owner: { type: 'User', id: next },
      atOnce: true,
      reason: 'the owner has left',
    })
    await test.pass(hours(2), minutes(5))

    expect(test.aws.world.wouldAccept(credential!.keyId!)).toBe(false)
  })
})
