import { existsSync } from 'node:fs'
import { link, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AppError } from '../../domain/errors.ts'
import { loadConfig, parseListen } from '../../host/config.ts'
import { checkConfig } from '../../main.ts'
import type { InitOptions } from '../commands/init.ts'
import type { ExitCode, Terminal } from '../terminal.ts'
import { CommandFailure, exitCodes } from '../terminal.ts'

/** One thing a type of provider or sink has to know. */
interface Ask {
  readonly key: string
  /** For whoever is asked. */
  readonly says: string
  readonly standard?: string
  /** null: it is good; else what is wrong with it. */
  readonly check?: (text: string, cwd: string) => string | null
  readonly as?: 'number' | 'list'
}

interface Kind {
  readonly type: string
  readonly name: string
  readonly says: string
  readonly asks: readonly Ask[]
}

const region: Ask = {
  key: 'region',
  says: 'AWS region',
  standard: 'us-east-1',
  check: (text) =>
    /^[a-z]{2}(-[a-z]+)+-\d$/.test(text) ? null : 'is no region such as eu-central-1',
}
const whole = (key: string, says: string): Ask => ({
  key,
  says,
  as: 'number',
  check: (text) => (/^[1-9]\d*$/.test(text) ? null : 'is no whole number'),
})
const file = (key: string, says: string): Ask => ({
  key,
  says,
  check: (text, cwd) => (existsSync(path.resolve(cwd, text)) ? null : 'is not there'),
})

const providers: readonly Kind[] = [
  {
    type: 'token',
    name: 'tokens',
    says: 'opaque tokens of Custody itself, checked by introspection',
    asks: [],
  },
  {
    type: 'aws-iam',
    name: 'aws-prod',
    says: 'access keys and federated roles at AWS IAM; credentials come from the environment as for the AWS CLI',
    asks: [
      region,
      {
        key: 'path',
        says: 'IAM path below which Custody makes its users',
        standard: '/custody/',
        check: (text) =>
          /^\/([\w+=,.@-]+\/)+$/.test(text) ? null : 'is no path such as /custody/',
      },
    ],
  },
  {
    type: 'github',
    name: 'github',
    says: 'deploy keys and installation tokens, as a GitHub App of yours',
    asks: [
      {
        key: 'baseUrl',
        says: 'address of the REST API',
        standard: 'https://api.github.com',
        check: (text) => (URL.canParse(text) && text.startsWith('http') ? null : 'is no address'),
      },
      whole('appId', 'id of the App'),
      whole('installationId', 'id of its installation'),
      file('privateKeyFile', 'file with its private key (PEM)'),
    ],
  },
  {
    type: 'postgres',
    name: 'postgres',
    says: 'database logins that PostgreSQL itself ends',
    asks: [
      { key: 'host', says: 'host of the server' },
      { key: 'user', says: 'role that may create roles' },
      file('passwordFile', 'file with its password'),
      { key: 'allowedRoles', says: 'roles that may be granted, with commas between', as: 'list' },
    ],
  },
  { type: 'manual', name: 'by-hand', says: 'tasks for a person, where there is no API', asks: [] },
]

const sinks: readonly Kind[] = [
  {
    type: 'file',
    name: 'files',
    says: 'files on this machine, mode 0600',
    asks: [{ key: 'directory', says: 'directory of the secrets', standard: 'secrets' }],
  },
  {
    type: 'aws-secrets',
    name: 'aws-secrets',
    says: 'AWS Secrets Manager',
    asks: [region, { key: 'namePrefix', says: 'beginning of each name', standard: 'custody/' }],
  },
  {
    type: 'github-actions',
    name: 'github-actions',
    says: 'secrets of repositories, environments and organisations',
    asks: [{ key: 'provider', says: 'name of the github provider above', standard: 'github' }],
  },
]

interface Chosen {
  readonly kind: Kind
  readonly values: ReadonlyMap<string, string>
}

/**
 * Writes a `custody.yaml` with comments, by asking; in scripts by options. What is written has been
 * read as the service would read it. Nothing that is there is overwritten, and no secret goes in.
 */
export async function run(options: InitOptions, terminal: Terminal): Promise<ExitCode> {
  const target = path.resolve(terminal.cwd, options.output)
  if (existsSync(target)) {
    const sentence = `${target} is there already; name another file with --output.`
    throw new CommandFailure(exitCodes.conflict, sentence)
  }
  const asker = createAsker(options, terminal)
  const listen = await asker('listen', {
    key: 'listen',
    says: 'Where it listens (host:port; only this machine unless you say otherwise)',
    standard: '127.0.0.1:8080',
    check: (text) => (parseListen(text) ? null : 'is no host:port'),
  })
  const store = await asker('store', {
    key: 'store',
    says: 'Database: sqlite:FILE for one process, or postgres://user@host/db for several',
    standard: 'sqlite:custody.db',
    check: (text) =>
      /^sqlite:.+|^postgres(ql)?:\/\/[^:@/]+@.+/.test(text)
        ? null
        : 'is neither sqlite:FILE nor postgres://user@host/db (no password: that belongs into CUSTODY_STORE_URL_FILE)',
  })
  const chosenProviders = await choose('provider', providers, options.providers, asker, terminal)
  const chosenSinks = await choose('sink', sinks, options.sinks, asker, terminal)
  const github = chosenSinks.find(({ kind }) => kind.type === 'github-actions')
  if (github && !chosenProviders.some(({ kind }) => kind.type === 'github')) {
    const sentence = 'Nothing was written: the sink github-actions needs the provider github.'
    throw new CommandFailure(exitCodes.usage, sentence)
  }
  const text = document(listen, store, chosenProviders, chosenSinks)
  await place(target, text, terminal)
  if (options.json) terminal.stdout(`${JSON.stringify({ file: target })}\n`)
  else terminal.stdout(`${target}\n`)
  const named = options.output === 'custody.yaml' ? '' : ` --config ${options.output}`
  terminal.stderr(
    `Written. Next:\n  custody policy check${named}\n  custody doctor${named}\n  custody serve${named}\n`,
  )
  return exitCodes.ok
}

type Asker = (name: string, ask: Ask) => Promise<string>

/** Asks again until the answer is good; a script has said it with --set, or takes what is usual. */
function createAsker(options: InitOptions, terminal: Terminal): Asker {
  const { env: _env, cwd } = terminal
  return async (name, ask) => {
    const said = options.set.get(name)
    const wrong = (text: string): string | null =>
      text === '' ? 'is empty' : (ask.check?.(text, cwd) ?? null)
    if (said !== undefined || options.yes || !terminal.isInteractive) {
      const text = said ?? ask.standard ?? ''
      const problem = wrong(text)
      if (problem === null) return text
      const sentence = `${name}: "${text}" ${problem}. Say it with --set ${name}=…  (${ask.says})`
      throw new CommandFailure(exitCodes.usage, sentence)
    }
    for (;;) {
      const usual = ask.standard === undefined ? '' : ` [${ask.standard}]`
      const answer = (await terminal.ask(`${ask.says}${usual}: `)).trim()
      const text = answer === '' ? (ask.standard ?? '') : answer
      const problem = wrong(text)
      if (problem === null) return text
      terminal.stderr(`  "${text}" ${problem}.\n`)
    }
  }
}

async function choose(
  what: 'provider' | 'sink',
  kinds: readonly Kind[],
  named: readonly string[],
  asker: Asker,
  terminal: Terminal,
): Promise<readonly Chosen[]> {
  const types = kinds.map((kind) => kind.type)
  if (named.length === 0 && terminal.isInteractive) {
    terminal.stderr(
      `\n${what === 'provider' ? 'Where credentials live' : 'Where consumers read secrets'}:\n`,
    )
    for (const { type, says } of kinds) terminal.stderr(`  ${type.padEnd(15)} ${says}\n`)
  }
  const list =
    named.length > 0
      ? named.join(',')
      : await asker(`${what}s`, {
          key: what,
          says: `Which ${what}s (with commas between)`,
          standard: types[0]!,
          check: (text) => unknownOf(text, types),
        })
  const problem = unknownOf(list, types)
  if (problem !== null)
    throw new CommandFailure(exitCodes.usage, `--${what}: "${list}" ${problem}.`)
  const chosen: Chosen[] = []
  for (const type of new Set(split(list))) {
    const kind = kinds.find((k) => k.type === type)!
    const values = new Map<string, string>()
    for (const ask of kind.asks) {
      values.set(
        ask.key,
        await asker(`${kind.name}.${ask.key}`, { ...ask, says: `${type}: ${ask.says}` }),
      )
    }
    chosen.push({ kind, values })
  }
  return chosen
}

function split(list: string): readonly string[] {
  return list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function unknownOf(list: string, types: readonly string[]): string | null {
  const unknown = split(list).find((type) => !types.includes(type))
  return unknown === undefined ? null : `has "${unknown}"; there are ${types.join(', ')}`
}

function document(
  listen: string,
  store: string,
  chosenProviders: readonly Chosen[],
  chosenSinks: readonly Chosen[],
): string {
  const address = parseListen(listen)!
  const q = JSON.stringify
  return `# Custody: where it listens, what it manages, where secrets go. Every key is explained in
# custody.example.yaml; "custody policy check" reads this file as the service would.
# Paths are relative to this file. No secret stands in it: the master key and the administrator's
# token are made in .custody by the first start.

listen: { host: ${q(address.host)}, port: ${address.port} }

# Behind a TLS proxy, the base of every address that is handed out:
# publicUrl: "https://custody.example"

# A password belongs into CUSTODY_STORE_URL, or a file named by CUSTODY_STORE_URL_FILE.
store: { url: ${q(store)} }

# The rules as they come with Custody; copy policies/ and name the copy to change them.
# policies: ./policies

# Where credentials live. Accounts name them by "name".
providers:
${chosenProviders.map(entry).join('\n')}

# Where consumers read their secrets.
sinks:
${chosenSinks.map(entry).join('\n')}
`
}

function entry({ kind, values }: Chosen): string {
  const config = kind.asks.map(({ key, as }) => {
    const text = values.get(key)!
    if (as === 'number') return `${key}: ${text}`
    return `${key}: ${as === 'list' ? JSON.stringify(split(text)) : JSON.stringify(text)}`
  })
  const inside = config.length === 0 ? '{}' : `{ ${config.join(', ')} }`
  return `  # ${kind.says}\n  - name: ${kind.name}\n    type: ${kind.type}\n    config: ${inside}`
}

/** Under its name only once the service would take it. */
async function place(target: string, text: string, terminal: Terminal): Promise<void> {
  const temporary = `${target}.${process.pid}.part`
  await writeFile(temporary, text, { flag: 'wx' })
  try {
    // The environment wins over the file and has problems of its own.
    await loadConfig({ file: temporary, env: {}, cwd: terminal.cwd }, checkConfig)
    await link(temporary, target)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const sentence = error.message.replaceAll(temporary, target)
    throw new CommandFailure(exitCodes.usage, `Nothing was written. ${sentence}`, error)
  } finally {
    await rm(temporary, { force: true })
  }
}
