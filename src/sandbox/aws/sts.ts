import type * as sts from '@aws-sdk/client-sts'
import { instantOf } from '../../domain/time.ts'
import { AwsError } from './error.ts'
import type { IamRole, IamState } from './iam-state.ts'
import { trustAt, wellFormed } from './iam-state.ts'
import type { IdentityClaims, Issuers } from './oidc.ts'
import { invalid } from './oidc.ts'
import type { Trust, TrustedBy } from './trust-policy.ts'
import { parseTrust, trustOf } from './trust-policy.ts'

/** Temporary credentials of a role, as whoever assumed it holds them. */
export interface Session {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly token: string
  readonly role: IamRole
  readonly name: string
  readonly issuedAt: number
  readonly expiresAt: number
  /** Narrows what the role may do; null = no session policy was given. */
  readonly policy: string | null
}

/** Who calls AssumeRole, as far as trust policies and permissions know them. */
export interface Assumer {
  readonly arn: string
  /** Every ARN a trust policy may name them by. */
  readonly arns: readonly string[]
  readonly isSession: boolean
  /** What their own policies say of assuming this role. */
  readonly own: (roleArn: string) => 'allowed' | 'denied' | 'none'
}

interface Asked {
  readonly RoleArn: string | undefined
  readonly RoleSessionName: string | undefined
  readonly DurationSeconds?: number | undefined
  readonly Policy?: string | undefined
  readonly PolicyArns?: readonly unknown[] | undefined
}

const namePattern = /^[\w+=,.@-]{2,64}$/
const chainedSecondsMax = 3_600
const standardSeconds = 3_600

/** STS: sessions of roles. A session works until it ends, whatever becomes of the role's trust. */
export class StsState {
  /** How long a change of a role's trust takes to reach STS. */
  propagationSeconds = 0
  readonly #iam: IamState
  readonly #issuers: Issuers
  readonly #random: (length: number) => Uint8Array
  readonly #sessions = new Map<string, Session>()

  constructor(iam: IamState, issuers: Issuers, random: (length: number) => Uint8Array) {
    this.#iam = iam
    this.#issuers = issuers
    this.#random = random
  }

  /** With its end in the past, too; null when there never was one, and when its role is deleted. */
  session(accessKeyId: string): Session | null {
    const session = this.#sessions.get(accessKeyId)
    return session && session.role.deletedAt === null ? session : null
  }

  arnOf({ role, name }: Session): string {
    return `arn:aws:sts::${this.#iam.accountId}:assumed-role/${role.name}/${name}`
  }

  /** @throws AwsError AccessDenied, ValidationError */
  assumeRole(input: sts.AssumeRoleRequest, by: Assumer): sts.AssumeRoleResponse {
    checkName(input.RoleSessionName)
    if (input.SerialNumber !== undefined || input.ProvidedContexts !== undefined) {
      throw new AwsError('ValidationError', 'The sandbox plays neither MFA nor contexts.')
    }
    if (by.isSession && (input.DurationSeconds ?? 0) > chainedSecondsMax) {
      throw new AwsError(
        'ValidationError',
        'The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining',
      )
    }
    const role = this.#roleOf(input.RoleArn)
    const actions = ['sts:AssumeRole']
    if (input.SourceIdentity !== undefined) actions.push('sts:SetSourceIdentity')
    if ((input.Tags ?? []).length > 0) actions.push('sts:TagSession')
    for (const action of actions) {
      if (role && this.#mayAssume(role, action, input, by)) continue
      throw new AwsError(
        'AccessDenied',
        `User: ${by.arn} is not authorized to perform: ${action} on resource: ${input.RoleArn}`,
      )
    }
    const session = this.#open(role!, input)
    return {
      ...shown(session, this.arnOf(session)),
      ...(input.SourceIdentity === undefined ? {} : { SourceIdentity: input.SourceIdentity }),
    }
  }

  #mayAssume(role: IamRole, action: string, input: sts.AssumeRoleRequest, by: Assumer): boolean {
    const own = by.own(input.RoleArn!)
    if (own === 'denied') return false
    const { accountId } = this.#iam
    const trust = this.#trust(role, { type: 'aws', accountId, arns: by.arns }, action, {
      'aws:principalarn': by.arns.at(-1)!,
      'aws:principalaccount': accountId,
      'aws:currenttime': instantOf(this.#iam.now()),
      'sts:rolesessionname': input.RoleSessionName!,
      ...(input.ExternalId === undefined ? {} : { 'sts:externalid': input.ExternalId }),
      ...(input.SourceIdentity === undefined ? {} : { 'sts:sourceidentity': input.SourceIdentity }),
    })
    return trust === 'direct' || (trust === 'delegated' && own === 'allowed')
  }

  /**
   * Not signed: the token speaks for its bearer. Checked in the order that tells the least: is it a
   * token of an issuer the account takes, does it still hold, and only then the role's trust.
   * @throws AwsError InvalidIdentityToken, ExpiredTokenException, AccessDenied, ValidationError
   */
  assumeRoleWithWebIdentity(
    input: sts.AssumeRoleWithWebIdentityRequest,
  ): sts.AssumeRoleWithWebIdentityResponse {
    checkName(input.RoleSessionName)
    const claims = this.#issuers.read(input.WebIdentityToken!)
    const url = claims.issuer.replace(/^https:\/\//, '')
    const provider = this.#iam.oidcProviders.get(this.#iam.arnOf('oidc-provider', '/', url))
    if (!provider) {
      throw invalid(`No OpenIDConnect provider found in your account for ${claims.issuer}`)
    }
    const audience = claims.audiences.find((a) => provider.audiences.has(a))
    if (audience === undefined) throw invalid('Incorrect token audience')
    this.#checkTime(claims)
    const role = this.#roleOf(input.RoleArn)
    const by = { type: 'federated', providerArn: provider.arn } as const
    const keys = {
      [`${url.toLowerCase()}:sub`]: claims.subject,
      [`${url.toLowerCase()}:aud`]: audience,
      'aws:currenttime': instantOf(this.#iam.now()),
      'sts:rolesessionname': input.RoleSessionName!,
    }
    const action = 'sts:AssumeRoleWithWebIdentity'
    // A role that is not there and one that does not trust are told apart by nobody outside.
    if (!role || this.#trust(role, by, action, keys) !== 'direct') {
      throw new AwsError('AccessDenied', `Not authorized to perform ${action}`)
    }
    const session = this.#open(role, input)
    return {
      ...shown(session, this.arnOf(session)),
      SubjectFromWebIdentityToken: claims.subject,
      Provider: provider.arn,
      Audience: audience,
    }
  }

  #checkTime({ expiresAt, notBefore }: IdentityClaims): void {
    const now = this.#iam.now() / 1_000
    if (expiresAt <= now) {
      throw new AwsError(
        'ExpiredTokenException',
        `Token expired: current date/time ${now} must be before the expiration date/time ${expiresAt}`,
      )
    }
    if (notBefore > now + 300) throw invalid('The token is not valid yet.')
  }

  #trust(
    role: IamRole,
    by: TrustedBy,
    action: string,
    keys: Readonly<Record<string, string>>,
  ): Trust {
    const document = trustAt(role, this.#iam.now() - this.propagationSeconds * 1_000)
    if (document === null) return 'none'
    return trustOf(
      wellFormed(() => parseTrust(document)),
      by,
      action,
      keys,
    )
  }

  /** STS sees a deletion as late as every other change. */
  #roleOf(arn: string | undefined): IamRole | null {
    const m = /^arn:aws:iam::(\d{12}):role(\/.*)$/.exec(arn ?? '')
    if (!m) throw new AwsError('ValidationError', `${arn} is invalid`)
    const isNamed = (role: IamRole) => this.#iam.arnOf('role', role.path, role.name) === arn
    const live = [...this.#iam.roles.values()].find(isNamed)
    return live ?? this.#iam.goneRoles.findLast(isNamed) ?? null
  }

  #open(role: IamRole, asked: Asked): Session {
    if ((asked.PolicyArns ?? []).length > 0) {
      throw new AwsError('ValidationError', 'The sandbox takes a session policy only as Policy.')
    }
    const policy = asked.Policy ?? null
    if (policy !== null) this.#iam.parse(policy)
    const lifetime = asked.DurationSeconds ?? standardSeconds
    if (lifetime < 900 || lifetime > role.maxSessionSeconds) {
      throw new AwsError(
        'ValidationError',
        'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.',
      )
    }
    const now = this.#iam.now()
    const session: Session = {
      accessKeyId: this.#iam.newId('ASIA'),
      secretAccessKey: this.#iam.newSecret(),
      token: Buffer.from(this.#random(96)).toString('base64'),
      role,
      name: asked.RoleSessionName!,
      issuedAt: now,
      expiresAt: now + lifetime * 1_000,
      policy,
    }
    this.#sessions.set(session.accessKeyId, session)
    return session
  }
}

function checkName(name: string | undefined): void {
  if (namePattern.test(name ?? '')) return
  throw new AwsError('ValidationError', 'roleSessionName must be 2 to 64 of [\\w+=,.@-].')
}

function shown(session: Session, arn: string) {
  return {
    Credentials: {
      AccessKeyId: session.accessKeyId,
      SecretAccessKey: session.secretAccessKey,
      SessionToken: session.token,
      Expiration: new Date(session.expiresAt),
    },
    AssumedRoleUser: { AssumedRoleId: `${session.role.roleId}:${session.name}`, Arn: arn },
  }
}
