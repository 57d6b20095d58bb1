import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { page as errorsPage } from '../../scripts/generate-errors.ts'
import { programFor } from '../../src/cli/main.ts'
import { packageRoot } from '../../src/host/home.ts'

const ownPages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'bench/README.md']
const below = (directory: string): readonly string[] =>
  readdirSync(path.join(packageRoot, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join(directory, name))
const pages = [...ownPages, ...below('docs'), ...below('providers')]
const texts = new Map(
  pages.map((page) => [page, readFileSync(path.join(packageRoot, page), 'utf8')]),
)

/** As GitHub makes the anchor of a heading. */
function anchorsOf(text: string): ReadonlySet<string> {
  const seen = new Map<string, number>()
  const anchors = new Set<string>()
  for (const [, title] of text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ +(.+)$/gm)) {
    const plain = title!.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').replaceAll(/[`*_]/g, '')
    const base = plain
      .trim()
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s-]/gu, '')
      .replaceAll(/\s/g, '-')
    const n = seen.get(base) ?? 0
    seen.set(base, n + 1)
    anchors.add(n === 0 ? base : `${base}-${n}`)
  }
  return anchors
}

function brokenLinks(page: string, text: string): readonly string[] {
  const outside = text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '')
  const links = [...outside.matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g)].map((m) => m[1]!)
  return links.flatMap((link) => {
    if (/^(https?:|mailto:)/.test(link)) return []
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? page : path.join(path.dirname(page), file)
    if (!existsSync(path.join(packageRoot, target))) return [`${page}: ${link} is not there`]
    if (anchor === undefined || statSync(path.join(packageRoot, target)).isDirectory()) return []
    const found = anchorsOf(
      texts.get(target) ?? readFileSync(path.join(packageRoot, target), 'utf8'),
    )
    return found.has(anchor) ? [] : [`${page}: ${link} has no such heading`]
  })
}

/** The command lines of a page's blocks, continued lines joined. */
function commandLines(text: string): readonly string[] {
  const blocks = [...text.matchAll(/^```(?:sh|console|bash|)\n([\s\S]*?)^```/gm)].map((m) => m[1]!)
  return blocks.flatMap((block) =>
    block
      .replaceAll(/\\\n\s*/g, ' ')
      .split('\n')
      .map((line) =>
        line
          .trim()
          .replace(/^\$ /, '')
          .replace(/^npm run -s custody -- /, 'custody '),
      )
      .flatMap((line) => line.split(/\s(?:\||&&|;)\s/))
      .map((part) => part.trim())
      .filter((part) => /^custody [a-z]/.test(part)),
  )
}

const tree = programFor(
  {
    env: {},
    cwd: packageRoot,
    stdout: () => undefined,
    stderr: () => undefined,
    columns: null,
    isInteractive: false,
    ask: () => Promise.reject(new Error('nobody is there to ask')),
  },
  () => undefined,
)

/** What of a command line does not exist; null when all of it does. */
function unknownIn(line: string): string | null {
  const words = line
    .replaceAll(/"[^"]*"|'[^']*'/g, 'X')
    .replace(/\s#.*$/, '')
    .split(/\s+/)
    .slice(1)
  let command: Command = tree
  for (const word of words) {
    if (word.startsWith('--')) {
      const name = word.split('=')[0]!
      const options = [...command.options, ...tree.options].map((o) => o.long)
      if (!options.includes(name) && name !== '--help')
        return `${name} of custody ${command.name()}`
      continue
    }
    const next = command.commands.find((c) => c.name() === word)
    if (next !== undefined) command = next
    else if (command.commands.length > 0 && /^[a-z-]+$/.test(word)) return `custody … ${word}`
  }
  return null
}

describe('the documentation', () => {
  it('lists every error of the catalogue, in its own words', () => {
    expect(texts.get('docs/reference/errors.md')).toBe(errorsPage)
  })

  it('has pages, and links that lead somewhere', () => {
    expect(pages.length).toBeGreaterThan(80)
    expect([...texts].flatMap(([page, text]) => brokenLinks(page, text))).toEqual([])
  })

  it('names commands and options that exist', () => {
    const lines = [...texts].flatMap(([page, text]) =>
      commandLines(text).map((line) => ({ page, line })),
    )
    expect(lines.length).toBeGreaterThan(80)
    const wrong = lines.flatMap(({ page, line }) => {
      const unknown = unknownIn(line)
      return unknown === null ? [] : [`${page}: ${line}: there is no ${unknown}`]
    })
    expect(wrong).toEqual([])
  })

  it('leads from its map to every page of the tutorial, the how-tos, explanations and references', () => {
    const map = texts.get('docs/README.md')!
    const missing = pages.filter(
      (page) =>
        /^docs\/(tutorial|how-to|explanation|reference)\//.test(page) &&
        !map.includes(`(${page.slice('docs/'.length)})`),
    )
    expect(missing).toEqual([])
  })

  it('notices a broken link, a missing heading and a command that is none', () => {
    expect(
      brokenLinks('README.md', '[a](docs/none.md) [b](README.md#no-such-heading)'),
    ).toHaveLength(2)
    expect(unknownIn('custody account lst')).not.toBeNull()
    expect(unknownIn('custody account list --no-such')).not.toBeNull()
    expect(unknownIn('custody account list --limit 5 # five')).toBeNull()
  })
})
