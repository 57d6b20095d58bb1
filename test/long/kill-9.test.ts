import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/host/clock.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import type { Json } from '../support/custody.ts'
import { eventually, nhiUrn, userUrn } from '../support/custody.ts'
import type { ServerProcess } from '../support/process.ts'
import { startProcess } from '../support/process.ts'

// The judge is the sandbox: what keys exist there and which of them work, never our own database.
describe('killed with SIGKILL while a key is being made', () => {
  let home: string
  let aws: AwsSandbox
  let server: ServerProcess

  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'custody-crash-'))
    aws = await startAwsSandbox({ clock: systemClock })
    await configure([])
    server = await start()
  })
  afterEach(async () => {
    aws.faults.release()
    await server.kill()
    await aws.close()
    await rm(home, { recursive: true, force: true })
  })

  const start = (): Promise<ServerProcess> =>
    startProcess(home, { config: path.join(home, 'custody.yaml') })
  const iam = (operation: string, input: Record<string, unknown>): Json =>
    aws.world.call({
      service: 'iam',
      operation,
      input,
      accessKeyId: aws.world.admin.accessKeyId,
      region: 'us-east-1',
    })

  async function configure(adopt: readonly string[]): Promise<void> {
    const { accessKeyId, secretAccessKey } = aws.world.admin
    const credentials = { accessKeyId, secretAccessKey }
    const config = {
      providers: [
        {
          name: 'aws-prod',
          type: 'aws-iam',
          config: {
            region: 'us-east-1',
            endpoint: aws.url,
            settle: 'PT0S',
            probe: { count: 1, every: 'PT0S' },
            credentials,
            adopt,
          },
        },
      ],
      sinks: [
        {
          name: 'aws-secrets',
          type: 'aws-secrets',
          config: { region: 'us-east-1', endpoint: aws.url, credentials },
        },
      ],
    }
    // JSON is YAML.
    await writeFile(path.join(home, 'custody.yaml'), JSON.stringify(config))
  }

  async function requestKey(userName: string): Promise<{ account: string; credential: string }> {
    const person = await server.call('POST', '/scim/v2/Users', {
      schemas: [userUrn],
      userName: `owner-of-${userName}`,
    })
    const account = await server.call('POST', '/scim/v2/Users', {
      schemas: [userUrn, nhiUrn],
      userName,
      [nhiUrn]: {
        kind: 'workload',
        owner: { value: person.body.id },
        purpose: 'crash test',
        credentials: [
          {
            provider: 'aws-prod',
            kind: 'access-key',
            scopes: ['s3:GetObject on arn:aws:s3:::x/*'],
            deliverTo: `aws-secrets:${userName}`,
          },
        ],
      },
    })
    expect(account.status).toBe(201)
    const listed = await server.call('GET', `/api/v1/credentials?account=${account.body.id}`)
    return { account: account.body.id, credential: listed.body.items[0].id }
  }

  const credentialOf = async (id: string): Promise<Json> =>
    (await server.call('GET', `/api/v1/credentials/${id}`)).body
  const active = (id: string, generation = 1): Promise<Json> =>
    eventually(
      () => credentialOf(id),
      (c) => c.status === 'active' && c.generation >= generation,
    )
  const operationOf = async (subject: string, kind: string): Promise<Json> => {
    const found = await server.call('GET', `/api/v1/operations?subject=${subject}`)
    return found.body.items.find((o: Json) => o.kind === kind)
  }
  const iamUserOf = (userName: string): string =>
    aws.world.users().find((u) => u.userName.startsWith(userName))!.userName
  const keyIds = (userName: string): string[] =>
    aws.world.keysOf(iamUserOf(userName)).map((k) => k.accessKeyId)
  const served = (userName: string): string => {
    const secret = aws.world.secret(`custody/default/${userName}`)
    return (JSON.parse(secret!.current!) as { accessKeyId: string }).accessKeyId
  }

  it('removes the stray of a rotation, keeps a working key, and leaves foreign keys alone', async () => {
    const { credential } = await requestKey('deployer')
    await active(credential)
    const [first] = keyIds('deployer')
    aws.faults.arm('CreateAccessKey', { kind: 'hold' })

    await server.call('POST', `/api/v1/credentials/${credential}/rotate`)
    await aws.faults.whenHolding()
    const stray = keyIds('deployer').find((id) => id !== first)!
    iam('CreateUser', { UserName: 'somebody-else' })
    const foreign = iam('CreateAccessKey', { UserName: 'somebody-else' }).AccessKey
      .AccessKeyId as string
    await server.kill()
    aws.faults.release()
    expect(keyIds('deployer')).toEqual([first, stray])
    server = await start()

    const rotated = await active(credential, 2)
    expect(keyIds('deployer')).not.toContain(stray)
    expect(new Set(keyIds('deployer'))).toEqual(new Set([first, rotated.keyId]))
    expect(served('deployer')).toBe(rotated.keyId)
    expect(aws.world.wouldAccept(rotated.keyId)).toBe(true)
    expect(aws.world.wouldAccept(foreign)).toBe(true)
    const audit = await server.call('GET', `/api/v1/audit?target=${credential}&limit=200`)
    expect(
      audit.body.items
        .filter((r: Json) => r.action === 'key.strayRemoved')
        .map((r: Json) => r.facts.keyId),
    ).toEqual([stray])
  })

  it('goes on with the same key when the secret had been stored before the kill', async () => {
    aws.faults.arm('PutSecretValue', { kind: 'hold' })
    const { credential } = await requestKey('builder')
    await aws.faults.whenHolding()
    const [minted] = keyIds('builder')

    await server.kill()
    aws.faults.release()
    server = await start()

    const issued = await active(credential)
    expect(issued.keyId).toBe(minted)
    expect(keyIds('builder')).toEqual([minted])
    expect(served('builder')).toBe(minted)
  })

  it('asks an operator on a user it adopted: the stray may be somebody else’s', async () => {
    iam('CreateUser', { UserName: 'legacy' })
    await server.kill()
    await configure(['legacy'])
    server = await start()
    aws.faults.arm('CreateAccessKey', { kind: 'hold' })
    const { credential } = await requestKey('legacy')
    await aws.faults.whenHolding()
    const before = keyIds('legacy')

    await server.kill()
    aws.faults.release()
    server = await start()

    const stuck = await eventually(
      () => operationOf(credential, 'issue'),
      (o) => o?.status === 'needsOperator',
    )
    expect(stuck.failure).toMatchObject({ code: 'foreignKey' })
    expect(stuck.failure.message).toContain(before[0])
    expect(keyIds('legacy')).toEqual(before)
    expect(aws.world.wouldAccept(before[0]!)).toBe(true)
  })

  it('asks an operator when two keys could be the stray', async () => {
    aws.faults.arm('CreateAccessKey', { kind: 'hold' })
    const { credential } = await requestKey('twice')
    await aws.faults.whenHolding()
    iam('CreateAccessKey', { UserName: iamUserOf('twice') })
    const before = keyIds('twice')
    expect(before).toHaveLength(2)

    await server.kill()
    aws.faults.release()
    server = await start()

    const stuck = await eventually(
      () => operationOf(credential, 'issue'),
      (o) => o?.status === 'needsOperator',
    )
    expect(stuck.failure.code).toBe('foreignKey')
    expect(keyIds('twice')).toEqual(before)
  })
})
