import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { loadConfig } from '../../src/host/config.ts'
import { checkConfig } from '../../src/main.ts'

let cwd = ''
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-init-'))
  await writeFile(path.join(cwd, 'app.pem'), 'pem')
  await writeFile(path.join(cwd, 'db-password'), 'x')
})
afterEach(() => rm(cwd, { recursive: true, force: true }))

async function run(args: readonly string[], answers: string[] | null = null) {
  const asked: string[] = []
  return {
    ...(await runCli(args, {
      env: {},
      cwd,
      isInteractive: answers !== null,
      ask: (question) => {
        asked.push(question)
        return Promise.resolve(answers!.shift() ?? '')
      },
    })),
    asked,
  }
}

const read = () => loadConfig({ file: path.join(cwd, 'custody.yaml'), env: {}, cwd }, checkConfig)

const all = `--set github.appId=1 github.installationId=2 github.privateKeyFile=app.pem
  postgres.host=db postgres.user=custody postgres.passwordFile=db-password
  postgres.allowedRoles=orders_read,orders_write`.split(/\s+/)

describe('custody init', () => {
  it.each([
    [[], []],
    [['token'], ['file']],
    [['aws-iam'], ['aws-secrets']],
    [['github'], ['github-actions', 'file']],
    [
      ['token', 'aws-iam', 'github', 'postgres', 'manual'],
      ['file', 'aws-secrets', 'github-actions'],
    ],
  ])('writes a file that the service takes: %j, %j', async (providers, sinks) => {
    const lists = [
      ...(providers.length > 0 ? ['--provider', ...providers] : []),
      ...(sinks.length > 0 ? ['--sink', ...sinks] : []),
    ]
    const { code, stderr } = await run(['init', '--yes', ...lists, ...all])

    expect([code, stderr]).toEqual([0, expect.stringContaining('custody serve')])
    const config = await read()
    const types = (list: readonly { readonly type: string }[]) => list.map((p) => p.type)
    expect(types(config.providers)).toEqual(providers.length > 0 ? providers : ['token'])
    expect(types(config.sinks)).toEqual(sinks.length > 0 ? sinks : ['file'])
  })

  it('asks, explains, and asks again after an answer that cannot be', async () => {
    const { code, stderr, asked } = await run(
      ['init'],
      ['nowhere', '0.0.0.0:9000', '', 'token, aws-iam', 'europe', 'eu-central-1', '', 'file', ''],
    )

    expect(code).toBe(0)
    expect(stderr).toContain('"nowhere" is no host:port.')
    expect(stderr).toContain('"europe" is no region')
    expect(stderr).toContain('access keys and federated roles at AWS IAM')
    expect(asked[0]).toContain('[127.0.0.1:8080]')
    const { listen, providers } = await read()
    expect([listen, providers[1]?.config]).toEqual([
      { host: '0.0.0.0', port: 9000 },
      { region: 'eu-central-1', path: '/custody/' },
    ])
  })

  it.each([
    [['init', '--yes', '--provider', 'github'], 2, /github\.appId: "" is empty/],
    [['init', '--yes', '--provider', 'azure'], 2, /there are token, aws-iam/],
    [['init', '--yes', '--set', 'store=postgres://u:secret@h/d'], 2, /no password/],
    [['init', '--yes', '--set', 'x'], 2, /no name=value/],
    [['init', '--yes', '--sink', 'github-actions'], 2, /Nothing was written/],
  ])('writes nothing it could not start with: %j', async (args, exit, sentence) => {
    const { code, stderr } = await run(args)

    expect([code, stderr]).toEqual([exit, expect.stringMatching(sentence)])
    await expect(readFile(path.join(cwd, 'custody.yaml'))).rejects.toThrow('ENOENT')
  })

  it('overwrites nothing', async () => {
    await writeFile(path.join(cwd, 'custody.yaml'), 'mine\n')

    expect((await run(['init', '--yes'])).code).toBe(5)
    expect(await readFile(path.join(cwd, 'custody.yaml'), 'utf8')).toBe('mine\n')
  })
})
