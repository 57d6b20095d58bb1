import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
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
    expect(dist.filter((f) => f.endsWith('.ts'))).toEqual([])
  })

  it('runs without stripping types', async () => {
    const { stdout } = await custody('--help')

    expect(stdout).toContain('Every service account has an owner and an end date.')
  })

  it('finds the rules it ships', async () => {
    const { stdout } = await custody('policy', 'check', '--json')

    expect(JSON.parse(stdout)).toMatchObject({ directory: path.join(installed, 'policies') })
  })
})
