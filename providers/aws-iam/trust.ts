import { isJsonObject } from '../../src/domain/json.ts'
import { refusedScope } from './policies.ts'

/** Whose tokens open a role: one subject of one issuer for one audience, each compared exactly. */
export interface Consumer {
  /** Host and path of the issuer, without `https://`, as IAM writes it. */
  readonly issuer: string
  readonly subject: string
  readonly audience: string
}

export function isSameConsumer(a: Consumer, b: Consumer): boolean {
  return a.issuer === b.issuer && a.subject === b.subject && a.audience === b.audience
}

export interface FederatedScopes {
  readonly consumer: Consumer
  /** What the role may do: the scopes that access keys have too. */
  readonly rights: readonly string[]
}

export interface TrustRules {
  readonly allowedPolicies: readonly string[]
  /** Whether GitHub's `pull_request` may be a subject: whoever opens one then acts as the role. */
  readonly allowPullRequests: boolean
}

type Refusal = { readonly scope: string; readonly reason: string }

export const githubIssuer = 'token.actions.githubusercontent.com'
export const webIdentityAction = 'sts:AssumeRoleWithWebIdentity'

const members = ['issuer', 'subject', 'audience'] as const
type Member = (typeof members)[number]

const issuerPattern = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?:\/[\w./-]*[\w-])?$/
/** IAM reads `*` and `?` as patterns in some operators and `${` as a variable in all of them. */
const inexact = /[*?]|\$\{/
const valueMax = 255
const example =
  '"issuer:token.actions.githubusercontent.com", "subject:repo:acme/shop:ref:refs/heads/main", "audience:sts.amazonaws.com"'

/**
 * Reads the scopes of a federated role: exactly one issuer, subject and audience, and its rights.
 * @returns the first scope that is not granted with the sentence a requester reads, where one is not
 */
export function parseFederatedScopes(
  scopes: readonly string[],
  rules: TrustRules,
): FederatedScopes | Refusal {
  const found: Partial<Record<Member, string>> = {}
  const rights: string[] = []
  for (const scope of scopes) {
    const member = members.find((name) => scope.startsWith(`${name}:`))
    if (member === undefined) {
      rights.push(scope)
      continue
    }
    if (found[member] !== undefined) {
      return refusal(scope, `A role trusts one ${member}; ask for a credential for each.`)
    }
    const value = scope.slice(member.length + 1)
    const reason = valueProblem(member, value)
    if (reason !== null) return refusal(scope, reason)
    found[member] = value
  }
  const { issuer, subject, audience } = found
  if (issuer === undefined || subject === undefined || audience === undefined) {
    const missing = members.filter((name) => found[name] === undefined).join(', ')
    return refusal(
      scopes[0] ?? '',
      `A federated role needs its ${missing}: scopes such as ${example}.`,
    )
  }
  const reason = subjectProblem(issuer, subject, rules)
  if (reason !== null) return refusal(`subject:${subject}`, reason)
  const refused = refusedScope(rights, rules.allowedPolicies)
  return refused ?? { consumer: { issuer, subject, audience }, rights }
}

function refusal(scope: string, reason: string): Refusal {
  return { scope, reason }
}

function valueProblem(member: Member, value: string): string | null {
  if (value === '' || value.length > valueMax || /[\p{Cc}\p{Z}]/u.test(value)) {
    return `"${member}:" needs 1 to ${valueMax} visible characters without spaces.`
  }
  if (inexact.test(value)) {
    return `"${value}" is not exact: a trust names one ${member}, without *, ? or \${.`
  }
  if (member !== 'issuer') return null
  if (value.includes('://')) return 'Write the issuer without https://, as IAM does.'
  return issuerPattern.test(value) ? null : `"${value}" is no issuer: a host, perhaps with a path.`
}

/** Platforms whose subjects have a form we know are held to it: a typo there trusts nobody, or others. */
function subjectProblem(issuer: string, subject: string, rules: TrustRules): string | null {
  if (issuer.split('/')[0] === githubIssuer) return githubProblem(subject, rules)
  if (subject.startsWith('system:')) {
    return /^system:serviceaccount:[a-z0-9-]{1,63}:[a-z0-9.-]{1,253}$/.test(subject)
      ? null
      : 'A subject of Kubernetes is "system:serviceaccount:<namespace>:<name>".'
  }
  return null
}

const githubSubject = /^repo:([\w-]+)\/([\w.-]+):(.+)$/
const githubContexts: readonly RegExp[] = [
  /^ref:refs\/(heads|tags)\/[^\s~^:\\[]+$/,
  /^environment:[^:]+$/,
]

/** Source: GitHub, "OpenID Connect reference", example subject claims. */
function githubProblem(subject: string, { allowPullRequests }: TrustRules): string | null {
  const m = githubSubject.exec(subject)
  if (!m) {
    return 'A subject of GitHub Actions is "repo:<owner>/<repository>:<what>", with "ref:refs/heads/<branch>", "ref:refs/tags/<tag>" or "environment:<name>" as what.'
  }
  const context = m[3]!
  if (context === 'pull_request') {
    return allowPullRequests
      ? null
      : '"pull_request" would let everybody who opens one act as this role; name a branch or an environment, or let the operator set federation.allowPullRequests.'
  }
  return githubContexts.some((pattern) => pattern.test(context))
    ? null
    : `"${context}" is none of "ref:refs/heads/<branch>", "ref:refs/tags/<tag>" and "environment:<name>".`
}

/** The trust policy of a role. @param providerArn of the issuer's OIDC provider in the account */
export function trustDocument(providerArn: string, consumer: Consumer): string {
  const { issuer, subject, audience } = consumer
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'CustodyConsumer',
        Effect: 'Allow',
        Principal: { Federated: providerArn },
        Action: webIdentityAction,
        Condition: { StringEquals: { [`${issuer}:sub`]: subject, [`${issuer}:aud`]: audience } },
      },
    ],
  })
}

/**
 * Turns every grant of a trust policy into a refusal, or back. Without a grant nobody gets in, and
 * since nothing else changes, taking it back restores the trust exactly, in one call.
 */
export function withEffect(trust: string, effect: 'Allow' | 'Deny'): string {
  const document = JSON.parse(trust) as { readonly Statement: readonly object[] }
  const Statement = [document.Statement].flat().map((one) => ({ ...one, Effect: effect }))
  return JSON.stringify({ ...document, Statement })
}

/** Whether a trust policy lets anybody in. What cannot be read might. */
export function grants(trust: string): boolean {
  return statementsOf(trust)?.some((one) => one['Effect'] !== 'Deny') ?? true
}

/** Whom a trust names, or named before it was turned into a refusal; null when it is not ours. */
export function consumerOf(trust: string): Consumer | null {
  const statements = statementsOf(trust) ?? []
  const { Condition } = statements.length === 1 ? statements[0]! : {}
  const equals = isJsonObject(Condition) ? Condition['StringEquals'] : null
  if (!isJsonObject(equals)) return null
  const [key] = Object.keys(equals).filter((name) => name.endsWith(':sub'))
  const issuer = key?.slice(0, -':sub'.length) ?? ''
  const [subject, audience] = [equals[`${issuer}:sub`], equals[`${issuer}:aud`]]
  return typeof subject === 'string' && typeof audience === 'string'
    ? { issuer, subject, audience }
    : null
}

/**
 * Why a trust in an identity provider is looser than one that Custody would write; null when it is
 * exact, or when it trusts none (NHI6).
 */
export function looseness(trust: string): string | null {
  for (const one of statementsOf(trust) ?? []) {
    if (one['Effect'] !== 'Allow' || ![one['Action']].flat().includes(webIdentityAction)) continue
    const conditions = isJsonObject(one['Condition']) ? one['Condition'] : {}
    const exact = isJsonObject(conditions['StringEquals']) ? conditions['StringEquals'] : {}
    const named = Object.keys(exact)
    if (!named.some((name) => name.endsWith(':sub'))) return 'does not name the subject exactly'
    if (!named.some((name) => name.endsWith(':aud'))) return 'does not name the audience'
  }
  return null
}

function statementsOf(trust: string): readonly Readonly<Record<string, unknown>>[] | null {
  try {
    const document: unknown = JSON.parse(trust)
    if (!isJsonObject(document)) return null
    return [document['Statement']].flat().filter(isJsonObject)
  } catch {
    return null
  }
}
