import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.ts'
import { packageRoot } from '../../src/host/home.ts'

let cwd = ''
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-policy-'))
})
afterEach(() => rm(cwd, { recursive: true, force: true }))

async function run(line: string) {
  let stdout = ''
  let stderr = ''
  const code = await main(line.split(' '), {
    env: {},
    cwd,
    stdout: (text) => (stdout += text),
    stderr: (text) => (stderr += text),
    columns: null,
    isInteractive: false,
    ask: () => Promise.resolve(''),
  })
  return { code, stdout, stderr }
}

describe('custody policy', () => {
  it('checks the shipped rules where no others are configured', async () => {
    const { code, stdout } = await run('policy check --json')

    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      directory: path.join(packageRoot, 'policies'),
      rules: expect.arrayContaining(['tenant-boundary', 'admin-governs']) as string[],
    })
  })

  it('names the problems of both kinds of rules at once, and ends with 2', async () => {
    await cp(path.join(packageRoot, 'policies'), path.join(cwd, 'rules'), { recursive: true })
    await writeFile(path.join(cwd, 'rules/lifecycle.yaml'), 'defaults: { hold: P1Y }\n')
    await writeFile(path.join(cwd, 'rules/authorisation/x.cedar'), 'permit (principal);\n')
    await writeFile(path.join(cwd, 'custody.yaml'), 'policies: ./rules\n')

    const { code, stdout, stderr } = await run('policy check')

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/lifecycle\.yaml:1: defaults\.hold: must be a duration/)
    expect(stderr).toMatch(/x\.cedar:1: /)
  })

  it('explains the terms of one account and the rules that set them', async () => {
    const { code, stdout, stderr } = await run('policy explain --environment prod --imported')

    expect(code).toBe(0)
    expect(stdout).toMatch(/^leaver\.contain +true$/m)
    expect(stdout).toMatch(/^rotation\.every +P30D$/m)
    expect(stdout).toMatch(/^enforcement +observe$/m)
    expect(stderr).toContain('production in use keeps running for some hours; imported accounts')
  })

  it('ends with 2 when the configuration that names the rules is wrong', async () => {
    await writeFile(path.join(cwd, 'custody.yaml'), 'polices: ./rules\n')

    const { code, stderr } = await run('policy explain')

    expect(code).toBe(2)
    expect(stderr).toContain('did you mean "policies"?')
  })
})
