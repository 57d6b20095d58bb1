import { CommandFailure, exitCodes } from '../terminal.ts'

/** Something that was found, as the server tells it. */
export interface Found {
  readonly external: string
  readonly name: string
  readonly kind: string
  readonly createdAt: string | null
  readonly lastUsedAt: string | null
  readonly keys: readonly { readonly keyId: string; readonly active: boolean }[]
  readonly vendor: string | null
  readonly managed: boolean
  readonly obstacle: string | null
  readonly owners: readonly {
    readonly id: string
    readonly userName: string
    readonly active: boolean
    readonly reason: string
  }[]
  readonly notes?: readonly string[]
}

/** One thing of a plan that a reviewer said yes to. */
export interface PlannedAdoption {
  readonly external: string
  readonly owner: string
  readonly userName: string
  readonly purpose: string
  readonly environment?: string
  readonly vendor?: string
  readonly expiresAt?: string
  readonly deliverTo?: string
  readonly labels?: readonly string[]
}

export const planFormat = 'import-plan/1'

/** Whole days, for people; null when it is not known since when. */
export function daysSince(instant: string | null, now: number): number | null {
  return instant === null ? null : Math.floor((now - Date.parse(instant)) / 86_400_000)
}

const head = `# What was found and is managed by nobody yet. Nothing happens by itself.
# For what is to be adopted: set "adopt: true", an owner (userName or id) and a purpose; the rest
# may stay empty (expiresAt: the policy's). Then run:  custody apply <this file>
# Adopting marks a thing as managed and changes nothing else about it.
`

/**
 * The plan as YAML that a person reviews: one entry for each thing, ordered by name, so that two
 * plans of the same state are equal; why somebody may be the owner stands beside it as a comment.
 * Every text is written as JSON writes it, which YAML reads alike, so that no name can mean anything.
 */
export function writePlan(provider: string, found: readonly Found[], now: number): string {
  const things = found
    .filter((thing) => !thing.managed && thing.obstacle === null)
    .toSorted((a, b) => compare(a.name, b.name) || compare(a.external, b.external))
  const entries = things.map((thing) => entryText(thing, now))
  const q = JSON.stringify
  const list = entries.length === 0 ? 'entries: []\n' : `entries:\n${entries.join('\n')}`
  return `${head}custody: ${planFormat}\nprovider: ${q(provider)}\n${list}`
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function entryText(thing: Found, now: number): string {
  const q = JSON.stringify
  const age = daysSince(thing.createdAt, now)
  const used = daysSince(thing.lastUsedAt, now)
  const facts = [
    thing.kind,
    age === null ? 'age unknown' : `${age} days old`,
    used === null ? 'no known use' : `last used ${used} days ago`,
    `${thing.keys.length} key(s), ${thing.keys.filter((k) => k.active).length} active`,
  ]
  const comments = [
    `${thing.name}: ${facts.join(', ')}`,
    ...thing.owners.map((o) => `maybe ${o.userName} (${o.id}): ${o.reason}`),
    ...(thing.notes ?? []),
  ]
  const best = thing.owners.find((o) => o.active)
  return [
    ...comments.map((text) => `  # ${oneLine(text)}`),
    `  - external: ${q(thing.external)}`,
    '    adopt: false',
    `    owner: ${q(best?.userName ?? '')}`,
    // Paths begin with a slash; a userName that does reads badly everywhere else.
    `    userName: ${q(thing.name.replace(/^\/+(?=.)/, ''))}`,
    '    purpose: ""',
    '    environment: ""',
    '    expiresAt: ""',
    `    vendor: ${q(thing.vendor ?? '')}`,
    '    deliverTo: ""',
    '',
  ].join('\n')
}

/** A comment ends with its line, whatever a name holds: nothing found may become a part of the plan. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, ' ')
}

const text = { type: 'string', maxLength: 4_096 }
const planSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['custody', 'provider', 'entries'],
  properties: {
    custody: { const: planFormat },
    provider: { type: 'string', minLength: 1 },
    entries: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['external', 'adopt'],
        properties: {
          external: { type: 'string', minLength: 1, maxLength: 4_096 },
          adopt: { type: 'boolean' },
          owner: text,
          userName: text,
          purpose: text,
          environment: text,
          expiresAt: text,
          vendor: text,
          deliverTo: text,
          labels: { type: 'array', items: text },
        },
      },
    },
  },
}

interface RawPlan {
  readonly provider: string
  readonly entries: readonly (Partial<PlannedAdoption> & {
    readonly external: string
    readonly adopt: boolean
  })[]
}

/**
 * Reads a reviewed plan.
 * @throws CommandFailure (usage) naming every problem with its line
 */
export async function readPlan(
  content: string,
  fileName: string,
): Promise<{ readonly provider: string; readonly adoptions: readonly PlannedAdoption[] }> {
  // Loaded when a plan is read: its checker would slow down every other command.
  const { checkShape, describeProblems, readYaml } = await import('../../document/document.ts')
  const yaml = readYaml(content)
  const problems = [...yaml.problems]
  if (problems.length === 0) problems.push(...checkShape(yaml.value, planSchema, yaml.lineOf))
  const adoptions: PlannedAdoption[] = []
  if (problems.length === 0) {
    const seen = new Set<string>()
    for (const [i, entry] of (yaml.value as RawPlan).entries.entries()) {
      const problem = (name: string, message: string) =>
        problems.push({
          path: `entries[${i}].${name}`,
          line: yaml.lineOf(['entries', i, name]),
          message,
        })
      if (seen.has(entry.external)) problem('external', 'stands here twice.')
      seen.add(entry.external)
      if (!entry.adopt) continue
      const { adopt: _adopt, ...rest } = entry
      if (!rest.owner) problem('owner', 'is needed to adopt it: a userName or an id.')
      if (!rest.purpose) problem('purpose', 'is needed to adopt it: what is it for?')
      const given = Object.entries(rest).filter(([, value]) => value !== '')
      adoptions.push(Object.fromEntries(given) as unknown as PlannedAdoption)
    }
  }
  if (problems.length > 0) {
    throw new CommandFailure(exitCodes.usage, describeProblems(fileName, problems))
  }
  return { provider: (yaml.value as RawPlan).provider, adoptions }
}
