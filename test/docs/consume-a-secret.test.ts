import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { STS } from '@aws-sdk/client-sts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { file } from '../../providers/file/index.ts'
import { Secret } from '../../src/domain/secret.ts'
import type { HostContext } from '../../src/provider/contract.ts'
import type { SecretFormat } from '../../src/provider/secret-format.ts'
import { secretFormats } from '../../src/provider/secret-format.ts'
import type { AwsSandbox } from '../../src/sandbox/aws.ts'
import { startAwsSandbox } from '../../src/sandbox/aws.ts'
import { sinkCall, sinkTarget } from '../conformance/sink.ts'
import { ManualClock } from '../support/manual-clock.ts'

const page = readFileSync(
  path.resolve(import.meta.dirname, '../../docs/how-to/consume-a-secret.md'),
  'utf8',
)

describe('what consumers are told to read', () => {
  let home: string
  let sandbox: AwsSandbox
  beforeEach(async () => {
    home = mkdtempSync(path.join(tmpdir(), 'custody-consume-'))
    sandbox = await startAwsSandbox({ clock: new ManualClock() })
  })
  afterEach(async () => {
    vi.unstubAllEnvs()
    rmSync(home, { recursive: true })
    await sandbox.close()
  })

  /** The path of the file with the administrator's key, as a file sink with this format writes it. */
  async function delivered(format: SecretFormat): Promise<string> {
    const host = { name: 'files', resolvePath: (p: string) => path.join(home, p) } as HostContext
    const sink = file.create(host, { directory: format, format })
    const target = sinkTarget('deployer/key')
    const { accessKeyId, secretAccessKey } = sandbox.world.admin
    using secret = Secret.ofText(JSON.stringify({ accessKeyId, secretAccessKey }))
    const version = await sink.deliver(target, secret, sinkCall())
    await sink.promote(target, version, null, sinkCall())
    using read = await sink.read(target, version, sinkCall())
    expect(read!.equals(secret)).toBe(true)
    return path.join(home, format, target.tenant, target.path)
  }

  async function whoAmI(config: string, credentials: string): Promise<string | undefined> {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) {
      vi.stubEnv(name, undefined)
    }
    vi.stubEnv('AWS_CONFIG_FILE', config)
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', credentials)
    const profile = config === '/dev/null' ? 'default' : 'deployer'
    const client = new STS({ region: 'us-east-1', endpoint: sandbox.url, profile, maxAttempts: 1 })
    try {
      return (await client.getCallerIdentity({})).Arn
    } finally {
      client.destroy()
    }
  }

  it('signs the SDK in by the credential_process of the page', async () => {
    const written = await delivered('credential-process')
    const [, ini = ''] = /```ini\n([^`]*?\/bin\/cat [^`]*?)```/.exec(page)!
    const config = path.join(home, 'config')
    writeFileSync(config, ini.replace('/var/lib/custody/secrets/default/deployer/key', written))

    expect(await whoAmI(config, '/dev/null')).toBe('arn:aws:iam::123456789012:root')
  })

  it('signs the SDK in by a credentials file', async () => {
    const written = await delivered('credentials-file')

    expect(await whoAmI('/dev/null', written)).toBe('arn:aws:iam::123456789012:root')
  })

  it('has in its JSON the properties that the manifest of the page asks for', async () => {
    const json = JSON.parse(readFileSync(await delivered('environment'), 'utf8')) as object
    const [, yaml = ''] = /```yaml\n([\s\S]*?)```/.exec(page)!
    const manifest = parse(yaml) as {
      kind: string
      spec: { data: { secretKey: string; remoteRef: { property: string } }[] }
    }
    const { accessKeyId, secretAccessKey } = sandbox.world.admin

    expect(manifest.kind).toBe('ExternalSecret')
    const asked = manifest.spec.data.map(({ secretKey, remoteRef: { property } }) => {
      return [secretKey, (json as Record<string, unknown>)[property]]
    })
    expect(Object.fromEntries(asked)).toEqual({
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
    })
  })

  it('is described for every format', () => {
    for (const format of secretFormats) expect(page).toContain(`| \`${format}\``)
  })
})
