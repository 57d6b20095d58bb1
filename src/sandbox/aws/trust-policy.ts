import type { Condition } from './policy.ts'
import { holds, MalformedPolicy, matches, parseConditions, statementsOf } from './policy.ts'

/** One statement of a role's trust policy: who may assume it, and under which conditions. */
export interface TrustStatement {
  readonly effect: 'Allow' | 'Deny'
  readonly aws: readonly string[]
  readonly federated: readonly string[]
  readonly services: readonly string[]
  readonly actions: readonly string[]
  readonly conditions: readonly Condition[]
}

/** Who asks, as a trust policy may name them. */
export type TrustedBy =
  | { readonly type: 'federated'; readonly providerArn: string }
  | {
      readonly type: 'aws'
      readonly accountId: string
      /** Every ARN the caller is known by: a session is itself and its role. */
      readonly arns: readonly string[]
    }

/**
 * `direct` needs no policy of the caller; `delegated` (the account was trusted, not the caller)
 * does. Source: IAM user guide, "Cross-account policy evaluation" and "AWS account principals".
 */
export type Trust = 'denied' | 'none' | 'delegated' | 'direct'

const members = new Set(['Sid', 'Effect', 'Principal', 'Action', 'Condition'])
const principalTypes = new Set(['AWS', 'Federated', 'Service'])
const webIdentity = 'sts:AssumeRoleWithWebIdentity'
const knownActions = new Set([
  'sts:AssumeRole',
  webIdentity,
  'sts:AssumeRoleWithSAML',
  'sts:SetSourceIdentity',
  'sts:TagSession',
  'sts:*',
  '*',
])
/** Issuers that the whole world shares: IAM wants their subject evaluated in every grant. */
const sharedIssuers = ['token.actions.githubusercontent.com']

/** @throws MalformedPolicy */
export function parseTrust(text: string): readonly TrustStatement[] {
  return statementsOf(text).map(parseStatement)
}

function parseStatement(raw: unknown): TrustStatement {
  if (typeof raw !== 'object' || raw === null) throw new MalformedPolicy('A statement is missing.')
  const statement = raw as Record<string, unknown>
  if (statement['Resource'] !== undefined || statement['NotResource'] !== undefined) {
    throw new MalformedPolicy('Has prohibited field Resource')
  }
  const unknown = Object.keys(statement).find((key) => !members.has(key))
  if (unknown !== undefined) throw new MalformedPolicy(`Unknown statement element ${unknown}.`)
  const effect = statement['Effect']
  if (effect !== 'Allow' && effect !== 'Deny') throw new MalformedPolicy('Effect is missing.')
  const actions = listOf(statement['Action'])
  const foreign = actions.find((action) => !knownActions.has(action))
  if (actions.length === 0 || foreign !== undefined) {
    throw new MalformedPolicy('AssumeRole policy may only specify STS AssumeRole actions.')
  }
  const conditions = Object.entries(statement['Condition'] ?? {}).flatMap(parseConditions)
  const parsed = { effect, actions, conditions, ...principalsOf(statement['Principal']) } as const
  if (effect === 'Allow') requireSubject(parsed)
  return parsed
}

function principalsOf(raw: unknown): Pick<TrustStatement, 'aws' | 'federated' | 'services'> {
  if (raw === '*') return { aws: ['*'], federated: ['*'], services: ['*'] }
  if (typeof raw !== 'object' || raw === null || Object.keys(raw).length === 0) {
    throw new MalformedPolicy('AssumeRole policy must contain a Principal.')
  }
  const unknown = Object.keys(raw).find((type) => !principalTypes.has(type))
  if (unknown !== undefined) throw new MalformedPolicy(`Unknown principal type ${unknown}.`)
  const { AWS, Federated, Service } = raw as Record<string, unknown>
  return { aws: listOf(AWS), federated: listOf(Federated), services: listOf(Service) }
}

function requireSubject({ federated, conditions, actions }: TrustStatement): void {
  if (!actions.includes(webIdentity)) return
  for (const issuer of sharedIssuers) {
    if (!federated.some((arn) => arn.endsWith(`:oidc-provider/${issuer}`))) continue
    const subjects = conditions.filter((c) => c.key === `${issuer}:sub`).flatMap((c) => c.values)
    if (subjects.length === 0 || subjects.includes('*')) {
      throw new MalformedPolicy(`A trust of ${issuer} must evaluate ${issuer}:sub.`)
    }
  }
}

function listOf(value: unknown): readonly string[] {
  if (value === undefined) return []
  const list = Array.isArray(value) ? value : [value]
  if (list.some((item) => typeof item !== 'string')) {
    throw new MalformedPolicy('A principal or an action is not text.')
  }
  return list as string[]
}

/** Decides what the trust policy says about this caller and action. */
export function trustOf(
  statements: readonly TrustStatement[],
  by: TrustedBy,
  action: string,
  keys: Readonly<Record<string, string>>,
): Trust {
  let found: Trust = 'none'
  for (const statement of statements) {
    if (!statement.actions.some((pattern) => matches(pattern, action))) continue
    if (!statement.conditions.every((condition) => holds(condition, keys))) continue
    const named = naming(statement, by)
    if (named === 'none') continue
    if (statement.effect === 'Deny') return 'denied'
    if (found !== 'direct') found = named
  }
  return found
}

function naming(statement: TrustStatement, by: TrustedBy): 'none' | 'delegated' | 'direct' {
  if (by.type === 'federated') {
    const isNamed = statement.federated.some((arn) => arn === '*' || arn === by.providerArn)
    return isNamed ? 'direct' : 'none'
  }
  if (statement.aws.some((arn) => arn === '*' || by.arns.includes(arn))) return 'direct'
  const account = new Set([by.accountId, `arn:aws:iam::${by.accountId}:root`])
  return statement.aws.some((arn) => account.has(arn)) ? 'delegated' : 'none'
}
