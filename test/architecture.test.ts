import { readFileSync, readdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { SourceFile } from './support/imports.ts'
import { readImports, violations } from './support/imports.ts'

const root = path.resolve(import.meta.dirname, '..')

function sourceFiles(directory: string): string[] {
  return readdirSync(path.join(root, directory), { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(directory, name))
    .filter((name) => name.endsWith('.ts') && statSync(path.join(root, name)).isFile())
}

const files: readonly SourceFile[] = ['src', 'providers'].flatMap(sourceFiles).map((name) => ({
  name,
  imports: readImports(readFileSync(path.join(root, name), 'utf8')),
}))

describe('the house', () => {
  it('has imports that only go down, and third-party packages on one floor each', () => {
    expect(violations(files)).toEqual([])
  })

  it('finds a planted upward import, a fenced package and a .js specifier', () => {
    const planted: readonly SourceFile[] = [
      { name: 'src/domain/owner.ts', imports: ['../store/store.ts'] },
      { name: 'src/scim/filter.ts', imports: ['../policy/lifecycle.ts'] },
      { name: 'src/lifecycle/worker.ts', imports: ['better-sqlite3'] },
      { name: 'src/http/api.ts', imports: ['./errors.js'] },
      { name: 'providers/token/index.ts', imports: ['../../src/store/store.ts'] },
      { name: 'src/domain/time.ts', imports: ['node:fs'] },
    ]

    expect(violations(planted).map((v) => v.file)).toEqual(planted.map((f) => f.name))
  })

  it('keeps the clock, the environment and randomness out of the domain', () => {
    const impure = /Date\.now\(|new Date\(\)|process\.env|Math\.random\(|performance\.now\(/
    const offenders = sourceFiles('src')
      .filter((name) => !name.startsWith('src/host/') && !name.startsWith('src/cli/'))
      .filter((name) => impure.test(withoutComments(readFileSync(path.join(root, name), 'utf8'))))

    expect(offenders).toEqual([])
  })

  it('has no dead file: each is reached from a composition root or a provider', () => {
    const known = new Map(files.map((f) => [f.name, f]))
    const roots = files
      .map((f) => f.name)
      .filter((name) =>
        /^src\/(main|cli\/main|provider\/kit|jobs\/threads\/[^/]+|cli\/local\/[^/]+)\.ts$/.test(
          name,
        ),
      )
    const reached = new Set<string>()
    const queue = [...roots]
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      if (reached.has(name)) continue
      reached.add(name)
      for (const specifier of known.get(name)?.imports ?? []) {
        if (specifier.startsWith('.')) queue.push(path.join(path.dirname(name), specifier))
      }
    }

    const isCode = (name: string) => !name.endsWith('.d.ts')
    expect(files.map((f) => f.name).filter((name) => isCode(name) && !reached.has(name))).toEqual(
      [],
    )
  })

  it('has no file that outgrew its room', () => {
    const long = ['src', 'providers']
      .flatMap(sourceFiles)
      .map((name) => ({
        name,
        lines: readFileSync(path.join(root, name), 'utf8').split('\n').length,
      }))
      .filter(({ lines }) => lines > 600)

    expect(long).toEqual([])
  })
})

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}
