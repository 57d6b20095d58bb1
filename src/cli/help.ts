import type { Command } from 'commander'
import { examples } from './examples.ts'
import { mutations, wordsOf } from './mutations.ts'

/** What the exit codes mean (contract §7), in their order. */
export const exitMeanings = [
  [0, 'done, or queued'],
  [1, 'failed, or not confirmed'],
  [2, 'used or configured wrongly'],
  [3, 'not found'],
  [4, 'not allowed'],
  [5, 'something changed, or another request was first'],
  [6, 'done in part'],
  [7, 'waits for approval'],
  [8, 'a provider refused or could not be reached'],
  [9, 'not intact'],
  [130, 'interrupted'],
] as const

/** Codes beyond those that every command of its kind may end with. */
const further: Readonly<Record<string, readonly number[]>> = {
  'approval approve': [7],
  'approval deny': [7],
  apply: [3, 5, 6, 8, 9],
  'audit verify': [9],
  'backup restore': [9],
  'backup verify': [9],
  'db migrate': [9],
  'directory check': [6],
  eject: [6],
  'leak report': [6, 7, 8],
  'operation watch': [5, 6, 8],
  'owner move': [6],
  'provider check': [8],
  'provider import': [5, 6, 8],
  serve: [9],
  'sweep run': [6],
  undo: [6],
}

const longs = (command: Command) => new Set(command.options.map(({ long }) => long))

/** The exit codes that matter to whoever calls this command in a script. */
export function exitCodesOf(command: Command): readonly number[] {
  const words = wordsOf(command)
  const options = longs(command)
  const codes = new Set([0, 1, 2, ...(further[words] ?? [])])
  if (options.has('--server')) codes.add(4)
  if (options.has('--server') && command.registeredArguments.length > 0) codes.add(3)
  if (Object.hasOwn(mutations, words)) codes.add(5)
  if (options.has('--wait')) for (const code of [5, 6, 8]) codes.add(code)
  if (options.has('--watch') || options.has('--wait') || words === 'serve') codes.add(130)
  return [...codes].toSorted((a, b) => a - b)
}

/** What wins over the configuration file, each also as `…_FILE`. */
export const configured = [
  'CUSTODY_STORE_URL',
  'CUSTODY_LISTEN',
  'CUSTODY_PUBLIC_URL',
  'CUSTODY_LOG_LEVEL',
  'CUSTODY_MASTER_KEY',
] as const

/** Variables of the environment that change what it does. */
export function environmentOf(command: Command): readonly string[] {
  const options = longs(command)
  return [
    ...(options.has('--server') ? ['CUSTODY_SERVER', 'CUSTODY_TOKEN'] : []),
    ...(options.has('--config') ? ['CUSTODY_CONFIG', ...configured] : []),
    'CUSTODY_HOME',
    ...(options.has('--json') ? ['NO_COLOR'] : []),
  ]
}

/** Its own examples; of a noun one of each verb, as far as three. */
export function examplesOf(command: Command): readonly string[] {
  const own = examples[wordsOf(command)] ?? []
  if (own.length > 0 || command.commands.length === 0) return own
  return command.commands.flatMap((verb) => examplesOf(verb).slice(0, 1)).slice(0, 3)
}

/** Adds to every command below the sections that a manual page has. */
export function describeTree(program: Command): void {
  for (const command of program.commands) {
    command.addHelpText('after', () => sections(command))
    describeTree(command)
  }
}

function sections(command: Command): string {
  const meaning = new Map<number, string>(exitMeanings)
  const lines = (title: string, list: readonly string[]) =>
    list.length === 0 ? [] : ['', `${title}:`, ...list.map((line) => `  ${line}`)]
  const isCalled = command.commands.length === 0 || Object.hasOwn(examples, wordsOf(command))
  return [
    ...lines('Examples', examplesOf(command)),
    ...(isCalled
      ? [
          ...lines(
            'Exit codes',
            exitCodesOf(command).map((code) => `${String(code).padStart(3)}  ${meaning.get(code)}`),
          ),
          ...lines('Environment', [environmentOf(command).join(', ')]),
        ]
      : []),
  ].join('\n')
}
