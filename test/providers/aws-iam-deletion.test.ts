import { describe, expect, it } from 'vitest'
import type { WireAnswer } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import type { AwsAccountUnderTest } from '../support/aws-account.ts'
import { awsAccount } from '../support/aws-account.ts'
import { awsRefusal, awsTransport } from '../support/aws-wire.ts'
import { callWith, wantPrincipal } from '../conformance/provider.ts'

const managed = 'arn:aws:iam::aws:policy/ReadOnlyAccess'
const allow = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '*' }],
})
const codes = { AuthenticationCode1: '123456', AuthenticationCode2: '654321' }

type Attach = (account: AwsAccountUnderTest, UserName: string) => void

/** What blocks DeleteUser, each in the way it comes to be. */
const attachments: Readonly<Record<string, Attach>> = {
  'an active access key': ({ admin }, UserName) => admin('CreateAccessKey', { UserName }),
  'an inactive access key': ({ admin }, UserName) => {
    const { AccessKey } = admin('CreateAccessKey', { UserName })
    const { AccessKeyId } = AccessKey as { readonly AccessKeyId: string }
    admin('UpdateAccessKey', { UserName, AccessKeyId, Status: 'Inactive' })
  },
  'a login profile': ({ admin }, UserName) =>
    admin('CreateLoginProfile', { UserName, Password: 'x' }),
  'a virtual MFA device': ({ admin }, UserName) => {
    const made = admin('CreateVirtualMFADevice', { VirtualMFADeviceName: `phone,${UserName}` })
    const { SerialNumber } = made['VirtualMFADevice'] as { readonly SerialNumber: string }
    admin('EnableMFADevice', { UserName, SerialNumber, ...codes })
  },
  'a hardware MFA token': ({ admin }, UserName) =>
    admin('EnableMFADevice', { UserName, SerialNumber: 'GAHT12345678', ...codes }),
  'a security key': ({ admin }, UserName) => {
    const SerialNumber = `arn:aws:iam::123456789012:u2f/user/${UserName}/key-ABC`
    admin('EnableMFADevice', { UserName, SerialNumber, ...codes })
  },
  'a signing certificate': ({ admin }, UserName) =>
    admin('UploadSigningCertificate', { UserName, CertificateBody: 'c' }),
  'an SSH public key': ({ admin }, UserName) =>
    admin('UploadSSHPublicKey', { UserName, SSHPublicKeyBody: 'k' }),
  'a service-specific credential': ({ admin }, UserName) =>
    admin('CreateServiceSpecificCredential', { UserName, ServiceName: 'cassandra.amazonaws.com' }),
  'a group': ({ admin }, UserName) => {
    admin('CreateGroup', { GroupName: 'g' })
    admin('AddUserToGroup', { UserName, GroupName: 'g' })
  },
  'a managed policy': ({ admin }, UserName) =>
    admin('AttachUserPolicy', { UserName, PolicyArn: managed }),
  'an inline policy': ({ admin }, UserName) =>
    admin('PutUserPolicy', { UserName, PolicyName: 'p', PolicyDocument: allow }),
}

async function userOf(account: AwsAccountUnderTest) {
  const provider = account.connect()
  const { external } = await provider.ensurePrincipal(wantPrincipal(account.clock), callWith())
  const { userName } = JSON.parse(external) as { readonly userName: string }
  return { provider, external, userName }
}

const devicesOf = ({ admin }: AwsAccountUnderTest) =>
  admin('ListVirtualMFADevices')['VirtualMFADevices']

describe('deleting an IAM user with everything that hangs on it', () => {
  it('knows twelve kinds of it', () => {
    expect(Object.keys(attachments)).toHaveLength(12)
  })

  it.each(Object.keys(attachments))('gets past %s, which blocks DeleteUser', async (kind) => {
    const account = awsAccount()
    const { provider, external, userName } = await userOf(account)
    attachments[kind]!(account, userName)
    expect(() => account.admin('DeleteUser', { UserName: userName })).toThrow(/must/)

    await provider.deletePrincipal(external, callWith())

    expect(account.world.users()).toEqual([])
    expect(devicesOf(account)).toEqual([])
  })

  it.each<[string, (answer: () => unknown) => WireAnswer]>([
    ['reset', () => broken()],
    ['an error before the effect', () => awsRefusal(500, 'ServiceFailure')],
    ['a lost answer', (answer) => (answer(), broken())],
    ['an error after the effect', (answer) => (answer(), awsRefusal(503, 'ServiceUnavailable'))],
  ])('ends with all twelve gone though every call meets %s once', async (_what, meet) => {
    const account = awsAccount()
    const { external, userName } = await userOf(account)
    for (const attach of Object.values(attachments)) attach(account, userName)
    account.world.pageSizeMax = 1
    const cut = new Set<string>()
    const provider = account.connect(
      {},
      awsTransport(account.world, ({ operation, input }, answer) => {
        const call = `${operation} ${input.toString()}`
        if (cut.has(call)) return answer()
        cut.add(call)
        return meet(answer)
      }),
    )

    let runs = 0
    for (let isDone = false; !isDone; runs++) {
      isDone = await provider.deletePrincipal(external, callWith()).then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(ProviderError)
          return false
        },
      )
      expect(runs).toBeLessThan(100)
    }

    expect(runs).toBe(cut.size + 1)
    const changes = [...cut].filter((call) => !/^(Get|List)/.test(call))
    expect(changes.length).toBeGreaterThan(Object.keys(attachments).length)
    expect(account.world.users()).toEqual([])
    expect(devicesOf(account)).toEqual([])
  })

  it('leaves a device alone that somebody else uses by now', async () => {
    const account = awsAccount()
    const { provider, external, userName } = await userOf(account)
    attachments['a virtual MFA device']!(account, userName)
    const [device] = devicesOf(account) as readonly { readonly SerialNumber: string }[]
    const { SerialNumber } = device!
    const dying = account.connect(
      {},
      awsTransport(account.world, ({ operation }, answer) =>
        operation === 'DeleteVirtualMFADevice' ? broken() : answer(),
      ),
    )
    await expect(dying.deletePrincipal(external, callWith())).rejects.toThrow(ProviderError)
    account.admin('CreateUser', { UserName: 'other' })
    account.admin('EnableMFADevice', { UserName: 'other', SerialNumber, ...codes })

    await provider.deletePrincipal(external, callWith())

    expect(account.world.users().map((user) => user.userName)).toEqual(['other'])
    expect(devicesOf(account)).toHaveLength(1)
  })
})

function broken(): never {
  throw Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
}
