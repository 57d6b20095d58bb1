import * as sm from '@aws-sdk/client-secrets-manager'
import { Ajv } from 'ajv'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { awsSecrets } from '../../providers/aws-secrets/index.ts'
import { leastPolicy } from '../../providers/aws-secrets/examine.ts'
import { nextWrite } from '../../providers/aws-secrets/write-budget.ts'
import type { CredentialId, OperationId } from '../../src/domain/ids.ts'
import { defaultTenant } from '../../src/domain/ids.ts'
import { Secret } from '../../src/domain/secret.ts'
import { addSeconds } from '../../src/domain/time.ts'
import type { HostContext, SecretSink, SinkTarget, TokenBook } from '../../src/provider/contract.ts'
import type { AwsSandbox, SecretView } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { callWith, providerErrorFrom } from '../conformance/provider.ts'
import { sinkConformance } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const day = 86_400

function leastPrivileged({ world }: AwsSandbox) {
  const readme = readFileSync(
    new URL('../../providers/aws-secrets/README.md', import.meta.url),
    'utf8',
  )
  const PolicyDocument = /```json\n(.+?)```/s.exec(readme)![1]!
  const { accessKeyId } = world.admin
  const iam = (operation: string, input: Record<string, unknown>) =>
    world.call({ service: 'iam', operation, input, accessKeyId, region: 'us-east-1' })
  const UserName = 'custody'
  iam('CreateUser', { UserName })
  iam('PutUserPolicy', { UserName, PolicyName: 'sink', PolicyDocument })
  const { AccessKey } = iam('CreateAccessKey', { UserName }) as {
    AccessKey: { AccessKeyId: string; SecretAccessKey: string }
  }
  return { accessKeyId: AccessKey.AccessKeyId, secretAccessKey: AccessKey.SecretAccessKey }
}

describe('aws-secrets', () => {
  let clock: ManualClock
  let sandbox: AwsSandbox
  let sink: SecretSink
  let admin: sm.SecretsManager
  let target: SinkTarget
  let sinkWith: (more: object) => SecretSink

  beforeEach(async () => {
    clock = new ManualClock()
    sandbox = await startAwsSandbox({ clock })
    const host: HostContext = {
      name: 'aws-secrets',
      clock,
      random: (length) => new Uint8Array(length),
      resolvePath: (path) => path,
      tokens: {} as TokenBook,
      pepper: Secret.ofText('unused'),
    }
    const connection = { region: 'eu-central-1', endpoint: sandbox.url }
    admin = new sm.SecretsManager({ ...connection, credentials: sandbox.world.admin })
    // The sink under test always works with exactly the rights its README lists.
    const credentials = leastPrivileged(sandbox)
    sinkWith = (more) =>
      awsSecrets.create(host, { ...connection, credentials, kmsKeyId: 'alias/custody', ...more })
    sink = sinkWith({})
    target = {
      tenant: defaultTenant,
      credential: randomUUID() as CredentialId,
      path: 'payments/db',
    }
  })
  afterEach(async () => {
    await sink.close()
    admin.destroy()
    await sandbox.close()
  })

  const name = 'custody/default/payments/db'
  const stored = (): SecretView => sandbox.world.secret(name)!
  const stagesOf = (version: string) => [...(stored().stages[version] ?? [])].sort()
  const textOf = (secret: Secret | null) => secret?.use((bytes) => bytes.toString('utf8')) ?? null
  const deliver = (text: string, call = callWith()) =>
    sink.deliver(target, Secret.ofText(text), call)
  const promote = (version: string, from: string | null) =>
    sink.promote(target, version, from, callWith())

  /** A target on which `one` is current. */
  async function promoted(): Promise<string> {
    const version = await deliver('one')
    await promote(version, null)
    return version
  }

  describe('checking', () => {
    it('makes the secret with its tags and key before anything is minted', async () => {
      await sink.check(target, callWith())

      expect(stored()).toMatchObject({
        kmsKeyId: 'alias/custody',
        tags: { 'custody:credential': target.credential, 'custody:tenant': 'default' },
      })
    })

    it('may be repeated, even when the first answer was lost', async () => {
      sandbox.faults.arm('CreateSecret', { kind: 'lostResponse' })

      const lost = await providerErrorFrom(sink.check(target, callWith()))
      await sink.check(target, callWith())

      expect(lost.outcome).toBe('unknown')
      expect(sandbox.world.secretNames()).toEqual([name])
    })

    it('makes one secret when two workers check at the same moment', async () => {
      await Promise.all([sink.check(target, callWith()), sink.check(target, callWith())])

      expect(sandbox.world.secretNames()).toEqual([name])
      expect(Object.keys(stored().stages)).toEqual([target.credential])
    })

    it('refuses a secret that Custody did not make for this credential', async () => {
      await admin.createSecret({ Name: name, SecretString: 'theirs' })

      const check = await providerErrorFrom(sink.check(target, callWith()))
      const write = await providerErrorFrom(deliver('ours'))

      expect([check.kind, check.outcome]).toEqual(['conflict', 'notApplied'])
      expect([write.kind, write.outcome]).toEqual(['conflict', 'notApplied'])
      expect(stored().current).toBe('theirs')
    })

    it("refuses another credential's secret", async () => {
      await promoted()

      const other = { ...target, credential: randomUUID() as CredentialId }

      expect((await providerErrorFrom(sink.check(other, callWith()))).kind).toBe('conflict')
    })

    it('gives another credential a name of its own when the name waits for its deletion (R23)', async () => {
      await promoted()
      await sink.remove(target, callWith())
      const other = { ...target, credential: randomUUID() as CredentialId }
      const put = (text: string) => sink.deliver(other, Secret.ofText(text), callWith())

      await sink.check(other, callWith())
      const version = await put('theirs')
      const ref = await sink.promote(other, version, null, callWith())

      expect(sandbox.world.secret(`${name}/${other.credential}`)?.current).toBe('theirs')
      expect(ref).toContain(`${name}/${other.credential}`)
      expect(stored().deleteAt).not.toBeNull()
      // It stays there when the name is free again, also for a process that never saw it.
      clock.advance(8 * day)
      const fresh = sinkWith({})
      expect(textOf(await fresh.read(other, version, callWith()))).toBe('theirs')
      expect(await fresh.current!(other, callWith())).toBe(version)
      await fresh.close()
      expect(stored()).toBeNull()
    })

    it('names a KMS key that is off, and what to do, before a key is minted', async () => {
      await promoted()
      sandbox.world.disabledKmsKeys.add('alias/custody')

      const check = await providerErrorFrom(sink.check(target, callWith()))
      const delivered = await providerErrorFrom(deliver('two'))
      const first = await providerErrorFrom(sink.check({ ...target, path: 'another' }, callWith()))

      for (const error of [check, delivered, first]) {
        expect([error.kind, error.outcome]).toEqual(['unavailable', 'notApplied'])
        expect(error.message).toMatch(/^KMS key alias\/custody of .+ kms:GenerateDataKey/)
      }
    })
  })

  describe('delivering', () => {
    it('never serves a key that was not promoted, not even the first', async () => {
      const version = await deliver('one')

      expect(stagesOf(version)).toEqual(['AWSPENDING'])
      expect(stored().current).not.toContain('one')
    })

    it('leaves the current version alone', async () => {
      const first = await promoted()

      const second = await deliver('two')

      expect(stored().current).toBe('one')
      expect([stagesOf(first), stagesOf(second)]).toEqual([['AWSCURRENT'], ['AWSPENDING']])
    })

    it('is harmless to repeat with the same key and bytes', async () => {
      const call = callWith()
      const first = await deliver('one', call)

      const again = await deliver('one', call)

      expect(again).toBe(first)
      expect(first).toBe(call.key)
    })

    it('refuses other bytes under the same key', async () => {
      const call = callWith()
      await deliver('one', call)

      const error = await providerErrorFrom(deliver('two', call))

      expect([error.kind, error.outcome]).toEqual(['conflict', 'notApplied'])
      expect(error.message).not.toContain('two')
    })

    it('can be found by its key after the answer was lost, and only then', async () => {
      const call = callWith()
      await sink.check(target, callWith())
      const before = await sink.find(target, call.key, callWith())
      sandbox.faults.arm('PutSecretValue', { kind: 'lostResponse' })

      const lost = await providerErrorFrom(deliver('one', call))
      const after = await sink.find(target, call.key, callWith())

      expect(lost.outcome).toBe('unknown')
      expect([before, after]).toEqual([null, call.key])
    })

    it('finds nothing where there is no secret', async () => {
      expect(await sink.find(target, randomUUID(), callWith())).toBeNull()
    })

    it('keeps bytes that are no text', async () => {
      const bytes = Uint8Array.from([0xff, 0xfe, 0])

      const version = await sink.deliver(target, Secret.of(Uint8Array.from(bytes)), callWith())
      const read = await sink.read(target, version, callWith())

      expect(read!.use((b) => [...b])).toEqual([...bytes])
    })

    it('restores its own secret when that was scheduled for deletion', async () => {
      await promoted()
      await sink.remove(target, callWith())

      const version = await deliver('two')

      expect(stored().deleteAt).toBeNull()
      expect(stagesOf(version)).toEqual(['AWSPENDING'])
    })
  })

  describe('promoting', () => {
    it('makes the version current and takes AWSPENDING off', async () => {
      const first = await promoted()
      const second = await deliver('two')

      const ref = await promote(second, first)

      expect(stored().current).toBe('two')
      expect([stagesOf(first), stagesOf(second)]).toEqual([['AWSPREVIOUS'], ['AWSCURRENT']])
      expect(ref).toBe(`aws-secrets:${stored().arn}?version=${second}`)
    })

    it('is harmless to repeat', async () => {
      const first = await promoted()
      const second = await deliver('two')
      await promote(second, first)

      const again = await promote(second, first)

      expect(again).toContain(second)
      expect(stored().current).toBe('two')
    })

    it('finishes what a lost answer left half done', async () => {
      const first = await promoted()
      const second = await deliver('two')
      sandbox.faults.arm('UpdateSecretVersionStage', { kind: 'lostResponse' })

      const lost = await providerErrorFrom(promote(second, first))
      const between = stagesOf(second)
      await promote(second, first)

      expect(lost.outcome).toBe('unknown')
      expect(between).toEqual(['AWSCURRENT', 'AWSPENDING'])
      expect(stagesOf(second)).toEqual(['AWSCURRENT'])
    })

    it.each([
      ['a version that is not current', randomUUID()],
      ['nothing, though something is', null],
    ])('refuses to take over from %s', async (_what, from) => {
      await promoted()
      const second = await deliver('two')

      const error = await providerErrorFrom(promote(second, from))

      expect([error.kind, error.outcome]).toEqual(['conflict', 'notApplied'])
      expect(stored().current).toBe('one')
    })

    it('refuses when someone moves the label at the same moment', async () => {
      const first = await promoted()
      const second = await deliver('two')
      sandbox.faults.arm('UpdateSecretVersionStage', { kind: 'delay', milliseconds: 100 })

      const pending = providerErrorFrom(promote(second, first))
      const theirs = randomUUID()
      await new Promise((resolve) => setTimeout(resolve, 30))
      await admin.putSecretValue({
        SecretId: name,
        SecretString: 'theirs',
        ClientRequestToken: theirs,
      })

      expect((await pending).kind).toBe('conflict')
      expect(stored().current).toBe('theirs')
    })

    it('fails when the secret is gone', async () => {
      expect((await providerErrorFrom(promote(randomUUID(), null))).kind).toBe('notFound')
    })

    it('starts over after a first delivery that was discarded', async () => {
      const failed = await deliver('one')
      await sink.discard(target, failed, callWith())
      const second = await deliver('two')

      await promote(second, null)

      expect(stored().current).toBe('two')
    })
  })

  describe('reading', () => {
    it('gives the bytes of any version that is still there', async () => {
      const first = await promoted()
      const second = await deliver('two')
      await promote(second, first)

      const texts = await Promise.all(
        [first, second].map(async (v) => textOf(await sink.read(target, v, callWith()))),
      )

      expect(texts).toEqual(['one', 'two'])
    })

    it('gives null for what is not there', async () => {
      const nowhere = await sink.read(target, randomUUID(), callWith())
      const version = await promoted()
      const unknown = await sink.read(target, randomUUID(), callWith())
      await sink.remove(target, callWith())
      const removed = await sink.read(target, version, callWith())

      expect([nowhere, unknown, removed]).toEqual([null, null, null])
    })
  })

  describe('forgetting', () => {
    it('takes every label off a staged version and keeps the current one', async () => {
      const first = await promoted()
      const second = await deliver('two')

      await sink.discard(target, second, callWith())
      await sink.discard(target, second, callWith())
      await sink.discard(target, first, callWith())

      expect([stagesOf(first), stagesOf(second)]).toEqual([['AWSCURRENT'], []])
      expect(await sink.find(target, second, callWith())).toBeNull()
    })

    it('asks nothing of AWS for the current version', async () => {
      const version = await promoted()
      sandbox.faults.arm('UpdateSecretVersionStage', { kind: 'reset' })

      await sink.discard(target, version, callWith())

      expect(stored().current).toBe('one')
    })

    it('takes the superseded version out of AWSPREVIOUS', async () => {
      const first = await promoted()
      const second = await deliver('two')
      await promote(second, first)

      await sink.discard(target, first, callWith())

      expect(stagesOf(first)).toEqual([])
      expect(stored().current).toBe('two')
    })

    it('removes the secret with a recovery window of 7 days, and again without complaint', async () => {
      await promoted()

      await sink.remove(target, callWith())
      const deleteAt = stored().deleteAt
      clock.advance(day)
      await sink.remove(target, callWith())

      expect(Date.parse(deleteAt!) - Date.parse(clock.now())).toBe(6 * day * 1_000)
      expect(stored().deleteAt).toBe(deleteAt)
    })

    it('treats removing and discarding what was never there as done', async () => {
      await sink.remove(target, callWith())
      await sink.discard(target, randomUUID(), callWith())

      expect(sandbox.world.secretNames()).toEqual([])
    })

    it("never removes someone else's secret", async () => {
      await admin.createSecret({ Name: name, SecretString: 'theirs' })

      const error = await providerErrorFrom(sink.remove(target, callWith()))

      expect(error.kind).toBe('conflict')
      expect(stored().deleteAt).toBeNull()
    })
  })

  describe('writing often (R27)', () => {
    const minute = 60

    it('waits before a key is minted, says until when, and gains a write each ten minutes', async () => {
      let current: string | null = null
      for (let i = 0; i < 5; i++) {
        await sink.check(target, callWith())
        const version = await deliver(`value ${i}`)
        await promote(version, current)
        current = version
      }

      const error = await providerErrorFrom(sink.check(target, callWith()))
      expect([error.kind, error.outcome]).toEqual(['throttled', 'notApplied'])
      expect(error.retryAfter).toBe(10 * minute)
      expect(error.message).toMatch(/written too often.+ next one is written at 20/)

      clock.advance(10 * minute - 1)
      expect((await providerErrorFrom(sink.check(target, callWith()))).retryAfter).toBe(1)
      clock.advance(1)
      await sink.check(target, callWith())
    })

    it('never holds up what undoes a rotation', async () => {
      const first = await promoted()
      for (let i = 0; i < 4; i++) await deliver(`value ${i}`)
      const last = await deliver('last')
      await promote(last, first)
      await providerErrorFrom(sink.check(target, callWith()))

      await promote(first, last)
      await sink.discard(target, last, callWith())

      expect(stored().current).toBe('one')
    })

    it('asks when values were written only if something changed lately', async () => {
      await promoted()
      sandbox.world.limits.admitted.clear()
      await sink.check(target, callWith())
      clock.advance(11 * minute)
      await sink.check(target, callWith())

      expect(sandbox.world.limits.admitted.get('ListSecretVersionIds')).toBe(1)
    })

    it('keeps a day’s values below what AWS can hold', () => {
      const now = clock.now()
      const at = (secondsAgo: number) => Date.parse(now) - secondsAgo * 1_000
      const spread = Array.from({ length: 90 }, (_, i) => at(86_000 - i * 900))

      expect(nextWrite(spread.slice(1), now)).toBeNull()
      expect(nextWrite(spread, now)).toBe(addSeconds(now, 400))
    })
  })

  it('tells people at AWS which generation consumers read, and by which operation', async () => {
    const version = await deliver('one')
    const operation = randomUUID()
    const call = { ...callWith(), operation: operation as OperationId }

    await sink.promote({ ...target, generation: 3 }, version, null, call)
    sandbox.world.limits.admitted.clear()
    await sink.promote({ ...target, generation: 3 }, version, null, call)

    expect(stored().tags).toMatchObject({
      'custody:generation': '3',
      'custody:operation': operation,
    })
    expect(sandbox.world.limits.admitted.has('TagResource')).toBe(false)
  })

  describe('formats', () => {
    const pair = '{"accessKeyId":"AKIAIOSFODNN7EXAMPLE","secretAccessKey":"wJalr/+EXAMPLEKEY"}'

    it.each([
      ['custody', pair],
      [
        'credential-process',
        '{"Version":1,"AccessKeyId":"AKIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalr/+EXAMPLEKEY"}',
      ],
      [
        'environment',
        '{"AWS_ACCESS_KEY_ID":"AKIAIOSFODNN7EXAMPLE","AWS_SECRET_ACCESS_KEY":"wJalr/+EXAMPLEKEY"}',
      ],
      [
        'credentials-file',
        '[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalr/+EXAMPLEKEY\n',
      ],
    ])('%s is what consumers read, and probes read the same pair back', async (format, text) => {
      const formatted = sinkWith({ format })
      using secret = Secret.ofText(pair)
      const call = callWith()
      const version = await formatted.deliver(target, secret, call)
      await formatted.deliver(target, secret, call)
      await formatted.promote(target, version, null, callWith())

      expect(stored().current).toBe(text)
      const read = await formatted.read(target, version, callWith())
      expect(read!.fingerprint()).toBe(secret.fingerprint())
      // Whoever changes the format reads what was delivered before.
      expect(textOf(await sink.read(target, version, callWith()))).toBe(pair)
      await formatted.close()
    })

    it('are for access keys: tokens and PEMs stay as they are', async () => {
      const formatted = sinkWith({ format: 'credential-process' })
      for (const text of ['csk_abc', '-----BEGIN KEY-----\n', '{"some":"json"}', '{not json']) {
        const version = await formatted.deliver(target, Secret.ofText(text), callWith())
        const texts = [formatted, sink].map(async (s) =>
          textOf(await s.read(target, version, callWith())),
        )
        expect(await Promise.all(texts)).toEqual([text, text])
      }
      await formatted.close()
    })
  })

  describe('examining', () => {
    const examined = async (one: SecretSink) => {
      const report = await one.examine!(callWith())
      return { report, states: Object.fromEntries(report.findings.map((f) => [f.name, f.state])) }
    }

    it('finds the rights that its README lists enough, and changes nothing', async () => {
      await promoted()
      const before = stored()
      const { report, states } = await examined(sink)

      expect(states).toEqual({
        credentials: 'ok',
        'secretsmanager:DescribeSecret': 'ok',
        'secretsmanager:CreateSecret': 'unknown',
        'secretsmanager:TagResource': 'ok',
        'secretsmanager:PutSecretValue': 'ok',
        'secretsmanager:GetSecretValue': 'ok',
        'secretsmanager:ListSecretVersionIds': 'ok',
        'secretsmanager:UpdateSecretVersionStage': 'ok',
        'secretsmanager:DeleteSecret': 'ok',
        'secretsmanager:RestoreSecret': 'ok',
        pendingDeletions: 'ok',
        kms: 'ok',
      })
      expect(stored()).toEqual(before)
      expect(sandbox.world.secretNames()).toEqual([name])
      expect(report.leastPolicy).toContain('kms:GenerateDataKey')
    })

    it('prints the least policy of its README for a prefix and no key of its own', () => {
      const readme = readFileSync(
        new URL('../../providers/aws-secrets/README.md', import.meta.url),
        'utf8',
      )

      const printed = leastPolicy({ prefix: 'custody/', kmsKeyId: null })

      expect(readme).toContain(printed)
    })

    it('names what is missing, one right at a time', async () => {
      const { accessKeyId } = sandbox.world.admin
      const PolicyDocument = JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          { Effect: 'Deny', Action: 'secretsmanager:Put*', Resource: '*' },
          { Effect: 'Deny', Action: 'secretsmanager:CreateSecret', Resource: '*' },
          { Effect: 'Deny', Action: 'secretsmanager:ListSecrets', Resource: '*' },
        ],
      })
      const input = { UserName: 'custody', PolicyName: 'less', PolicyDocument }
      sandbox.world.call({
        service: 'iam',
        operation: 'PutUserPolicy',
        input,
        accessKeyId,
        region: 'us-east-1',
      })

      const { report, states } = await examined(sink)

      expect(Object.entries(states).flatMap(([n, s]) => (s === 'failed' ? [n] : []))).toEqual([
        'secretsmanager:CreateSecret',
        'secretsmanager:PutSecretValue',
      ])
      expect(states['pendingDeletions']).toBe('unknown')
      for (const finding of report.findings) {
        expect(finding.remedy === null).toBe(finding.state === 'ok')
      }
    })

    it('names secrets that wait for their deletion, and a KMS key that is off', async () => {
      await promoted()
      const old = { ...target, credential: randomUUID() as CredentialId, path: 'old' }
      await sink.check(old, callWith())
      await sink.remove(old, callWith())
      sandbox.world.disabledKmsKeys.add('alias/custody')

      const { report, states } = await examined(sink)

      expect(states['kms']).toBe('failed')
      const waiting = report.findings.find((f) => f.name === 'pendingDeletions')!
      expect(waiting.message).toContain('1 of 2 secrets wait')
      expect(waiting.message).toContain('custody/default/old')
    })

    it.each([
      [
        'keys AWS does not know',
        { credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'x' } },
        'failed',
      ],
      ['an endpoint nobody listens at', { endpoint: 'http://127.0.0.1:1' }, 'unknown'],
    ])('says so and stops at %s', async (_what, config, state) => {
      const lost = sinkWith(config)
      const { report, states } = await examined(lost)

      expect(states).toEqual({ credentials: state })
      expect(report.findings[0]!.remedy).not.toBeNull()
      await lost.close()
    })
  })

  describe('configuration', () => {
    const validate = new Ajv({ strict: true }).compile(awsSecrets.configSchema)

    it.each([
      [{ region: 'us-east-1' }, true],
      [{ region: 'us-east-1', namePrefix: 'custody/', kmsKeyId: 'k', recoveryDays: 30 }, true],
      [{}, false],
      [{ region: 'us-east-1', recoveryDays: 1 }, false],
      [{ region: 'us-east-1', prefix: 'x' }, false],
      [{ region: 'us-east-1', format: 'yaml' }, false],
      [{ region: 'us-east-1', namePrefix: 'a b' }, false],
    ])('of %j is %j', (config, valid) => {
      expect(validate(config)).toBe(valid)
    })
  })
})

sinkConformance('the aws-secrets sink', async () => {
  const sandbox = await startAwsSandbox({ clock: new ManualClock() })
  const connection = { region: 'eu-central-1', endpoint: sandbox.url }
  const host: HostContext = {
    name: 'aws-secrets',
    clock: new ManualClock(),
    random: (length) => new Uint8Array(length),
    resolvePath: (path) => path,
    tokens: {} as TokenBook,
    pepper: Secret.ofText('unused'),
  }
  const consumer = new sm.SecretsManager({ ...connection, credentials: sandbox.world.admin })
  return {
    sink: awsSecrets.create(host, { ...connection, credentials: leastPrivileged(sandbox) }),
    async currentBytes(target) {
      const SecretId = `custody/${target.tenant}/${target.path}`
      const found = await consumer.getSecretValue({ SecretId }).catch((error: Error) => {
        if (error.name === 'ResourceNotFoundException' || error.name === 'InvalidRequestException')
          return null
        throw error
      })
      // Before the first promotion a consumer reads the placeholder, which says so and is no secret.
      if (found === null || found.VersionId === target.credential) return null
      return Buffer.from(found.SecretString ?? Buffer.from(found.SecretBinary!))
    },
    prunesLater: true,
    async dispose() {
      consumer.destroy()
      await sandbox.close()
    },
  }
})
