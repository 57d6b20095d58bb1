import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import {
  type CedarValueJson,
  checkParsePolicySet,
  checkParseSchema,
  type DetailedError,
  type EntityJson,
  policySetTextToParts,
  policyToJson,
  preparsePolicySet,
  preparseSchema,
  statefulIsAuthorized,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs'
import { describeProblems, type Problem } from '../document/document.ts'
import type { Decision } from '../domain/audit.ts'
import type { Role } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import { assertNever } from '../domain/json.ts'

export const actions = [
  'person.create',
  'person.update',
  'person.delete',
  'group.create',
  'group.update',
  'group.delete',
  'account.request',
  'account.update',
  'account.disable',
  'account.enable',
  'account.retire',
  'account.transfer',
  'account.passAtOnce',
  'account.protect',
  'account.certify',
  'account.eject',
  'transfer.accept',
  'transfer.decline',
  'credential.request',
  'credential.update',
  'credential.rotate',
  'credential.revoke',
  'owner.leave',
  'owner.impact',
  'approval.read',
  'approval.decide',
  'brake.read',
  'brake.release',
  'sweep.run',
  'sweep.plan',
  'finding.accept',
  'finding.adopt',
  'finding.revert',
  'provider.read',
  'provider.check',
  'provider.suspend',
  'provider.resume',
  'operation.read',
  'operation.retry',
  'operation.cancel',
  'client.create',
  'client.read',
  'client.revoke',
  'leak.report',
  'seal.rotate',
  'scimRequest.replay',
  'scimRequest.signOff',
  'directory.move',
  'event.undo',
  'token.introspect',
  'audit.read',
  'report.read',
  'provider.discover',
  'provider.adopt',
  'vendor.close',
  'task.read',
  'task.evidence',
  'task.reopen',
  'consumer.seen',
  'consumer.waive',
  'hook.secret',
  'directory.check',
  'directory.apply',
] as const
export type Action = (typeof actions)[number]

export type AuthoriseResourceType =
  | 'person'
  | 'group'
  | 'account'
  | 'credential'
  | 'operation'
  | 'client'
  | 'sweep'
  | 'approval'
  | 'brake'
  | 'finding'
  | 'provider'
  | 'task'
  | 'audit'
  | 'token'
  | 'tenant'

export interface AuthoriseActor {
  readonly id: string
  readonly role: Role
  readonly tenant: string
  /** Role `directory` only. */
  readonly directory: string | null
  /** The person this client is linked to. */
  readonly person: string | null
  /** The groups around that person; what they own counts as the person's. */
  readonly groups?: readonly string[]
}

/** For an action that creates, the resource as it would come to be. */
export interface AuthoriseResource {
  readonly type: AuthoriseResourceType
  readonly id: string
  readonly tenant: string
  readonly directory?: string | null
  /** The client that created the account (or the account it belongs to). */
  readonly client?: string | null
  readonly owner?: string | null
  readonly pendingOwner?: string | null
  readonly protected?: boolean
}

export interface AuthoriseRequest {
  readonly actor: AuthoriseActor
  readonly action: Action
  readonly resource: AuthoriseResource
}

export interface Authoriser {
  /** The first 12 characters of the SHA-256 over all files. */
  readonly version: string
  /** File stems of the rules in force. */
  readonly rules: readonly string[]
  /**
   * Decides by the compiled rules; nothing permitted is forbidden, with no reason.
   * @throws Error when the action does not apply to that type of resource: our bug, not the caller's
   */
  decide(request: AuthoriseRequest): Decision
}

const schemaFile = 'schema.cedarschema'

/**
 * Compiles the `*.cedar` files of a directory (one rule per file, its stem is the reason) with
 * `schema.cedarschema`.
 * @throws policyInvalid naming every file and line that does not parse or does not fit the schema
 */
export async function compileAuthorisation(directory: string): Promise<Authoriser> {
  const files = await readFiles(directory)
  const schema = files.get(schemaFile)!
  files.delete(schemaFile)
  const rules = new Map([...files].map(([name, text]) => [path.basename(name, '.cedar'), text]))

  const problems = problemsOf(schema, rules)
  if (problems.length > 0) throw errors.policyInvalid({ problems: problems.join('\n') })

  const version = versionOf(schema, rules)
  // The parsed set stays in the module under this name: parsing per decision would cost 14 parses.
  preparseSchema(version, schema)
  preparsePolicySet(version, { staticPolicies: Object.fromEntries(rules) })
  // Not before the first decision: looking costs a start 30 ms.
  let isById: boolean | null = null
  const made = new Map<string, Decision>()
  return {
    version,
    rules: [...rules.keys()],
    decide(request) {
      const { actor, action, resource } = request
      const asked = {
        actor: actorAttributes(actor),
        resource: resourceAttributes(resource),
      }
      const { type, id } = resource
      isById ??= [...rules.values()].some(asksWhichResource)
      const key = JSON.stringify([action, actor.id, asked, type, isById ? id : null])
      let decision = made.get(key)
      if (decision === undefined) {
        decision = decide(version, request, asked)
        if (made.size >= decisionsMax) made.delete(made.keys().next().value!)
        made.set(key, decision)
      }
      return decision
    },
  }
}

/** Decisions of one policy version that are kept: a decision costs 70–130 µs. */
const decisionsMax = 2_000

/**
 * Whether a rule depends on more of a resource than its type and attributes: on which one it is. If
 * none does, what was decided for one holds for all that are like it. Nothing else can differ: there
 * is no context, no clock, and no other entity.
 */
function asksWhichResource(rule: string): boolean {
  const parsed = policyToJson(rule)
  if (parsed.type === 'failure') return true
  const { resource, conditions } = parsed.json
  const isAny = resource.op === 'All' || (resource.op === 'is' && !('in' in resource))
  return !isAny || conditions.some(({ body }) => namesResource(body))
}

/** Looks for `resource` other than in `resource.x`, `resource has x` and `resource is T`, and for entities written out. */
function namesResource(expression: unknown): boolean {
  if (typeof expression !== 'object' || expression === null) return false
  return Object.entries(expression).some(([operator, operand]: [string, unknown]) => {
    if (operator === 'Var' && typeof operand === 'string') return operand === 'resource'
    if (operator === '__entity') return (operand as { readonly type?: unknown }).type !== 'Actor'
    if (operator === '.' || operator === 'has' || operator === 'is') {
      const { left, in: inside } = operand as { readonly left?: object; readonly in?: unknown }
      if (left !== undefined && 'Var' in left && left.Var === 'resource') {
        return inside !== undefined
      }
    }
    return namesResource(operand)
  })
}

function decide(
  version: string,
  { actor, action, resource }: AuthoriseRequest,
  attributes: { readonly actor: Attributes; readonly resource: Attributes },
): Decision {
  const principal = { type: 'Actor', id: actor.id }
  const target = { type: typeNames[resource.type], id: resource.id }
  const answer = statefulIsAuthorized({
    principal,
    action: { type: 'Action', id: action },
    resource: target,
    context: {},
    preparsedSchemaName: version,
    preparsedPolicySetId: version,
    validateRequest: true,
    entities: [
      { uid: principal, attrs: attributes.actor, parents: [] },
      { uid: target, attrs: attributes.resource, parents: [] },
    ] satisfies EntityJson[],
  })
  if (answer.type === 'failure') {
    throw new Error(
      `authorisation of ${action} on ${resource.type}: ${answer.errors.map((e) => e.message).join('; ')}`,
    )
  }
  const { decision, diagnostics } = answer.response
  // Cedar skips a rule that fails to evaluate: a skipped forbid would open a door, so it closes it.
  if (diagnostics.errors.length > 0) {
    return { effect: 'forbid', reasons: diagnostics.errors.map((e) => e.policyId).sort() }
  }
  return {
    effect: decision === 'allow' ? 'permit' : 'forbid',
    reasons: [...diagnostics.reason].sort(),
  }
}

const typeNames: Readonly<Record<AuthoriseResourceType, string>> = {
  person: 'Person',
  group: 'Group',
  account: 'Account',
  credential: 'Credential',
  operation: 'Operation',
  client: 'Client',
  sweep: 'Sweep',
  approval: 'Approval',
  brake: 'Brake',
  finding: 'Finding',
  provider: 'Provider',
  task: 'Task',
  audit: 'Audit',
  token: 'Token',
  tenant: 'Tenant',
}

type Attributes = Record<string, CedarValueJson>

function actorAttributes(actor: AuthoriseActor): Attributes {
  return {
    role: actor.role,
    tenant: actor.tenant,
    ...optional('directory', actor.directory),
    ...optional('person', actor.person),
    groups: actor.person === null ? [] : [...(actor.groups ?? [])],
  }
}

function resourceAttributes(resource: AuthoriseResource): Attributes {
  const { tenant } = resource
  switch (resource.type) {
    case 'person':
    case 'group':
      return { tenant, ...optional('directory', resource.directory) }
    case 'account':
      return {
        tenant,
        ...belonging(resource),
        ...optional('pendingOwner', resource.pendingOwner),
        protected: resource.protected ?? false,
      }
    case 'credential':
      return { tenant, ...belonging(resource), protected: resource.protected ?? false }
    case 'operation':
    case 'task':
      return { tenant, ...belonging(resource) }
    case 'client':
    case 'sweep':
    case 'approval':
    case 'brake':
    case 'finding':
    case 'provider':
    case 'audit':
    case 'token':
    case 'tenant':
      return { tenant }
    default:
      return assertNever(resource.type)
  }
}

function belonging(resource: AuthoriseResource): Attributes {
  return {
    ...(resource.client ? { client: { __entity: { type: 'Actor', id: resource.client } } } : {}),
    ...optional('owner', resource.owner),
  }
}

function optional(name: string, value: string | null | undefined): Attributes {
  return typeof value === 'string' ? { [name]: value } : {}
}

// Reading and checking the files

async function readFiles(directory: string): Promise<Map<string, string>> {
  let names: string[]
  try {
    names = (await readdir(directory)).filter((n) => n.endsWith('.cedar') || n === schemaFile)
  } catch (cause) {
    throw errors.policyInvalid(
      { problems: `${directory}: this directory of authorisation rules cannot be read.` },
      { cause },
    )
  }
  if (!names.includes(schemaFile) || names.length < 2) {
    throw errors.policyInvalid({
      problems: `${directory}: needs ${schemaFile} and at least one rule file (*.cedar); without rules nobody may do anything.`,
    })
  }
  const texts = await Promise.all(
    names.sort().map(async (n) => [n, await readFile(path.join(directory, n), 'utf8')] as const),
  )
  return new Map(texts)
}

/**
 * Files that fit together are gone through once: a rule that is not one rule, or does not parse, does
 * not pass there either. File by file, which costs as much again, only to say what is wrong.
 */
function problemsOf(schema: string, rules: ReadonlyMap<string, string>): readonly string[] {
  const missing = missingActions(schema)
  const together = validationProblems(schema, rules)
  if (missing.length === 0 && together.length === 0) return []
  const apart = [...schemaProblems(schema), ...[...rules].flatMap(ruleProblems)]
  return apart.length > 0 ? apart : together
}

function schemaProblems(schema: string): readonly string[] {
  const answer = checkParseSchema(schema)
  return answer.type === 'failure'
    ? [describe(schemaFile, schema, answer.errors)]
    : missingActions(schema)
}

function missingActions(schema: string): readonly string[] {
  // A copy that an upgrade left behind: without this each of these actions would be a 500.
  const missing = actions.filter((action) => !schema.includes(`"${action}"`))
  if (missing.length === 0) return []
  const names = missing.map((action) => `"${action}"`).join(', ')
  const message = `has no action ${names}; take this file from the version of Custody that runs, and look there for rules that are new. Your own rules stay.`
  return [describeProblems(schemaFile, [{ path: '', line: 1, message }])]
}

function ruleProblems([stem, text]: readonly [string, string]): string[] {
  const file = `${stem}.cedar`
  const answer = checkParsePolicySet({ staticPolicies: text })
  if (answer.type === 'failure') return [describe(file, text, answer.errors)]
  const parts = policySetTextToParts(text)
  const count = parts.type === 'success' ? parts.policies.length + parts.policy_templates.length : 0
  if (count === 1 && parts.type === 'success' && parts.policies.length === 1) return []
  return [
    describeProblems(file, [
      {
        path: '',
        line: 1,
        message: `holds ${count} rules; keep exactly one rule (and no template) per file, so that its name is the reason in the audit.`,
      },
    ]),
  ]
}

function validationProblems(schema: string, rules: ReadonlyMap<string, string>): string[] {
  const answer = validate({ schema, policies: { staticPolicies: Object.fromEntries(rules) } })
  if (answer.type === 'failure') return [describe(schemaFile, schema, answer.errors)]
  // A warning (a rule that can never apply) is a mistake too: the writer meant something by it.
  return [...answer.validationErrors, ...answer.validationWarnings].map((e) =>
    describe(`${e.policyId}.cedar`, rules.get(e.policyId) ?? '', [e.error]),
  )
}

function describe(file: string, text: string, found: readonly DetailedError[]): string {
  const problems: Problem[] = found.map((e) => ({
    path: '',
    line: lineAt(text, e.sourceLocations?.[0]?.start ?? 0),
    message: [e.message, e.sourceLocations?.[0]?.label, e.help].filter(Boolean).join('; '),
  }))
  return describeProblems(file, problems)
}

/** Cedar counts bytes, not characters. */
function lineAt(text: string, byteOffset: number): number {
  return Buffer.from(text).subarray(0, byteOffset).toString('utf8').split('\n').length
}

function versionOf(schema: string, rules: ReadonlyMap<string, string>): string {
  const hash = createHash('sha256').update(schema)
  for (const [stem, text] of rules) hash.update(`\0${stem}\0${text}`)
  return hash.digest('hex').slice(0, 12)
}
