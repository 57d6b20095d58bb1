import type { Command, Option } from 'commander'
import { wordsOf } from './mutations.ts'

export type Shell = 'bash' | 'zsh' | 'fish'

/** What can follow the words of one command. */
interface Place {
  readonly words: string
  readonly verbs: readonly { readonly name: string; readonly description: string }[]
  readonly options: readonly Suggested[]
  /** Of its first argument; null when it is none of a few. */
  readonly choices: readonly string[]
  readonly takesFile: boolean
}

interface Suggested {
  readonly flag: string
  readonly short: string | null
  readonly description: string
  readonly value: 'none' | 'file' | 'text'
  readonly choices: readonly string[]
}

const files = ['file', 'plan', 'directory']

/** Every command of the tree, each before those below it. */
export function commandsOf(command: Command): readonly Command[] {
  return [command, ...command.commands.flatMap(commandsOf)]
}

function placeOf(command: Command): Place {
  const argument = command.registeredArguments[0]
  return {
    words: wordsOf(command),
    verbs: command.commands.map((c) => ({ name: c.name(), description: c.description() })),
    options: [...command.options.flatMap(suggested), help],
    choices: argument?.argChoices ?? [],
    takesFile: argument !== undefined && files.includes(argument.name()),
  }
}

const help: Suggested = {
  flag: '--help',
  short: '-h',
  description: 'how it is used',
  value: 'none',
  choices: [],
}

function suggested(option: Option): readonly Suggested[] {
  if (!option.long || option.hidden) return []
  const argument = /[<[]([a-z]+)/i.exec(option.flags)?.[1]
  return [
    {
      flag: option.long,
      short: option.short ?? null,
      description: option.description,
      value: argument === undefined ? 'none' : files.includes(argument) ? 'file' : 'text',
      choices: option.argChoices ?? [],
    },
  ]
}

/** The script that a shell reads to complete command lines; made of the commands there are. */
export function completionScript(program: Command, shell: Shell): string {
  const places = commandsOf(program).map(placeOf)
  switch (shell) {
    case 'bash':
      return bash(places)
    case 'zsh':
      return zsh(places)
    case 'fish':
      return fish(places)
  }
}

/** What bash and zsh read alike: which words lead where, and what can follow there. */
function cases(places: readonly Place[]): string {
  const known = places.filter((place) => place.words !== '').map((place) => quoted(place.words))
  const values = places.flatMap(({ words, options }) =>
    options.flatMap(({ flag, value, choices }) =>
      value === 'none'
        ? []
        : [
            `    ${quoted(`${words} ${flag}`.trim())}) list=${quoted(choices.join(' '))} file=${value === 'file' ? 1 : 0} ;;`,
          ],
    ),
  )
  const follow = places.map(
    ({ words, verbs, options, choices, takesFile }) =>
      `      ${quoted(words)}) list=${quoted([...verbs.map((v) => v.name), ...choices].join(' '))} flags=${quoted(options.map((o) => o.flag).join(' '))} file=${takesFile ? 1 : 0} ;;`,
  )
  return `  case "$next" in
    ${known.join(' | ')}) at=$next ;;
  esac
  done
  case "$at\${at:+ }$prev" in
${values.join('\n')}
    *)
      case "$at" in
${follow.join('\n')}
      esac
      case "$cur" in
        -*) list=$flags file=0 ;;
      esac ;;
  esac`
}

function bash(places: readonly Place[]): string {
  return `# Completion of custody for bash: source <(custody completion bash)
_custody() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]}
  local at='' next='' list='' flags='' file=0 i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
  next="$at\${at:+ }\${COMP_WORDS[i]}"
${cases(places)}
  COMPREPLY=($(compgen -W "$list" -- "$cur"))
  if [ "$file" = 1 ]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY+=($(compgen -f -- "$cur"))
  fi
}
complete -F _custody custody
`
}

/** In zsh \`path\` and \`words\` have meanings of their own, and an unquoted variable is one word. */
function zsh(places: readonly Place[]): string {
  return `#compdef custody
# Completion of custody for zsh: source <(custody completion zsh), after compinit
_custody() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT-1]}
  local at='' next='' list='' flags='' file=0 i
  for ((i = 2; i < CURRENT; i++)); do
  next="$at\${at:+ }\${words[i]}"
${cases(places)}
  compadd -- \${=list}
  if [ "$file" = 1 ]; then
    _files
  fi
}
compdef _custody custody
`
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ words, verbs, options, choices, takesFile }) => {
    const at = `complete -c custody -n ${quoted(`__custody_at ${quotedInside(words)}`)}`
    return [
      ...(takesFile ? [`${at} -F`] : []),
      ...verbs.map((v) => `${at} -a ${v.name} -d ${fishQuoted(v.description)}`),
      ...(choices.length > 0 ? [`${at} -a ${fishQuoted(choices.join(' '))}`] : []),
      ...options.map(({ flag, short, description, value, choices: of }) => {
        const letter = short ? ` -s ${short.slice(1)}` : ''
        const takes = value === 'none' ? '' : value === 'file' ? ' -r -F' : ' -x'
        const list = of.length > 0 ? ` -a ${fishQuoted(of.join(' '))}` : ''
        return `${at}${letter} -l ${flag.slice(2)}${takes}${list} -d ${fishQuoted(description)}`
      }),
    ]
  })
  return `# Completion of custody for fish: custody completion fish | source
set -g __custody_words ${places.flatMap((p) => (p.words === '' ? [] : [quoted(p.words)])).join(' ')}
function __custody_at
    set -l at ''
    for word in (commandline -opc)[2..-1]
        set -l next (string trim -- "$at $word")
        contains -- "$next" $__custody_words; and set at $next
    end
    test "$at" = "$argv[1]"
end
complete -c custody -f
${lines.join('\n')}
`
}

/** Words of the tree hold letters, digits and dashes only. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function quotedInside(text: string): string {
  return `"${text}"`
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
