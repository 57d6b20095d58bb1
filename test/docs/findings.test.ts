import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { findingKinds } from '../../src/domain/finding.ts'

const page = readFileSync(new URL('../../docs/reference/findings.md', import.meta.url), 'utf8')

it('docs/reference/findings.md explains each kind of finding, and no other', () => {
  const [, kinds = ''] = page.split('## The kinds\n')
  const [table = ''] = kinds.split('\n## ')
  const explained = [...table.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, kind]) => kind!)

  expect(explained).toHaveLength(findingKinds.length)
  expect(new Set(explained)).toEqual(new Set<string>(findingKinds))
})

it('docs/reference/findings.md names each reason for which an inventory is not believed', () => {
  const [, doubts = ''] = page.split('## When an inventory is not believed\n')

  for (const reason of ['shrunk', 'massDisabled', 'listingIncomplete', 'throttled', 'denied']) {
    expect(doubts).toContain(`\`${reason}\``)
  }
})
