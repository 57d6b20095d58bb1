import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { compileLifecycle } from '../../src/policy/lifecycle.ts'
import type { TemplateChecks } from '../../src/policy/templates.ts'
import { loadTemplates } from '../../src/policy/templates.ts'

const policies = fileURLToPath(new URL('../../policies', import.meta.url))
const policy = compileLifecycle(
  await readFile(path.join(policies, 'lifecycle.yaml'), 'utf8'),
  'lifecycle.yaml',
)
const providers: TemplateChecks['providers'] = new Map([
  [
    'tokens',
    {
      capabilities: { 'api-token': {} },
      checkScopes: (_kind, scopes) => {
        const scope = scopes.find((s) => s.includes(' '))
        return scope === undefined ? null : { scope, reason: 'use no spaces.' }
      },
    },
  ],
])

const good = `name: ci
description: For builds.
provider: tokens
kind: api-token
scopes: [read]
`

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'custody-templates-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const write = (name: string, text: string) => writeFile(path.join(directory, name), text)
const refusal = () =>
  loadTemplates(directory, { policy, providers }).then(
    () => 'accepted',
    (error: Error) => error.message,
  )

describe('templates', () => {
  it('are read by file, with what was left out as nothing in particular', async () => {
    await write('b.yaml', good)
    await write('a.yml', `${good.replace('ci', 'long')}environments: [dev]\nlongestLife: P7D\n`)
    await write('README.md', 'not a template')

    expect(await loadTemplates(directory, { policy, providers })).toEqual([
      expect.objectContaining({ name: 'long', environments: ['dev'], longestLife: 604_800 }),
      expect.objectContaining({ name: 'ci', environments: [], groups: [], longestLife: null }),
    ])
    expect(await loadTemplates(path.join(directory, 'none'), { policy })).toEqual([])
  })

  it('that are shipped fit the policy that is', async () => {
    const shipped = await loadTemplates(path.join(policies, 'templates'), { policy, providers })
    expect(shipped.map((t) => t.name)).toEqual(['ci-token', 'ops-read'])
  })

  it.each([
    ['a life beyond the cap', `${good}longestLife: P400D\n`, /a\.yaml:6: longestLife: .* P365D/],
    ['a kind that is not issued', good.replace('api-token', 'password'), /:4: kind: .* api-token/],
    ['a scope that is refused', good.replace('read', 'a b'), /:5: scopes: "a b" .*no spaces/],
    ['a misspelt key', `${good}environment: [dev]\n`, /:6: environment: .*"environments"/],
    ['a month', `${good}longestLife: P1M\n`, /:6: longestLife: must be a duration/],
    ['an environment twice', `${good}environments: [dev, dev]\n`, /:6: environments: /],
    ['a name with a space', good.replace('ci', 'c i'), /:1: name: must be letters/],
    ['no description', good.replace('description: For builds.\n', ''), /description: is required/],
    ['no YAML', 'name: [', /a\.yaml:1: /],
  ])('refuse %s with file and line', async (_, text, said) => {
    await write('a.yaml', text)
    expect(await refusal()).toMatch(said)
  })

  it('name every problem of every file at once, the same name in two among them', async () => {
    await write('a.yaml', good)
    await write('b.yaml', good)
    await write('c.yaml', good.replace('read', 'a b'))
    const said = await refusal()

    expect(said).toMatch(/b\.yaml:1: name: "ci" is the name of .*a\.yaml too/)
    expect(said).toMatch(/c\.yaml:5: scopes/)
  })

  it('of a provider that is not connected are held against the policy alone', async () => {
    const elsewhere = good.replace('tokens', 'aws-prod').replace('api-token', 'access-key')
    await write('a.yaml', elsewhere)
    expect(await refusal()).toBe('accepted')
    await write('a.yaml', `${elsewhere}longestLife: P400D\n`)
    expect(await refusal()).toMatch(/longestLife/)
  })
})
