import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Config, type ConfigCheck, loadConfig } from '../../src/host/config.ts'
import { packageRoot } from '../../src/host/home.ts'
import { checkConfig } from '../../src/main.ts'

let cwd = ''
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-config-'))
})
afterEach(() => rm(cwd, { recursive: true, force: true }))

const key = Buffer.alloc(32, 7).toString('base64')

function load(env: Record<string, string> = {}, file: string | null = null): Promise<Config> {
  return loadConfig({ env, cwd, file })
}

async function problemsOf(
  text: string | null,
  env: Record<string, string> = {},
  check?: ConfigCheck,
): Promise<readonly string[]> {
  if (text !== null) await writeFile(path.join(cwd, 'custody.yaml'), text)
  return loadConfig({ env, cwd, file: null }, check).then(
    () => [],
    (error: Error & { code?: string }) => {
      if (error.code !== 'configInvalid') throw error
      return error.message.replaceAll(`${cwd}/`, '').split('\n')
    },
  )
}

describe('without a configuration file', () => {
  it('serves from .custody with the token provider and the file sink', async () => {
    const config = await load()

    expect(config).toMatchObject({
      home: path.join(cwd, '.custody'),
      file: null,
      listen: { host: '127.0.0.1', port: 8080 },
      publicUrl: null,
      store: { kind: 'sqlite', file: path.join(cwd, '.custody/custody.db') },
      policies: path.join(packageRoot, 'policies'),
      logLevel: 'info',
      masterKey: null,
      providers: [{ name: 'tokens', type: 'token', config: {} }],
      sinks: [
        { name: 'files', type: 'file', config: { directory: path.join(cwd, '.custody/secrets') } },
      ],
    })
  })

  it('moves as a whole with CUSTODY_HOME, and relative paths with it', async () => {
    const config = await load({ CUSTODY_HOME: 'elsewhere', CUSTODY_STORE_URL: 'sqlite:data/x.db' })

    expect(config.home).toBe(path.join(cwd, 'elsewhere'))
    expect(config.store).toEqual({
      kind: 'sqlite',
      file: path.join(cwd, 'elsewhere/data/x.db'),
    })
    expect(config.resolvePath('app.pem')).toBe(path.join(cwd, 'elsewhere/app.pem'))
  })
})

describe('a configuration file', () => {
  it('is read with paths relative to itself', async () => {
    await writeFile(
      path.join(cwd, 'other.yaml'),
      `listen: { port: 9000 }
publicUrl: "https://custody.example/base/"
store: { url: "sqlite:custody.db" }
policies: ./rules
logLevel: debug
providers:
  - { name: aws-prod, type: aws-iam, config: { region: us-east-1 } }
sinks:
  - { name: files, type: file, config: { directory: secrets } }
`,
    )

    const config = await load({ CUSTODY_CONFIG: 'other.yaml', CUSTODY_HOME: 'state' })

    expect(config).toMatchObject({
      file: path.join(cwd, 'other.yaml'),
      listen: { host: '127.0.0.1', port: 9000 },
      publicUrl: 'https://custody.example/base',
      store: { kind: 'sqlite', file: path.join(cwd, 'custody.db') },
      policies: path.join(cwd, 'rules'),
      logLevel: 'debug',
      providers: [{ name: 'aws-prod', type: 'aws-iam', config: { region: 'us-east-1' } }],
    })
    expect(config.resolvePath('app.pem')).toBe(path.join(cwd, 'app.pem'))
  })

  it('yields to the environment, and --config to nothing', async () => {
    await writeFile(path.join(cwd, 'a.yaml'), 'listen: { port: 1 }\nlogLevel: warn\n')
    await writeFile(path.join(cwd, 'b.yaml'), 'listen: { port: 2 }\n')

    const config = await load(
      {
        CUSTODY_CONFIG: 'b.yaml',
        CUSTODY_LISTEN: '[::1]:3000',
        CUSTODY_LOG_LEVEL: 'error',
        CUSTODY_PUBLIC_URL: 'http://localhost:3000/',
        CUSTODY_MASTER_KEY: key,
      },
      'a.yaml',
    )

    expect(config.file).toBe(path.join(cwd, 'a.yaml'))
    expect(config.listen).toEqual({ host: '::1', port: 3000 })
    expect(config.logLevel).toBe('error')
    expect(config.publicUrl).toBe('http://localhost:3000')
    expect(config.masterKey?.use((bytes) => bytes.equals(Buffer.alloc(32, 7)))).toBe(true)
  })

  it('may be empty', async () => {
    await writeFile(path.join(cwd, 'custody.yaml'), '# nothing yet\n')

    expect((await load()).providers).toHaveLength(1)
  })
})

describe('secrets in the environment', () => {
  it('can come from files', async () => {
    const url = 'postgres://custody:hunter2@db.example/custody'
    await writeFile(path.join(cwd, 'url'), `${url}\n`)

    const config = await load({ CUSTODY_STORE_URL_FILE: 'url' })

    expect(config.store.kind === 'postgres' && config.store.url.use(String)).toBe(url)
    expect(JSON.stringify(config)).not.toContain('hunter2')
  })

  it('are never repeated in a problem', async () => {
    const problems = await problemsOf(null, {
      CUSTODY_STORE_URL: 'mysql://root:hunter2@db/x',
      CUSTODY_MASTER_KEY: 'hunter2',
    })

    expect(problems).toHaveLength(2)
    expect(problems.join()).not.toContain('hunter2')
  })
})

describe('a configuration with mistakes', () => {
  it('names all of them at once, each with its line and the nearest key', async () => {
    const problems = await problemsOf(
      `lisen: { port: 80 }
store: { url: "oracle:x" }
publicUrl: custody.example
providers:
  - { name: Aws, type: aws-iam }
  - { name: a, typ: token }
sinks:
  - { name: f, type: file }
  - { name: f, type: file }
`,
      { CUSTODY_LISTEN: 'nowhere' },
    )

    expect(problems).toEqual([
      'CUSTODY_LISTEN: must be host:port, e.g. 127.0.0.1:8080.',
      'custody.yaml:1: lisen: unknown key; did you mean "listen"?',
      'custody.yaml:2: store.url: must be sqlite:FILE or postgres://user:password@host/database.',
      'custody.yaml:3: publicUrl: must be an absolute http or https URL without query, e.g. https://custody.example.',
      'custody.yaml:5: providers[0].name: must be lower case letters, digits and "-", at most 63.',
      'custody.yaml:6: providers[1].type: is required.',
      'custody.yaml:6: providers[1].typ: unknown key; did you mean "type"?',
      'custody.yaml:9: sinks[1].name: "f" is used twice; each name must be unique.',
    ])
  })

  it.each([
    ['listen: { port: 70000 }', /listen\.port: must be <= 65535/],
    ['listen: [8080]', /listen: must be a map/],
    ['- a', /must be a map/],
    ['providers: []', /providers: must NOT have fewer than 1 items/],
    ['logLevel: loud', /must be one of: trace, debug/],
    ['masterKey: abc', /unknown key/],
    ['listen: {', /custody\.yaml:1: /],
  ])('refuses %s', async (text, expected) => {
    expect((await problemsOf(text)).join('\n')).toMatch(expected)
  })

  it.each([
    [{ CUSTODY_CONFIG: 'missing.yaml' }, /missing\.yaml: there is no such file/],
    [{ CUSTODY_MASTER_KEY_FILE: 'missing' }, /CUSTODY_MASTER_KEY_FILE: .*ENOENT/],
    [
      { CUSTODY_LISTEN: 'a:1', CUSTODY_LISTEN_FILE: 'f' },
      /set it or CUSTODY_LISTEN_FILE, not both/,
    ],
    [{ CUSTODY_LISTEN: '127.0.0.1:99999' }, /must be host:port/],
    [{ CUSTODY_LOG_LEVEL: 'loud' }, /CUSTODY_LOG_LEVEL: must be one of/],
    [{ CUSTODY_PUBLIC_URL: 'ftp://x' }, /CUSTODY_PUBLIC_URL: must be an absolute/],
  ])('refuses the environment %o', async (env, expected) => {
    expect((await problemsOf(null, env as unknown as Record<string, string>)).join('\n')).toMatch(
      expected,
    )
  })

  it.each([
    ['an alias', 'logLevel: info\nstore: { url: *s3cret }', 2],
    ['a tag', 'logLevel: info\nstore:\n  url: !s3cret x', 3],
    ['what is no YAML', 'store: { url: "postgres://u:s3cret@h/d" s3cret }', 1],
    ['half a text', 'store: { url: "s3cret }', 1],
    ['a key twice', 'logLevel: info\nlogLevel: s3cret', 2],
  ])('repeats nothing of %s that was meant as a value', async (_what, text, line) => {
    const problems = await problemsOf(text)

    expect(problems[0]).toMatch(new RegExp(`^custody\\.yaml:${line}: .{10,}[^.]\\.$`))
    expect(problems.join()).not.toContain('s3cret')
  })

  it('takes no duration or region that could not be used', async () => {
    const entry = (type: string, config: string) =>
      `providers:\n  - { name: a, type: ${type}, config: { ${config} } }`
    const github = 'appId: 1, installationId: 1, privateKeyFile: k'
    const wrong = [
      entry('postgres', 'host: h, user: u, timeout: PTnonsense'),
      entry('postgres', 'host: h, user: u, timeout: PT0S'),
      entry('postgres', 'host: h, user: u, settle: P1Y'),
      entry('github', `${github}, settle: P1Y`),
      entry(
        'aws-iam',
        'region: eu-west-1, assumeRole: { roleArn: "arn:aws:iam::123456789012:role/x", duration: P1M }',
      ),
      entry('aws-iam', 'region: europe-west'),
    ]
    for (const text of wrong) expect(await problemsOf(text, {}, checkConfig), text).toHaveLength(1)
    const right = entry('aws-iam', 'region: eusc-de-east-1, settle: PT0S')
    expect(await problemsOf(right, {}, checkConfig)).toEqual([])
  })

  it('says so when the file may not be read', async () => {
    await mkdir(path.join(cwd, 'custody.yaml'))

    expect((await problemsOf(null)).join()).toContain('cannot be read (EISDIR)')
  })
})

describe('the example that is shipped', () => {
  it('is a configuration, also with every commented key switched on', async () => {
    const text = await readFile(path.join(packageRoot, 'custody.example.yaml'), 'utf8')
    const everything = text
      .split('\n')
      .filter((line) => !line.startsWith('store: { url: "sqlite'))
      .map((line) => line.replace(/^( *)# (?=publicUrl|store|policies|- |  type|  config)/, '$1'))
      .join('\n')

    expect(await problemsOf(text)).toEqual([])
    expect(await problemsOf(everything)).toEqual([])
    expect(everything.match(/^ {2}- /gm)).toHaveLength(8)
  })
})

describe('shutdown.drain', () => {
  it('is a duration, and null unless it is said', async () => {
    expect((await load()).shutdown).toEqual({ drain: null })
    await writeFile(path.join(cwd, 'custody.yaml'), 'shutdown: { drain: PT15S }')
    expect((await load()).shutdown).toEqual({ drain: 15 })
  })

  it.each(['15', 'PT6M', 'soon'])('is not %s', async (drain) => {
    const text = `shutdown: { drain: "${drain}" }`
    expect(await problemsOf(text)).toEqual([
      expect.stringContaining('must be a duration of at most five minutes'),
    ])
  })
})
