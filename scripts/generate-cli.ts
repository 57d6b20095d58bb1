// Prints docs/reference/cli.md from the tree of commands. `--check` only compares, exit code 1.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Command, Option } from 'commander'
import { commandsOf } from '../src/cli/completion.ts'
import {
  configured,
  environmentOf,
  examplesOf,
  exitCodesOf,
  exitMeanings,
} from '../src/cli/help.ts'
import { programFor } from '../src/cli/main.ts'
import { wordsOf } from '../src/cli/mutations.ts'
import { environmentNames } from '../src/host/config.ts'

const file = path.resolve(import.meta.dirname, '../docs/reference/cli.md')
export const command = 'node scripts/generate-cli.ts'

// The help has a list of its own: it starts without what reads configurations.
const differing = environmentNames.filter((name, i) => `CUSTODY_${name}` !== configured[i])
if (differing.length > 0) throw new Error(`src/cli/help.ts lacks ${differing.join(', ')}`)

const shared = ['--server', '--token-file', '--json']
const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;')

function optionRow(option: Option): string {
  const notes = [
    option.description,
    option.mandatory ? 'required' : '',
    option.argChoices ? `one of: ${option.argChoices.join(', ')}` : '',
    option.defaultValue === undefined ? '' : `default: ${String(option.defaultValue)}`,
  ]
  return `| \`${option.flags.replaceAll('|', '\\|')}\` | ${cell(notes.filter(Boolean).join('; '))} |`
}

function section(at: Command): string {
  const words = wordsOf(at)
  const places = at.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`
    return argument.required ? `<${name}>` : `[${name}]`
  })
  const own = at.options.filter(({ long }) => !shared.includes(long ?? ''))
  const isApi = at.options.some(({ long }) => long === '--server')
  return [
    `## custody ${words}`,
    `${at.description()}.`.replace(/^./, (letter) => letter.toUpperCase()),
    `\`\`\`\n${[`custody ${words}`, ...places, '[options]'].join(' ')}\n\n${examplesOf(at).join('\n')}\n\`\`\``,
    ...(own.length > 0 ? [`| option | |\n| --- | --- |\n${own.map(optionRow).join('\n')}`] : []),
    `${isApi ? 'Talks to the server. ' : ''}Exit codes: ${exitCodesOf(at).join(', ')}. Environment: ${environmentOf(
      at,
    )
      .map((name) => `\`${name}\``)
      .join(', ')}.`,
  ].join('\n\n')
}

const intro = `# The command line
<!-- Printed by scripts/generate-cli.ts from the tree of commands; edit those. -->
Noun, then verb. Data goes to stdout, messages to stderr. \`custody help <words>\` and \`--help\` tell the same as this page; \`source <(custody completion bash)\` completes it in a shell (zsh and fish too).

**Server and token.** Commands that talk to the server take \`--server <url>\` (\`CUSTODY_SERVER\`) and \`--token-file <file>\` (\`CUSTODY_TOKEN\` holds the token itself); without them they use what a local server left in its home. \`--json\` prints JSON.

**Written down first.** What changes something takes \`--dry-run\`, which writes a plan and changes nothing: what would be sent, and what that hits. \`custody apply PLAN\` does it, unless something changed since (exit code 5), and does nothing twice. A plan is good for a day. Why it is so: [0036](../decisions/0036-plans-of-actions.md).

**Confirmed.** What takes something away shows what it hits and asks for its name to be typed; nothing is asked when nothing would stop working. Without a terminal it needs \`--yes\`; \`--confirm-count N\` refuses unless so many accounts are hit.

| exit code | |
| --- | --- |
${exitMeanings.map(([code, meaning]) => `| ${code} | ${meaning} |`).join('\n')}`

/** The page as it should be. */
export function page(): string {
  const nowhere = () => undefined
  const program = programFor(
    {
      env: {},
      cwd: '/',
      stdout: nowhere,
      stderr: nowhere,
      columns: null,
      isInteractive: false,
      ask: () => Promise.resolve(''),
    },
    nowhere,
  )
  const called = commandsOf(program).filter(
    (at) => at !== program && (at.commands.length === 0 || examplesOf(at).length > 3 || hasOwn(at)),
  )
  return `${[intro, ...called.map(section)].join('\n\n')}\n`
}

/** \`report PERSON\` and \`doctor\` are called themselves and have verbs below them. */
function hasOwn(at: Command): boolean {
  return examplesOf(at).some((line) => {
    const rest =
      line
        .slice(`custody ${wordsOf(at)}`.length)
        .trim()
        .split(' ')[0] ?? ''
    return !at.commands.some((verb) => verb.name() === rest)
  })
}

export function currentPage(): string {
  return readFileSync(file, 'utf8')
}

if (import.meta.main) {
  if (!process.argv.includes('--check')) writeFileSync(file, page())
  else if (currentPage() !== page()) {
    process.stderr.write(`docs/reference/cli.md is not current: run ${command}.\n`)
    process.exitCode = 1
  }
}
