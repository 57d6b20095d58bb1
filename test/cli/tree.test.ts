import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { command, currentPage, page } from '../../scripts/generate-cli.ts'
import { commandsOf } from '../../src/cli/completion.ts'
import { examples } from '../../src/cli/examples.ts'
import { examplesOf } from '../../src/cli/help.ts'
import { main, programFor } from '../../src/cli/main.ts'
import { mutations, wordsOf } from '../../src/cli/mutations.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

function terminalTo(write: (text: string) => void): Terminal {
  return {
    env: {},
    cwd: '/nonexistent',
    stdout: write,
    stderr: write,
    columns: null,
    isInteractive: false,
    ask: () => Promise.reject(new Error('nobody is there to ask')),
  }
}

async function run(...args: readonly string[]) {
  let text = ''
  const code = await main(
    args,
    terminalTo((part) => (text += part)),
  )
  return { code, text }
}

const tree = commandsOf(
  programFor(
    terminalTo(() => undefined),
    () => undefined,
  ),
)
const byWords = new Map(tree.map((command) => [wordsOf(command), command]))

describe('completion', () => {
  let scripts: Record<string, string> = {}
  beforeAll(async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      scripts[shell] = (await run('completion', shell)).text
    }
  })

  it('completes in a real bash: nouns, verbs, options, choices', async () => {
    const lines = [
      'acc',
      'account dis',
      'account disable --r',
      'client create --role ',
      'sweep run r',
    ]
    const probe = lines.map(
      (line) =>
        `COMP_WORDS=(custody ${line.replace(/ $/, " ''")}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _custody; echo "\${COMPREPLY[*]}"`,
    )

    const { stdout } = await promisify(execFile)('bash', [
      '-c',
      `${scripts['bash']}\n${probe.join('\n')}`,
    ])

    const [noun, verb, option, role, sweep] = stdout.split('\n')
    expect([noun, verb, option, sweep]).toEqual([
      'account',
      'disable',
      '--reason',
      'rotation reconcile',
    ])
    expect(role!.split(' ')).toContain('directory')
  })

  it.each(['bash', 'zsh', 'fish'])('knows every command and every option in %s', (shell) => {
    const flag = shell === 'fish' ? (long: string) => `-l ${long.slice(2)}` : (long: string) => long
    const missing = tree.flatMap((command) =>
      [`'${wordsOf(command)}'`, ...command.options.map((o) => flag(o.long!))].filter(
        (text) => text !== "''" && !scripts[shell]!.includes(text),
      ),
    )

    expect(missing).toEqual([])
  })
})

describe('the tree of commands', () => {
  it('has every verb that changes something, and a plan for each', () => {
    const missing = Object.keys(mutations).filter(
      (words) => !byWords.get(words)?.options.some(({ long }) => long === '--dry-run'),
    )

    expect(missing).toEqual([])
  })

  it('tells of each command what it does, how it is called, and how it may end', async () => {
    const called = tree.slice(1).filter((c) => c.commands.length === 0)

    const without = called.filter((command) => examplesOf(command).length === 0).map(wordsOf)
    const { text } = await run('account', 'disable', '--help')

    expect(without).toEqual([])
    expect(tree.filter((command) => command.description() === '').map(wordsOf)).toEqual([])
    expect(text).toMatch(/Examples:\n {2}custody account disable ci-deployer/)
    expect(text).toMatch(
      /Exit codes:[^]* 5 {2}something changed[^]*Environment:\n {2}CUSTODY_SERVER/,
    )
  })

  it('parses every one of its own examples', async () => {
    const program = programFor(
      terminalTo(() => undefined),
      () => undefined,
    )
    const called: string[] = []
    for (const command of commandsOf(program)) {
      command.action(() => void called.push(wordsOf(command)))
    }
    const lines = commandsOf(program).flatMap((command) =>
      (examples[wordsOf(command)] ?? []).map((line) => ({ line, words: wordsOf(command) })),
    )

    for (const { line } of lines) {
      const args = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, q, w]) => q ?? w!)
      await program.parseAsync(args.slice(1), { from: 'user' })
    }

    expect(called).toEqual(lines.map(({ words }) => words))
  })

  it('is what docs/reference/cli.md says', () => {
    expect(currentPage() === page(), `it is not current; run ${command}`).toBe(true)
  })

  it.each([
    [['acount', 'list'], 'account'],
    [['account', 'lsit'], 'list'],
    [['account', 'list', '--limt', '3'], '--limit'],
    [['help', 'acount'], 'account'],
  ])('suggests the nearest word for %j', async (args, nearest) => {
    const { code, text } = await run(...args)

    expect(code).toBe(2)
    expect(text).toContain(`Did you mean ${nearest}?`)
  })
})
