import type { Instant } from '../../src/domain/time.ts'

/** The policy documents Custody writes, and the scopes it accepts for them. */

export const shutOffPolicyName = 'custody-shut-off'
export const scopesPolicyName = 'custody-scopes'
/** Carries a version: a changed document gets a new name, users move to it when next ensured. */
export const boundaryPolicyName = 'custody-boundary-v2'

/** Unconditional, so it also stops sessions derived from the user's keys before now. */
export const shutOffDocument = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Sid: 'CustodyShutOff', Effect: 'Deny', Action: '*', Resource: '*' }],
})

/**
 * What stays when a user is turned on again: sessions made with its keys before then live on for up
 * to 36 hours (GetSessionToken), whatever became of the keys. A long-term key has no issue time.
 */
export function oldSessionsDocument(before: Instant): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Deny',
        Action: '*',
        Resource: '*',
        Condition: { DateLessThan: { 'aws:TokenIssueTime': before } },
      },
    ],
  })
}

/**
 * The widest a user or role of Custody's can ever act: everything its policies allow, except
 * re-arming one under Custody's path with a new key, policy, login or trust, and making sessions that
 * outlive a key.
 */
export function boundaryDocument(path: string): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Sid: 'WhatPoliciesAllow', Effect: 'Allow', Action: '*', Resource: '*' },
      {
        Sid: 'NoReArming',
        Effect: 'Deny',
        Action: [
          'iam:*AccessKey*',
          'iam:*UserPolicy*',
          'iam:*UserPermissionsBoundary*',
          'iam:*LoginProfile*',
          'iam:*ServiceSpecificCredential*',
          'iam:*SigningCertificate*',
          'iam:*SSHPublicKey*',
          'iam:*MFADevice*',
          'iam:AddUserToGroup',
          'iam:CreateUser',
          'iam:UpdateUser',
          'iam:TagUser',
          'iam:UntagUser',
        ],
        Resource: `arn:*:iam::*:user${path}*`,
      },
      {
        Sid: 'NoWiderTrust',
        Effect: 'Deny',
        Action: [
          'iam:CreateRole',
          'iam:UpdateRole*',
          'iam:UpdateAssumeRolePolicy',
          'iam:*RolePolicy*',
          'iam:*RolePermissionsBoundary*',
          'iam:TagRole',
          'iam:UntagRole',
          'iam:PassRole',
        ],
        Resource: `arn:*:iam::*:role${path}*`,
      },
      {
        Sid: 'NoWiderBoundary',
        Effect: 'Deny',
        Action: ['iam:*PolicyVersion', 'iam:DeletePolicy'],
        Resource: `arn:*:iam::*:policy${path}*`,
      },
      {
        Sid: 'NoSessionsThatOutliveTheKey',
        Effect: 'Deny',
        Action: ['sts:GetSessionToken', 'sts:GetFederationToken'],
        Resource: '*',
      },
    ],
  })
}

export type Scope =
  | { readonly type: 'managed'; readonly policy: string }
  | { readonly type: 'action'; readonly action: string; readonly resource: string }

/** IAM counts the inline policies of a user together; the shut-off policy must always still fit. */
const inlineCharactersMax = 2_048
const scopesCharactersMax =
  inlineCharactersMax - oldSessionsDocument('2026-01-01T00:00:00.000Z' as Instant).length
const actionScope = /^([a-z0-9-]+):([A-Za-z0-9*?]+)(?: on (\S+))?$/
/** Services in which nearly every action can widen one's own rights. */
const guarded = new Set(['iam', 'organizations', 'account', 'sso', 'identitystore'])

/** @returns the scope, or the sentence that says why it is not granted */
export function parseScope(scope: string, allowedPolicies: readonly string[]): Scope | string {
  if (scope.startsWith('policy:')) {
    const policy = scope.slice('policy:'.length)
    return allowedPolicies.includes(policy)
      ? { type: 'managed', policy }
      : `Policy "${policy}" is not among this provider's allowedPolicies; ask for one that is.`
  }
  const m = actionScope.exec(scope)
  if (!m) {
    return 'A scope is "policy:<arn>" or "<service>:<Action>[ on <resource>]", e.g. "s3:GetObject on arn:aws:s3:::bucket/*".'
  }
  const [, service, action, resource] = m as unknown as [string, string, string, string?]
  if (/^[*?]+$/.test(action)) {
    return `"${scope}" grants everything in ${service}; name the actions it needs.`
  }
  if (guarded.has(service) && !/^(Get|List)[A-Za-z0-9]*$/.test(action)) {
    return `"${scope}" could widen its own rights; only exact Get and List actions of ${service} are granted.`
  }
  if (service === 'sts' && (resource === undefined || resource === '*')) {
    return `"${scope}" needs the role it is for: "${service}:${action} on arn:aws:iam::<account>:role/<name>".`
  }
  return { type: 'action', action: `${service}:${action}`, resource: resource ?? '*' }
}

/** One statement per resource; null when no scope is an action. */
export function scopesDocument(scopes: readonly Scope[]): string | null {
  const byResource = new Map<string, string[]>()
  for (const scope of scopes) {
    if (scope.type !== 'action') continue
    byResource.set(scope.resource, [...(byResource.get(scope.resource) ?? []), scope.action])
  }
  if (byResource.size === 0) return null
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [...byResource].map(([Resource, actions]) => ({
      Effect: 'Allow',
      Action: [...new Set(actions)],
      Resource,
    })),
  })
}

/** The first scope that is not granted with its reason; null when all are. */
export function refusedScope(
  scopes: readonly string[],
  allowedPolicies: readonly string[],
): { readonly scope: string; readonly reason: string } | null {
  const accepted: Scope[] = []
  for (const scope of scopes) {
    const parsed = parseScope(scope, allowedPolicies)
    if (typeof parsed === 'string') return { scope, reason: parsed }
    accepted.push(parsed)
    if ((scopesDocument(accepted)?.length ?? 0) > scopesCharactersMax) {
      return {
        scope,
        reason: `The scopes up to here need more than the ${scopesCharactersMax} characters IAM leaves for inline policies; use a managed policy.`,
      }
    }
  }
  return null
}
