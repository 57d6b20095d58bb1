import { spawn } from 'node:child_process'
import path from 'node:path'
import { commit, forgetOthers, readResults } from './result.ts'

interface SuiteOptions {
  readonly file: string
  /** Whether parts that are in the file already are measured again. */
  readonly fresh: boolean
  /** Tiny: whether everything runs, not how fast. */
  readonly smoke: boolean
  readonly only: readonly string[]
  readonly say: (text: string) => void
}

/** A part of a report: the arguments of the command that measures it, and of a smoke test. */
interface Plan {
  readonly name: string
  readonly args: string
  readonly smoke: string
  /** With databases that are there already; far beyond it a part is stuck, and given up. */
  readonly seconds: number
}

const quick = '--rounds 1 --seconds 1'

/** In the order of their worth: where time runs out, the last ones are missing. */
export const parts: readonly Plan[] = [
  {
    name: 'requests',
    args: 'scim --size 100k --rounds 5 --seconds 1',
    smoke: `scim --size 1k ${quick}`,
    seconds: 420,
  },
  {
    name: 'growth',
    args: 'growth --rounds 2 --seconds 1',
    smoke: `growth --size 1k,10k ${quick}`,
    seconds: 240,
  },
  {
    name: 'leaver on SQLite',
    args: 'leaver --only leaving --accounts 1000 --rounds 1 --store sqlite',
    smoke: `leaver --only leaving --accounts 20 --store sqlite ${quick}`,
    seconds: 60,
  },
  {
    name: 'leaver on PostgreSQL',
    args: 'leaver --only leaving --accounts 1000 --rounds 1 --store postgres',
    smoke: `leaver --only leaving --accounts 20 --store postgres ${quick}`,
    seconds: 90,
  },
  {
    name: 'sweeps on SQLite',
    args: 'sweeps --size 1m --rounds 2 --store sqlite',
    smoke: `sweeps --size 10k --due 1k --store sqlite ${quick}`,
    seconds: 60,
  },
  {
    name: 'sweeps on PostgreSQL',
    args: 'sweeps --size 100k --rounds 2 --store postgres',
    smoke: `sweeps --size 10k --due 1k --store postgres ${quick}`,
    seconds: 60,
  },
  {
    name: 'mixed on SQLite',
    args: 'mixed --size 100k --rounds 3 --seconds 2 --store sqlite',
    smoke: `mixed --size 1k --store sqlite ${quick}`,
    seconds: 40,
  },
  {
    name: 'mixed on PostgreSQL',
    args: 'mixed --size 100k --rounds 3 --seconds 2 --store postgres',
    smoke: `mixed --size 1k --store postgres ${quick}`,
    seconds: 40,
  },
  {
    name: 'rotations',
    args: 'rotations --only free --keys 300 --rounds 1',
    smoke: 'rotations --only free --keys 20 --rounds 1',
    seconds: 60,
  },
  {
    name: 'jobs',
    args: 'jobs --rounds 3',
    smoke: 'jobs --jobs 1k --rounds 1',
    seconds: 90,
  },
  {
    name: 'start-up',
    args: 'startup --size 1m --rounds 5',
    smoke: 'startup --size 1k --rounds 1',
    seconds: 60,
  },
]

/**
 * Runs every part in a process of its own, one after the other, each kept in the file when it is over:
 * what was measured at this commit is not measured again.
 * @returns the parts that failed or did not end
 */
export async function runSuite(
  options: SuiteOptions,
): Promise<{ readonly failed: readonly string[] }> {
  const { file, fresh, smoke, only, say } = options
  const since = performance.now()
  const version = commit()
  const isWanted = (name: string): boolean =>
    only.length === 0 || only.some((prefix) => name.startsWith(prefix))
  // Of a whole run nothing older is left, also where a part of it fails.
  if (only.length === 0) forgetOthers(file, version)
  const done = fresh
    ? []
    : (readResults(file)?.parts ?? []).filter((part) => part.commit === version)
  const failed: string[] = []
  for (const { name, args, smoke: small, seconds } of parts.filter((p) => isWanted(p.name))) {
    if (done.some((part) => part.name === name)) {
      say(`${name}: is there already`)
      continue
    }
    say(`\n${name}: ${smoke ? small : args}`)
    const words = (smoke ? small : args).split(' ')
    const code = await run([...words, '--json', file, '--part', name], seconds * 2 + 300)
    if (code !== 0) failed.push(name)
    say(`${name}: ended with ${code} after ${Math.round((performance.now() - since) / 1_000)} s`)
  }
  return { failed }
}

function run(args: readonly string[], seconds: number): Promise<number> {
  const file = path.join(import.meta.dirname, 'main.ts')
  const child = spawn(process.execPath, [file, ...args], { stdio: 'inherit' })
  const timer = setTimeout(() => child.kill('SIGTERM'), seconds * 1_000)
  const stop = (): void => void child.kill('SIGTERM')
  process.once('exit', stop)
  return new Promise((resolve) => {
    child.once('close', (code) => {
      clearTimeout(timer)
      process.off('exit', stop)
      resolve(code ?? 1)
    })
  })
}
