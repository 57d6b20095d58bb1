import { randomBytes } from 'node:crypto'
import { openDirectories } from '../../../directory/open.ts'
import { createIdSource } from '../../../domain/ids.ts'
import { Secret } from '../../../domain/secret.ts'
import { systemClock } from '../../../host/clock.ts'
import type { Config } from '../../../host/config.ts'
import { pooledRandom } from '../../../host/random.ts'
import {
  createTaskBook,
  createTokens,
  examinePlugin,
  type Plugin,
} from '../../../lifecycle/engine.ts'
import { builtIn, derive } from '../../../main.ts'
import type { Policies } from '../../../policy/load.ts'
import { openProviders } from '../../../provider/registry.ts'
import { documentCodec } from '../../../scim/codec.ts'
import { openStore } from '../../../store/open.ts'
import type { Check } from './check.ts'
import { looking, ok, problem, TooLate, warning, within } from './check.ts'

const answerMs = 15_000

export interface OutsideOptions {
  readonly config: Config
  readonly policies: Policies | null
  readonly masterKey: Secret | null
}

/** Lets providers and sinks try what they were configured with, all at once; nothing changes there. */
export async function checkPlugins({
  config,
  policies,
  masterKey,
}: OutsideOptions): Promise<readonly Check[]> {
  const ids = createIdSource(systemClock, pooledRandom)
  // Their books are of a store of its own: a look writes into no other.
  const store = await openStore({ url: 'sqlite::memory:', codec: documentCodec })
  const secret = masterKey ?? Secret.of(randomBytes(32))
  const pepper = derive(secret, 'token pepper')
  const tokens = createTokens({
    store,
    clock: systemClock,
    policy: () => policies!.lifecycle,
    pepper,
  })
  const desk = { store, clock: systemClock, ids }
  try {
    const open = await openProviders({
      providers: config.providers,
      sinks: config.sinks,
      modules: builtIn,
      hostFor: (name) => ({
        name,
        clock: systemClock,
        random: randomBytes,
        resolvePath: config.resolvePath,
        tokens: tokens.book,
        tasks: createTaskBook(desk),
        pepper,
        sawDate: () => undefined,
      }),
    })
    try {
      const all: readonly Plugin[] = [
        ...[...open.providers.values()].map((it) => ({ role: 'provider', it }) as const),
        ...[...open.sinks.values()].map((it) => ({ role: 'sink', it }) as const),
      ]
      return (await Promise.all(all.map((plugin) => lookAt(plugin, desk)))).flat()
    } finally {
      await within(answerMs, () => open.close()).catch(() => undefined)
    }
  } finally {
    await store.close()
  }
}

async function lookAt(
  plugin: Plugin,
  desk: Parameters<typeof examinePlugin>[0],
): Promise<readonly Check[]> {
  const { role, it } = plugin
  const next = `custody provider check ${it.name}`
  const found = await looking(role, next, answerMs, async () => {
    const has =
      plugin.role === 'provider' ? plugin.it.check !== undefined : plugin.it.examine !== undefined
    if (!has) return ok(role, `${it.type} has nothing to ask`, it.name)
    const { findings } = await examinePlugin(desk, plugin)
    const bad = findings.filter(({ state }) => state !== 'ok')
    if (bad.length === 0) return ok(role, `${findings.length} findings, all well`, it.name)
    return bad.map(({ name, state, message, remedy }) =>
      (state === 'failed' ? problem : warning)(
        role,
        `${name}: ${message}`,
        remedy ?? next,
        it.name,
      ),
    )
  })
  return found.map((check) => ({ ...check, subject: it.name }))
}

/** Thrown into a reading that has gone well so far. */
class Enough extends Error {}
/** The pause of a reader between two calls is shorter, that before a repetition longer. */
const paceMs = 500
const callsMax = 2

/** Asks each directory for its first people. */
export async function checkDirectoriesLightly(config: Config): Promise<readonly Check[]> {
  const looks = config.directories.map(async (entry): Promise<readonly Check[]> => {
    let calls = 0
    const [source] = openDirectories([entry], {
      clock: systemClock,
      sleep: async (milliseconds) => {
        if (milliseconds > paceMs) throw new TooLate('it cannot be reached, or lets us wait')
        if (++calls >= callsMax) throw new Enough()
      },
      resolvePath: config.resolvePath,
    }).values()
    const next = `custody directory check --directory ${entry.name} --dry-run`
    const found = await looking('directory', next, answerMs, async () => {
      try {
        const { trouble, people } = await source!.read()
        return trouble === null
          ? ok('directory', `${people.length} people`)
          : problem('directory', trouble, next)
      } catch (error) {
        if (error instanceof Enough) return ok('directory', 'lets us read its people')
        throw error
      }
    })
    return found.map((check) => ({ ...check, subject: entry.name }))
  })
  return (await Promise.all(looks)).flat()
}
