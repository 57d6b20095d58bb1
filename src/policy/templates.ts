import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { checkShape, describeProblems, type Problem, readYaml } from '../document/document.ts'
import type { CredentialKind } from '../domain/credential.ts'
import { errors } from '../domain/errors.ts'
import { formatDuration, parseDuration, type Seconds } from '../domain/time.ts'
import type { LifecyclePolicy } from './lifecycle.ts'

/** A word of the request vocabulary: what a team may ask for by name. */
export interface Template {
  readonly name: string
  readonly description: string
  readonly provider: string
  readonly kind: CredentialKind
  readonly scopes: readonly string[]
  /** Of the accounts that may have it; empty = any. */
  readonly environments: readonly string[]
  /** Groups, by id or displayName, whose members have these scopes on top (`scopesFrom`). */
  readonly groups: readonly string[]
  readonly longestLife: Seconds | null
}

interface RawTemplate extends Omit<Template, 'environments' | 'groups' | 'longestLife'> {
  readonly environments?: readonly string[]
  readonly groups?: readonly string[]
  readonly longestLife?: string
}

/** What a template is held against, where it is known: a directory alone has no providers. */
export interface TemplateChecks {
  readonly policy: LifecyclePolicy
  readonly providers?: ReadonlyMap<
    string,
    {
      readonly capabilities: Readonly<Partial<Record<CredentialKind, unknown>>>
      checkScopes(
        kind: CredentialKind,
        scopes: readonly string[],
      ): { readonly scope: string; readonly reason: string } | null
    }
  >
}

const text = { type: 'string', minLength: 1, maxLength: 512 }
const list = { type: 'array', uniqueItems: true, maxItems: 100, items: text }
const kinds: readonly CredentialKind[] = [
  'api-token',
  'access-key',
  'federated-role',
  'deploy-key',
  'app-token',
  'password',
  'manual',
]

const shape = {
  type: 'object',
  additionalProperties: false,
  required: ['name', 'description', 'provider', 'kind', 'scopes'],
  properties: {
    name: {
      type: 'string',
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
      description:
        'must be letters, digits, ".", "_" and "-", at most 64, beginning with a letter or digit.',
    },
    description: text,
    provider: text,
    kind: { enum: kinds },
    scopes: list,
    environments: list,
    groups: list,
    longestLife: { type: 'string', format: 'positive-duration' },
  },
}

/**
 * Reads `templates/*.yaml` of a policy directory; without that directory there are no templates.
 * @throws policyInvalid naming every problem of every file with its line
 */
export async function loadTemplates(
  directory: string,
  checks: TemplateChecks,
): Promise<readonly Template[]> {
  const files = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw errors.policyInvalid({ problems: `${directory}: cannot be read.` }, { cause: error })
  })
  const read = new Map<string, { readonly template: Template; readonly file: string }>()
  const problems: string[] = []
  for (const name of files.filter((f) => /\.ya?ml$/.test(f)).toSorted()) {
    const file = path.join(directory, name)
    const source = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw errors.policyInvalid({ problems: `${file}: cannot be read.` }, { cause })
    })
    const { template, problems: own } = readTemplate(source, checks)
    const other = template && read.get(template.name)
    const duplicate: readonly Problem[] = other
      ? [{ path: 'name', line: 1, message: `"${template.name}" is the name of ${other.file} too.` }]
      : []
    const found = describeProblems(file, [...own, ...duplicate])
    if (found !== '') problems.push(found)
    else if (template) read.set(template.name, { template, file })
  }
  if (problems.length > 0) throw errors.policyInvalid({ problems: problems.join('\n') })
  return [...read.values()].map(({ template }) => template)
}

function readTemplate(
  source: string,
  checks: TemplateChecks,
): { readonly template: Template | null; readonly problems: readonly Problem[] } {
  const yaml = readYaml(source)
  if (yaml.problems.length > 0) return { template: null, problems: yaml.problems }
  const misshapen = checkShape(yaml.value, shape, yaml.lineOf)
  if (misshapen.length > 0) return { template: null, problems: misshapen }
  const raw = yaml.value as RawTemplate
  const template: Template = {
    ...raw,
    environments: raw.environments ?? [],
    groups: raw.groups ?? [],
    longestLife: raw.longestLife === undefined ? null : parseDuration(raw.longestLife),
  }
  const problems = contradictions(template, checks).map(({ path: at, message }) => ({
    path: at,
    line: yaml.lineOf([at]),
    message,
  }))
  return { template, problems }
}

/** What would be refused each time somebody asked for it is refused when it is written down. */
function contradictions(
  template: Template,
  { policy, providers }: TemplateChecks,
): readonly { readonly path: string; readonly message: string }[] {
  const { provider, kind, scopes, environments, longestLife } = template
  const found: { readonly path: string; readonly message: string }[] = []
  for (const environment of environments.length === 0 ? [null] : environments) {
    const subject = { environment, labels: [], imported: false }
    const { cap } = policy.termsFor(subject).expiry
    const { require } = policy.termsFor({ ...subject, provider, kind })
    const where = environment === null ? '' : ` in "${environment}"`
    if (longestLife !== null && longestLife > cap) {
      const message = `${formatDuration(longestLife)} is longer than the policy lets an account live${where}, ${formatDuration(cap)}.`
      found.push({ path: 'longestLife', message })
    }
    if (require.length > 0 && !require.includes(kind)) {
      const message = `the policy requires ${require.join(' or ')} of "${provider}"${where}.`
      found.push({ path: 'kind', message })
    }
  }
  // Of a provider that is not configured here it is not offered: the examples must keep nobody from
  // starting who calls theirs by another name.
  const at = providers?.get(provider)
  if (!at) return found
  if (at.capabilities[kind] === undefined) {
    const known = Object.keys(at.capabilities).join(', ')
    return [
      ...found,
      { path: 'kind', message: `is not issued by "${provider}"; it issues: ${known}.` },
    ]
  }
  const refused = at.checkScopes(kind, scopes)
  if (refused) {
    found.push({ path: 'scopes', message: `"${refused.scope}" is refused: ${refused.reason}` })
  }
  return found
}
