import type { AwsConnection } from '../aws/client.ts'
import { connectionProperties } from '../aws/client.ts'

/** The configuration of an `aws-iam` provider, as its schema admits it. */
export interface Config extends AwsConnection {
  readonly path?: string
  readonly settle?: string
  readonly lastUsedLag?: string
  readonly probe?: {
    readonly count?: number
    readonly every?: string
    /** Where STS is asked, one after the other. */
    readonly regions?: readonly string[]
  }
  readonly assumeRole?: AssumeRoleConfig
  readonly boundaryArn?: string
  readonly allowedPolicies?: readonly string[]
  readonly adopt?: readonly string[]
  /** Whether users of others are looked for, to be adopted; default true. */
  readonly discovery?: boolean
  readonly ownerTags?: readonly string[]
  readonly federation?: FederationConfig
}

/** The role Custody acts in, by the credentials it was given. */
export interface AssumeRoleConfig {
  readonly roleArn: string
  readonly externalId?: string
  readonly duration?: string
}

/** How roles for consumers with an identity of their own are made, and tried. */
export interface FederationConfig {
  /** Makes an issuer's OIDC provider in the account when a role needs it; else it must be there. */
  readonly createProviders?: boolean
  readonly allowPullRequests?: boolean
  /** Files with a token of a consumer, kept fresh by somebody: what death is proven with. */
  readonly probeTokenFiles?: readonly string[]
}

export const configSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['region'],
  properties: {
    ...connectionProperties,
    path: { type: 'string', pattern: '^/([\\u0021-\\u007E]+/)?$', maxLength: 512 },
    settle: { type: 'string', format: 'duration' },
    lastUsedLag: { type: 'string', format: 'duration' },
    probe: {
      type: 'object',
      additionalProperties: false,
      properties: {
        count: { type: 'integer', minimum: 1, maximum: 100 },
        every: { type: 'string', format: 'duration' },
        regions: {
          type: 'array',
          minItems: 1,
          uniqueItems: true,
          items: connectionProperties.region,
        },
      },
    },
    assumeRole: {
      type: 'object',
      additionalProperties: false,
      required: ['roleArn'],
      properties: {
        roleArn: { type: 'string', pattern: '^arn:[a-z-]+:iam::\\d{12}:role/.+$' },
        externalId: { type: 'string', pattern: '^[\\w+=,.@:/-]{2,1224}$' },
        duration: { type: 'string', format: 'duration' },
      },
    },
    boundaryArn: { type: 'string', pattern: '^arn:[a-z-]+:iam::(\\d{12}|aws):policy/.+$' },
    allowedPolicies: { type: 'array', uniqueItems: true, items: { type: 'string', minLength: 1 } },
    discovery: { type: 'boolean' },
    ownerTags: { type: 'array', uniqueItems: true, items: { type: 'string', minLength: 1 } },
    adopt: {
      type: 'array',
      uniqueItems: true,
      items: { type: 'string', pattern: '^[\\w+=,.@-]{1,64}$' },
    },
    federation: {
      type: 'object',
      additionalProperties: false,
      properties: {
        createProviders: { type: 'boolean' },
        allowPullRequests: { type: 'boolean' },
        probeTokenFiles: {
          type: 'array',
          uniqueItems: true,
          items: { type: 'string', minLength: 1 },
        },
      },
    },
  },
} as const

/** Where users, roles and policies of Custody's live unless configured otherwise. */
export const defaultPath = '/custody/'

/** Names of tags that may name an owner, best first. */
export const standardOwnerTags = [
  'owner-email',
  'owner_email',
  'ownerEmail',
  'owner',
  'contact',
  'maintainer',
  'responsible',
  'created-by',
  'created_by',
  'createdBy',
  'creator',
] as const
