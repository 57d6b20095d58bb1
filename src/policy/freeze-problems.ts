import { dotted, type Problem, type Step, type YamlText } from '../document/document.ts'
import type { RawDocument } from './lifecycle-document.ts'
import { neverOpens, type RawWindow, readWindow } from './windows.ts'

/** What is wrong with the freeze windows of a policy, each with the line that says it. */
export function freezeProblems(raw: RawDocument, yaml: YamlText): readonly Problem[] {
  const lists: (readonly [path: readonly Step[], windows: unknown])[] = [
    [['defaults', 'freeze'], raw.defaults['freeze']],
    ...(raw.rules ?? []).map(
      (rule, i) => [['rules', i, 'set', 'freeze'], rule.set['freeze']] as const,
    ),
  ]
  return lists.flatMap(([path, windows]) =>
    windows === undefined ? [] : problemsOf(path, windows as readonly RawWindow[], yaml),
  )
}

function problemsOf(
  path: readonly Step[],
  raw: readonly RawWindow[],
  yaml: YamlText,
): readonly Problem[] {
  const at = (steps: readonly Step[], message: string): Problem => ({
    path: dotted(steps),
    line: yaml.lineOf(steps),
    message,
  })
  const problems = raw.flatMap((entry, i) => {
    const read = readWindow(entry)
    const again = raw.findIndex(({ name }) => name === entry.name) !== i
    return [
      ...('kind' in read ? [] : [at([...path, i, read.field], read.problem)]),
      ...(again ? [at([...path, i, 'name'], `"${entry.name}" names an earlier window too.`)] : []),
    ]
  })
  if (problems.length > 0) return problems
  const windows = raw.map(readWindow).filter((w) => 'kind' in w)
  return neverOpens(windows)
    ? [at(path, 'leaves no moment of the week open: nothing planned would ever be done.')]
    : []
}
