import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/host/home.ts'

const exec = promisify(execFile)

let folder = ''
let installed = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'custody-pack-'))
  await exec('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: packageRoot })
  const [tarball] = (await readdir(folder)).filter((f) => f.endsWith('.tgz'))
  await exec('tar', ['xzf', tarball!], { cwd: folder })
  // Below node_modules, as installed: Node strips no types there.
  installed = path.join(folder, 'node_modules', 'custody')
  await mkdir(path.dirname(installed))
  await exec('mv', [path.join(folder, 'package'), installed])
  await symlink(path.join(packageRoot, 'node_modules'), path.join(installed, 'node_modules'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const custody = (...args: string[]) =>
  exec(process.execPath, [path.join(installed, 'bin', 'custody.js'), ...args], { cwd: folder })

describe('the published package', () => {
  it('holds what it needs to run and nothing else', async () => {
    const top = (await readdir(installed)).filter((f) => f !== 'node_modules' && f !== 'README.md')

    expect(top.sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'bin',
      'custody.example.yaml',
      'dist',
      'package.json',
      'policies',
    ])
    const dist = await readdir(path.join(installed, 'dist'), { recursive: true })
    expect(dist.filter((f) => f.endsWith('.ts') && !f.endsWith('.d.ts'))).toEqual([])
  })

  it('runs without stripping types', async () => {
    const { stdout } = await custody('--help')

    expect(stdout).toContain('Every service account has an owner and an end date.')
  })

  it("gives a third party's provider its types and its suite, and loads it by its package name", async () => {
    const name = '@acme/custody-provider-keyfile'
    const own = path.join(folder, 'node_modules', name)
    await mkdir(own, { recursive: true })
    for (const tool of ['vitest', '@types']) {
      await symlink(path.join(packageRoot, 'node_modules', tool), path.join(own, '../..', tool))
    }
    const page = await readFile(path.join(packageRoot, 'docs/how-to/write-a-provider.md'), 'utf8')
    const [example, test] = Array.from(page.matchAll(/^```ts\n([\s\S]*?)^```/gm), (m) => m[1]!)
    const manifest = { name, type: 'module', exports: './index.js' }
    await writeFile(path.join(own, 'package.json'), JSON.stringify(manifest))
    await writeFile(path.join(own, 'index.ts'), example!)
    await writeFile(path.join(own, 'index.test.ts'), test!)
    const bin = (tool: string) => path.join(packageRoot, 'node_modules', '.bin', tool)

    const strict = '--strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess'.split(' ')
    const target = '--target es2024 --module nodenext --types node --skipLibCheck'.split(' ')
    await exec(bin('tsc'), ['index.ts', 'index.test.ts', ...strict, ...target], { cwd: own })
    const suite = await exec(bin('vitest'), ['run', '--dir', own, 'index.test.js'], {
      cwd: folder,
      env: { ...process.env, PATH: `${path.dirname(bin('node'))}:${process.env['PATH']}` },
    })
    const registry = path.join(installed, 'dist/src/provider/registry.js')
    const loading = `
      const { openProviders } = await import(${JSON.stringify(registry)})
      const { providers } = await openProviders({
        providers: [{ name: 'doors', type: '${name}', config: { file: 'keys.json' } }],
        sinks: [],
        modules: { providers: [], sinks: [] },
        hostFor: (name) => ({ name, resolvePath: (file) => file }),
      })
      console.log(Object.keys(providers.get('doors').capabilities).join())`
    const loaded = await exec(process.execPath, ['--input-type=module', '-e', loading], {
      cwd: folder,
    })

    expect(suite.stdout).toMatch(/Tests .*4\d passed/)
    expect(loaded.stdout.trim()).toBe('api-token')
  })

  it('finds the rules it ships', async () => {
    const { stdout } = await custody('policy', 'check', '--json')

    expect(JSON.parse(stdout)).toMatchObject({ directory: path.join(installed, 'policies') })
  })
})
