import { visible } from '../../host/visible.ts'
import { CommandFailure, type ExitCode, exitCodes, type Row } from '../terminal.ts'
import { confirm, printJson, type Session } from '../command.ts'

export const directoryPlanFormat = 'directory-plan/1'

/** Somebody whom the directory says is gone, as a check lists them. */
export interface Leaver {
  readonly id: string
  readonly userName: string
  readonly since: string | null
  readonly by: string
}

export interface Plan {
  readonly directory: string
  readonly check: string
  /** Ids of those who are to be declared gone. */
  readonly leave: readonly string[]
}

const head = `# People whom the directory says are gone, and who are active in Custody. Nothing happens by itself.
# Take out whoever is to stay. Then run:  custody apply <this file>
# Good for a day, and until the directory is checked again.
`

/** Every text is written as JSON writes it, which YAML reads alike, so that no name can mean anything. */
export function writeDirectoryPlan(
  directory: string,
  check: string,
  leavers: readonly Leaver[],
): string {
  const q = JSON.stringify
  const entries = leavers.map(
    ({ id, userName, since, by }) =>
      `  - { id: ${q(id)}, userName: ${q(userName)}, since: ${q(since ?? '')}, matchedBy: ${by} }`,
  )
  const list = entries.length === 0 ? 'leave: []\n' : `leave:\n${entries.join('\n')}\n`
  return `${head}custody: ${directoryPlanFormat}\ndirectory: ${q(directory)}\ncheck: ${q(check)}\n${list}`
}

export function isDirectoryPlan(content: string): boolean {
  return new RegExp(`^custody:\\s*["']?${directoryPlanFormat}["']?\\s*$`, 'm').test(content)
}

const id = { type: 'string', minLength: 1, maxLength: 64 }
const text = { type: 'string', maxLength: 1_024 }
const planSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['custody', 'directory', 'check', 'leave'],
  properties: {
    custody: { const: directoryPlanFormat },
    directory: { type: 'string', minLength: 1 },
    check: id,
    leave: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['id'],
        properties: { id, userName: text, since: text, matchedBy: text },
      },
    },
  },
}

/** @throws CommandFailure (usage) naming every problem with its line */
export async function readDirectoryPlan(content: string, fileName: string): Promise<Plan> {
  // Loaded when a plan is read: its checker would slow down every other command.
  const { checkShape, describeProblems, readYaml } = await import('../../document/document.ts')
  const yaml = readYaml(content)
  const shape = yaml.problems.length > 0 ? [] : checkShape(yaml.value, planSchema, yaml.lineOf)
  const problems = [...yaml.problems, ...shape]
  if (problems.length > 0) {
    throw new CommandFailure(exitCodes.usage, describeProblems(fileName, problems))
  }
  const { directory, check, leave } = yaml.value as Omit<Plan, 'leave'> & {
    readonly leave: readonly { readonly id: string }[]
  }
  return { directory, check, leave: leave.map((entry) => entry.id) }
}

export interface ApplyOptions {
  readonly yes?: boolean
  readonly confirmCount?: string
}

export async function applyDirectoryPlan(
  session: Session<ApplyOptions>,
  content: string,
  fileName: string,
): Promise<ExitCode> {
  return applyLeavers(session, await readDirectoryPlan(content, fileName))
}

/** Declares them gone after a confirmation, and tells what became of each. */
export async function applyLeavers(
  session: Session<ApplyOptions>,
  { directory, check, leave }: Plan,
): Promise<ExitCode> {
  const { api, options, terminal } = session
  if (leave.length === 0) {
    terminal.stderr('Nobody is to be declared gone.\n')
    return exitCodes.ok
  }
  const question = `${leave.length} person(s) are declared gone now; all that hangs on them is switched off or handed over.`
  await confirm(question, options, terminal)
  const confirmed = options.confirmCount
  if (confirmed !== undefined && !/^\d{1,9}$/.test(confirmed)) {
    throw new CommandFailure(exitCodes.usage, '--confirm-count must be a whole number.')
  }
  // Who answered the question has read the number in it.
  const count = confirmed === undefined ? (options.yes ? null : leave.length) : Number(confirmed)
  const route = `/api/v1/directories/${encodeURIComponent(directory)}/check/apply`
  const { body } = await api.send('POST', route, {
    check,
    people: leave,
    ...(count === null ? {} : { confirmCount: count }),
  })
  const { items } = body as { readonly items: readonly Row[] }
  const of = (outcome: string) => items.filter((item) => item['outcome'] === outcome)
  if (options.json) printJson(body, terminal)
  else {
    for (const { userName, outcome, error } of [...of('changed'), ...of('failed')]) {
      const why = outcome === 'changed' ? 'was written since the check; check again.' : error
      terminal.stderr(`${visible(String(userName))}: ${visible(String(why))}\n`)
    }
    terminal.stdout(
      `${of('left').length} declared gone, ${of('already').length} gone already, ${of('changed').length} changed since, ${of('failed').length} failed\n`,
    )
  }
  const left = of('changed').length + of('failed').length
  if (left === 0) return exitCodes.ok
  return left < items.length ? exitCodes.partial : exitCodes.failed
}
