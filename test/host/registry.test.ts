import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { Secret } from '../../src/domain/secret.ts'
import type {
  HostContext,
  Provider,
  ProviderModule,
  SecretSink,
  SinkModule,
  TokenBook,
} from '../../src/provider/contract.ts'
import { openProviders } from '../../src/provider/registry.ts'
import { ManualClock } from '../support/manual-clock.ts'

interface Opened {
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  closed: boolean
}

/** Modules that record how they were opened; what they would do is not this door's concern. */
function modulesWith(opened: Opened[]): {
  providers: readonly ProviderModule[]
  sinks: readonly SinkModule[]
} {
  const open = (host: HostContext, config: Readonly<Record<string, unknown>>) => {
    const instance: Opened = { name: host.name, config, closed: false }
    opened.push(instance)
    if (config['region'] === 'moon') throw new Error('no such region')
    return {
      name: host.name,
      close: () => {
        instance.closed = true
        return config['region'] === 'stuck' ? Promise.reject(new Error('stuck')) : Promise.resolve()
      },
    }
  }
  const configSchema = {
    type: 'object',
    additionalProperties: false,
    required: ['region'],
    properties: {
      region: { type: 'string' },
      settle: { type: 'string', format: 'duration', default: 'PT15S' },
    },
  }
  return {
    providers: [
      {
        type: 'aws-iam',
        role: 'provider',
        configSchema,
        create: (host, config) => open(host, config) as unknown as Provider,
      },
    ],
    sinks: [
      {
        type: 'file',
        role: 'sink',
        configSchema: { type: 'object', additionalProperties: false, properties: {} },
        create: (host, config) => open(host, config) as unknown as SecretSink,
      },
    ],
  }
}

function hostFor(name: string): HostContext {
  return {
    name,
    clock: new ManualClock(),
    random: randomBytes,
    resolvePath: (file) => file,
    tokens: {} as TokenBook,
    pepper: Secret.of(Buffer.alloc(32)),
  }
}

describe('opening providers and sinks', () => {
  it('creates each with its host and its configuration, defaults filled in', async () => {
    const opened: Opened[] = []
    const entry = { name: 'aws-prod', type: 'aws-iam', config: { region: 'eu-west-1' } }

    const plugins = await openProviders({
      providers: [entry],
      sinks: [{ name: 'files', type: 'file', config: {} }],
      modules: modulesWith(opened),
      hostFor,
    })

    expect([...plugins.providers.keys(), ...plugins.sinks.keys()]).toEqual(['aws-prod', 'files'])
    expect(opened[0]).toMatchObject({
      name: 'aws-prod',
      config: { region: 'eu-west-1', settle: 'PT15S' },
    })
    expect(entry.config).toEqual({ region: 'eu-west-1' })
  })

  it('closes all, also when one cannot be closed', async () => {
    const opened: Opened[] = []
    const plugins = await openProviders({
      providers: [{ name: 'a', type: 'aws-iam', config: { region: 'stuck' } }],
      sinks: [{ name: 'f', type: 'file', config: {} }],
      modules: modulesWith(opened),
      hostFor,
    })

    await expect(plugins.close()).rejects.toThrow('did not close')
    expect(opened.map((o) => o.closed)).toEqual([true, true])
  })

  it('names every problem of every entry before it opens anything', async () => {
    const opened: Opened[] = []

    const failure = openProviders({
      providers: [
        { name: 'a', type: 'aws-iam', config: { regoin: 'x' } },
        { name: 'b', type: 'aws-imm', config: {} },
        { name: 'c', type: 'aws-iam', config: { region: 'x', settle: 'P1M' } },
      ],
      sinks: [{ name: 'f', type: 'postgres', config: {} }],
      modules: modulesWith(opened),
      hostFor,
    })

    const { code, message } = (await failure.catch((e: unknown) => e)) as {
      code: string
      message: string
    }
    expect(code).toBe('configInvalid')
    expect(message.split('\n')).toEqual([
      'provider "a": config.region: is required.',
      'provider "a": config.regoin: unknown key; did you mean "region"?',
      expect.stringMatching(/^provider "b": unknown type "aws-imm"; did you mean "aws-iam"\?/),
      expect.stringMatching(/^provider "c": config\.settle: must be a duration/),
      expect.stringMatching(
        /^sink "f": unknown type "postgres"\. Known: file; a type from outside/,
      ),
    ])
    expect(opened).toEqual([])
  })

  it('closes what it opened when a later one cannot be opened', async () => {
    const opened: Opened[] = []

    const failure = openProviders({
      providers: [
        { name: 'a', type: 'aws-iam', config: { region: 'x' } },
        { name: 'b', type: 'aws-iam', config: { region: 'moon' } },
      ],
      sinks: [],
      modules: modulesWith(opened),
      hostFor,
    })

    await expect(failure).rejects.toThrow('provider "b": no such region')
    expect(opened[0]?.closed).toBe(true)
  })
})

describe('a provider from a package', () => {
  const [module] = modulesWith([]).providers
  const from = (exported: unknown, type = '@acme/custody-provider-x') => {
    const asked: string[] = []
    const result = openProviders({
      providers: [{ name: 'x', type, config: { region: 'r' } }],
      sinks: [],
      modules: { providers: [], sinks: [] },
      hostFor,
      load: (specifier) => {
        asked.push(specifier)
        return exported instanceof Error ? Promise.reject(exported) : Promise.resolve(exported)
      },
    })
    return result.then(
      (plugins) => ({ asked, names: [...plugins.providers.keys()], message: '' }),
      (error: Error) => ({ asked, names: [], message: error.message }),
    )
  }

  it.each([
    ['default export', { default: module }],
    ['export named provider', { provider: module }],
  ])('is found as %s', async (_, exported) => {
    expect(await from(exported)).toMatchObject({
      asked: ['@acme/custody-provider-x'],
      names: ['x'],
    })
  })

  it.each([
    ['exports something else', { default: { type: 'x' } }, 'exports no provider'],
    ['is a sink', { default: { ...module, role: 'sink' } }, 'exports no provider'],
    ['is not installed', new Error("Cannot find package '@acme'\nstack"), 'install it next to'],
  ])('is refused when it %s', async (_, exported, expected) => {
    expect((await from(exported)).message).toContain(expected)
  })

  it.each(['../evil/x.js', '/tmp/x.js', 'file:///tmp/x.js', 'a/../../x', 'https://x/y.js'])(
    'is not loaded from %s',
    async (type) => {
      const { asked, message } = await from({ default: module }, type)

      expect(asked).toEqual([])
      expect(message).toContain('unknown type')
    },
  )

  it('is looked up where Custody is installed', async () => {
    const failure = openProviders({
      providers: [{ name: 'x', type: '@acme/not-there', config: {} }],
      sinks: [],
      modules: { providers: [], sinks: [] },
      hostFor,
    })

    await expect(failure).rejects.toThrow(/package "@acme\/not-there" cannot be loaded/)
  })
})
