import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../support/run-cli.ts'
import { packageRoot } from '../../src/host/home.ts'

let cwd = ''
beforeEach(async () => {
  cwd = await mkdtemp(path.join(tmpdir(), 'custody-policy-'))
})
afterEach(() => rm(cwd, { recursive: true, force: true }))

async function run(line: string) {
  return runCli(line, {
    env: {},
    cwd,
  })
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

  it('names every problem of the configuration at once, with its line', async () => {
    await writeFile(
      path.join(cwd, 'other.yaml'),
      `store: { url: "mysql://custody:hunter2@db/custody" }
polices: ./rules
providers:
  - { name: Bad, type: token }
  - { name: aws, type: aws-imm }
  - name: hub
    type: github
    config:
      baseUrI: "https://api.github.com"
  - { name: hub, type: token, config: { x: 1 } }
  - { name: acme, type: "@acme/custody-provider-x" }
sinks:
  - { name: files, type: flie }
`,
    )

    const { code, stdout, stderr } = await run('policy check --config other.yaml')

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    const lines = stderr.trimEnd().split('\n')
    for (const expected of [
      'other.yaml:1: store.url: must be sqlite:FILE or postgres://user:password@host/database.',
      'other.yaml:2: polices: unknown key; did you mean "policies"?',
      'other.yaml:4: providers[0].name: must be lower case',
      'other.yaml:5: provider "aws": unknown type "aws-imm"; did you mean "aws-iam"?',
      'other.yaml:9: provider "hub": config.baseUrI: unknown key; did you mean "baseUrl"?',
      'other.yaml:10: providers[3].name: "hub" is used twice; each name must be unique.',
      'other.yaml:10: provider "hub": config.x: unknown key',
      'other.yaml:13: sink "files": unknown type "flie"; did you mean "file"?',
    ]) {
      expect(lines.find((line) => line.includes(`${cwd}/${expected}`))).toBeDefined()
    }
    expect(stderr).not.toMatch(/hunter2|provider "acme"/)
  })

  it('says which configuration it read', async () => {
    await cp(path.join(packageRoot, 'custody.example.yaml'), path.join(cwd, 'custody.yaml'))

    const { code, stdout, stderr } = await run('policy check')

    expect({ code, stderr }).toEqual({ code: 0, stderr: 'Configuration and rules can be read.\n' })
    expect(stdout).toContain(path.join(cwd, 'custody.yaml'))
  })

  it('explains the terms of one account and the rules that set them', async () => {
    const { code, stdout, stderr } = await run('policy explain --environment prod --imported')

    expect(code).toBe(0)
    expect(stdout).toMatch(/^leaver\.contain +true$/m)
    expect(stdout).toMatch(/^rotation\.every +P30D$/m)
    expect(stdout).toMatch(/^enforcement +observe$/m)
    expect(stdout).toMatch(/^enforcement by +rule "imported accounts are watched first"$/m)
    expect(stdout).toMatch(/^planned acts +now$/m)
    expect(stdout).toMatch(/^require +any kind$/m)
    expect(stderr).toContain('production in use keeps running for some hours; imported accounts')
  })

  it('ends with 2 when the configuration that names the rules is wrong', async () => {
    await writeFile(path.join(cwd, 'custody.yaml'), 'polices: ./rules\n')

    const { code, stderr } = await run('policy explain')

    expect(code).toBe(2)
    expect(stderr).toContain('did you mean "policies"?')
  })
})

describe('custody policy test', () => {
  it('keeps every promise of the shipped rules', async () => {
    const { code, stdout, stderr } = await run('policy test')

    expect(code).toBe(0)
    expect(stdout).not.toContain('FAILED')
    expect(stderr).toMatch(/^(\d+) of \1 cases are kept/)
  })

  const rules = async (lifecycle: string, cases: string) => {
    await cp(path.join(packageRoot, 'policies'), path.join(cwd, 'rules'), { recursive: true })
    if (lifecycle) await writeFile(path.join(cwd, 'rules/lifecycle.yaml'), lifecycle)
    await writeFile(path.join(cwd, 'rules/tests/lifecycle.yaml'), cases)
  }

  it('says what a changed rule breaks, and ends with 1', async () => {
    const shipped = await readFile(path.join(packageRoot, 'policies/lifecycle.yaml'), 'utf8')
    await rules(
      shipped.replace('containFor: PT4H', 'containFor: PT9H'),
      'cases:\n  - name: contained\n    account: { environment: prod }\n' +
        '    leaves: { class: deleted, lastUsed: PT1H }\n' +
        '    expect: { decision: offer, disableAfter: PT4H }\n    terms: { hold: P1D }\n',
    )
    const { code, stdout } = await run('policy test rules')

    expect(code).toBe(1)
    expect(stdout).toContain('FAILED  contained')
    expect(stdout).toContain('disableAfter: expected PT4H, is PT9H')
    expect(stdout).toContain('hold: expected P1D, is P90D')
  })

  it.each([
    ['cases:\n  - name: a\n', /lifecycle\.yaml:2: cases.*expects nothing/],
    ['cases:\n  - { name: a, expect: { decision: none } }\n', /nobody leaves here/],
    ['cases:\n  - { name: a, term: { hold: P1D } }\n', /term.*unknown key/],
    ['cases:\n  - { name: a, leaves: { class: left }, terms: { hold: P1D } }\n', /class/],
    ['cases: []\n', /cases/],
  ])('refuses a case that could not fail, or is misspelt: %j', async (cases, sentence) => {
    await rules('', cases)
    const { code, stderr } = await run('policy test rules')

    expect(code).toBe(2)
    expect(stderr).toMatch(sentence)
  })
})
