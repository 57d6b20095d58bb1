import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import { boundaryPolicyName } from './policies.ts'
import { tagAdopted } from './marks.ts'

/** One statement of the least policy that Custody itself needs. */
export interface AllowStatement {
  readonly Sid: string
  readonly Effect: 'Allow'
  readonly Action: readonly string[]
  readonly Resource: string | readonly string[]
  readonly Condition?: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
}

/** What is done to users under the path, and to those that were adopted. */
const keepUsers = [
  'iam:DeleteUser',
  'iam:TagUser',
  'iam:CreateAccessKey',
  'iam:UpdateAccessKey',
  'iam:DeleteAccessKey',
  'iam:ListAccessKeys',
  'iam:PutUserPolicy',
  'iam:DeleteUserPolicy',
  'iam:ListUserPolicies',
  'iam:AttachUserPolicy',
  'iam:DetachUserPolicy',
  'iam:ListAttachedUserPolicies',
  'iam:ListGroupsForUser',
  'iam:RemoveUserFromGroup',
  'iam:DeleteLoginProfile',
  'iam:ListMFADevices',
  'iam:DeactivateMFADevice',
  'iam:ListSigningCertificates',
  'iam:DeleteSigningCertificate',
  'iam:ListSSHPublicKeys',
  'iam:DeleteSSHPublicKey',
  'iam:ListServiceSpecificCredentials',
  'iam:DeleteServiceSpecificCredential',
] as const

const makeUsers = ['iam:CreateUser', 'iam:PutUserPermissionsBoundary'] as const

/** The least that users with access keys need, by the configuration. */
export function userStatements(config: Config): readonly AllowStatement[] {
  const arn = `arn:${partitionOf(config.region)}:iam::*`
  const path = config.path ?? defaultPath
  const named = (config.adopt ?? []).flatMap((name) => [
    `${arn}:user/${name}`,
    `${arn}:user/*/${name}`,
  ])
  const boundary = config.boundaryArn ?? `${arn}:policy${path}${boundaryPolicyName}`
  const allow = (
    Sid: string,
    Action: readonly string[],
    Resource: string | readonly string[],
  ): AllowStatement => ({ Sid, Effect: 'Allow', Action, Resource })
  return [
    allow('CustodyUsers', [...makeUsers, ...keepUsers], `${arn}:user${path}*`),
    ...(named.length > 0 ? [allow('CustodyNamedUsers', keepUsers, named)] : []),
    allow(
      'CustodyBoundary',
      [
        'iam:GetPolicy',
        'iam:GetPolicyVersion',
        ...(config.boundaryArn === undefined ? ['iam:CreatePolicy'] : []),
      ],
      boundary,
    ),
    allow('CustodyVirtualMfa', ['iam:DeleteVirtualMFADevice'], `${arn}:mfa/*`),
    allow('CustodyReads', ['iam:GetUser', 'iam:ListUsers', 'iam:GetAccessKeyLastUsed'], '*'),
    ...((config.discovery ?? true) ? adoptionStatements(arn) : []),
  ]
}

/** Users anywhere may be looked at and be marked; what is marked is Custody's to keep. */
function adoptionStatements(arn: string): readonly AllowStatement[] {
  const reads = ['iam:GetAccountAuthorizationDetails', 'iam:GetLoginProfile', 'iam:ListAccessKeys']
  return [
    { Sid: 'CustodyDiscovery', Effect: 'Allow', Action: reads, Resource: '*' },
    {
      Sid: 'CustodyAdoption',
      Effect: 'Allow',
      Action: ['iam:TagUser'],
      Resource: `${arn}:user/*`,
      Condition: { 'ForAllValues:StringEquals': { 'aws:TagKeys': [tagAdopted] } },
    },
    {
      Sid: 'CustodyAdopted',
      Effect: 'Allow',
      Action: keepUsers,
      Resource: `${arn}:user/*`,
      Condition: { StringLike: { [`iam:ResourceTag/${tagAdopted}`]: ['*'] } },
    },
  ]
}

/** For `check`: to ask IAM what Custody itself may do. */
export const askStatement: AllowStatement = {
  Sid: 'CustodyAsksWhatItMay',
  Effect: 'Allow',
  Action: ['iam:SimulatePrincipalPolicy', 'iam:GetRole'],
  Resource: '*',
}

/** The policy to paste: IAM takes managed ones up to 6 144 characters without white space. */
export function policyText(statements: readonly AllowStatement[]): string {
  const Statement = statements.map(({ Action, ...rest }) => ({
    ...rest,
    Action: Action.length === 1 ? Action[0] : Action,
  }))
  return JSON.stringify({ Version: '2012-10-17', Statement }, null, 2)
}

/** By the beginning of the region's name. */
export function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn'
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws'
}
