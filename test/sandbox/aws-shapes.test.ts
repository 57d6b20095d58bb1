import * as iam from '@aws-sdk/client-iam'
import * as sm from '@aws-sdk/client-secrets-manager'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matches } from '../../src/sandbox/aws/policy.ts'
import { answerError, writeOutput } from '../../src/sandbox/aws/respond.ts'
import { errorOf, FakeDrift, misfit, operationOf, shapeOf } from '../../src/sandbox/aws/shapes.ts'
import { readForm, readJson, toJson } from '../../src/sandbox/aws/wire.ts'

describe("the SDK's exported schema tuples", () => {
  // The format is internal to the SDK. When this fails after an upgrade, adapt shapes.ts first:
  // every other sandbox test then rests on shapes that are read wrongly.
  it('still have the format the sandbox reads', () => {
    const [kind, namespace, name, traits, members, types, required] =
      iam.CreateUserRequest$ as unknown as unknown[]

    expect([kind, namespace, name, traits]).toEqual([
      3,
      'com.amazonaws.iam',
      'CreateUserRequest',
      0,
    ])
    expect(members).toEqual(['UserName', 'Path', 'PermissionsBoundary', 'Tags'])
    expect((types as unknown[]).slice(0, 3)).toEqual([0, 0, 0])
    expect((types as (() => unknown[])[])[3]!().slice(0, 3)).toEqual([
      1,
      'com.amazonaws.iam',
      'tagListType',
    ])
    expect(required).toBe(1)
  })

  it('still describe operations as kind 9 with lazy input and output', () => {
    const [kind, , name, , input, output] = iam.CreateAccessKey$ as unknown as unknown[]

    expect([kind, name]).toEqual([9, 'CreateAccessKey'])
    expect((input as () => unknown[])()[2]).toBe('CreateAccessKeyRequest')
    expect((output as () => unknown[])()[2]).toBe('CreateAccessKeyResponse')
  })

  it('still carry error codes and statuses in the traits of kind -3', () => {
    const [kind, , , traits] = iam.LimitExceededException$ as unknown as unknown[]

    expect(kind).toBe(-3)
    expect(traits).toEqual({
      awsQueryError: ['LimitExceeded', 409],
      error: 'client',
      httpError: 409,
    })
  })

  it('can be read for every operation of the three services', () => {
    const names = [...Object.keys(iam), ...Object.keys(sm)]
      .filter((name) => /^[A-Z]\w+Command$/.test(name))
      .map((name) => name.slice(0, -'Command'.length))

    const unread = names.filter(
      (name) => !operationOf('iam', name) && !operationOf('secretsmanager', name),
    )

    expect(names.length).toBeGreaterThan(180)
    expect(unread).toEqual([])
  })
})

describe('the check of requests and answers', () => {
  const createUser = operationOf('iam', 'CreateUser')!

  it.each([
    [{ User: { Path: '/' } }, 'CreateUser.User.UserName: required'],
    [{ Users: [] }, 'CreateUser.Users: not a member'],
    [{ User: 'mary' }, 'CreateUser.User: not a structure'],
  ])('calls %j FAKE DRIFT', (answer, complaint) => {
    expect(() => writeOutput(createUser, answer)).toThrow(new FakeDrift(complaint))
  })

  it('turns drift into a 500 that says so', () => {
    const answer = answerError('iam', new FakeDrift('CreateUser.User.UserName: required'))

    expect(answer.status).toBe(500)
    expect(answer.body).toContain('FAKE DRIFT: CreateUser.User.UserName: required')
  })

  it('refuses to answer an error that the service does not know', () => {
    expect(() => errorOf('iam', 'NoSuchThing')).toThrow(FakeDrift)
  })

  it.each([
    ['iam', 'NoSuchEntity', { code: 'NoSuchEntity', status: 404 }],
    ['iam', 'ServiceFailure', { code: 'ServiceFailure', status: 500 }],
    [
      'secretsmanager',
      'ResourceNotFoundException',
      { code: 'ResourceNotFoundException', status: 400 },
    ],
    ['secretsmanager', 'InternalServiceError', { code: 'InternalServiceError', status: 500 }],
  ] as const)('takes code and status of %s %s from its shape', (service, name, expected) => {
    expect(errorOf(service, name)).toEqual(expected)
  })

  it('refuses a schema kind it does not know', () => {
    expect(() => shapeOf([7, 'ns', 'Odd', 0, []])).toThrow('FAKE DRIFT: schema kind 7')
  })
})

describe('the wire formats', () => {
  const createUser = operationOf('iam', 'CreateUser')!
  const createSecret = operationOf('secretsmanager', 'CreateSecret')!

  it('reads lists of structures from a form', () => {
    const body =
      'Action=CreateUser&Version=2010-05-08&UserName=a&Tags.member.2.Key=y&Tags.member.2.Value=2' +
      '&Tags.member.1.Key=x&Tags.member.1.Value=1'

    expect(readForm(body, createUser.input)).toEqual({
      UserName: 'a',
      Tags: [
        { Key: 'x', Value: '1' },
        { Key: 'y', Value: '2' },
      ],
    })
  })

  it('refuses a parameter the action does not have', () => {
    expect(() => readForm('UserNane=a', createUser.input)).toThrow('UserNane is not a parameter')
  })

  it('reads back the JSON it writes', () => {
    fc.assert(
      fc.property(fc.string(), fc.uint8Array(), fc.array(fc.string()), (name, bytes, keys) => {
        const value = {
          Name: name,
          SecretBinary: Buffer.from(bytes),
          Tags: keys.map((Key) => ({ Key })),
        }

        const text = JSON.stringify(toJson(createSecret.input, value))

        expect(readJson(text, createSecret.input)).toEqual(value)
      }),
    )
  })

  it('checks the type of each member', () => {
    expect(misfit(createSecret.input, { Name: 1 }, 'in')).toBe('in.Name: not a string')
  })
})

describe('wildcards', () => {
  it.each([
    ['*', 'iam:CreateUser', true],
    ['iam:*', 'iam:CreateUser', true],
    ['iam:*Access*', 'iam:CreateAccessKey', true],
    ['iam:Get?ser', 'iam:GetUser', true],
    ['iam:Get', 'iam:GetUser', false],
    ['*:user/a', 'arn:aws:iam::1:user/ab', false],
    ['', '', true],
  ])('%s on %s is %j', (pattern, text, expected) => {
    expect(matches(pattern, text)).toBe(expected)
  })

  it('stay linear on a hostile pattern', () => {
    expect(matches(`${'*a'.repeat(2_000)}b`, 'a'.repeat(20_000))).toBe(false)
  })
})
