import type { Call, CheckFinding } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import { refuse } from './marks.ts'
import { trustOf } from './role-switch.ts'
import type { Consumer } from './trust.ts'
import { githubIssuer, looseness } from './trust.ts'

/** Loose trusts named in a finding; the rest is counted. */
const namedMax = 5
const rolesPerPage = 1_000

/** The issuers whose tokens the AWS account takes. */
export class OidcProviders {
  readonly #account: AwsAccount
  readonly #mayCreate: boolean

  constructor(account: AwsAccount, mayCreate: boolean) {
    this.#account = account
    this.#mayCreate = mayCreate
  }

  /**
   * @returns the ARN of the issuer's provider, which takes tokens for this audience
   * @throws ProviderError `invalid` with the command that registers it, unless Custody may
   */
  async ensure({ issuer, audience }: Consumer, call: Call): Promise<string> {
    const arn = await this.#account.arnOf(`oidc-provider/${issuer}`, call)
    const iam = this.#account.iam(call)
    const id = { OpenIDConnectProviderArn: arn }
    const found = await unlessGone(iam.getOpenIDConnectProvider(id, within(call)))
    if (found?.ClientIDList?.includes(audience)) return arn
    if (!this.#mayCreate) throw refuse('invalid', missing(arn, { issuer, audience }, !!found))
    if (found) {
      await iam.addClientIDToOpenIDConnectProvider({ ...id, ClientID: audience }, within(call))
      return arn
    }
    try {
      const Url = `https://${issuer}`
      await iam.createOpenIDConnectProvider({ Url, ClientIDList: [audience] }, within(call))
      return arn
    } catch (error) {
      // Another process of ours was faster: its answer tells whether the audience is among them.
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
      await iam.addClientIDToOpenIDConnectProvider({ ...id, ClientID: audience }, within(call))
      return arn
    }
  }

  /** Which issuers are registered, and whose roles trust one of them loosely (NHI6). */
  async check(call: Call): Promise<readonly CheckFinding[]> {
    return [await this.#registered(call), await this.#trusts(call)]
  }

  async #registered(call: Call): Promise<CheckFinding> {
    const name = 'federation'
    try {
      const answer = await this.#account.iam(call).listOpenIDConnectProviders({}, within(call))
      const issuers = (answer.OpenIDConnectProviderList ?? []).map(({ Arn }) =>
        (Arn ?? '').replace(/^.*:oidc-provider\//, ''),
      )
      if (issuers.length > 0) {
        const message = `Federated roles may trust ${issuers.join(', ')}.`
        return { name, state: 'ok', message, remedy: null }
      }
      return {
        name,
        state: 'unknown',
        message:
          'No identity provider is registered in this account: no federated role can be made.',
        remedy: this.#mayCreate
          ? null
          : `For GitHub Actions: ${createCommand({ issuer: githubIssuer, audience: 'sts.amazonaws.com' })}`,
      }
    } catch (error) {
      return cannotTell(name, error, 'iam:ListOpenIDConnectProviders')
    }
  }

  /** Custody's own are exact; those that people wrote by hand are what this finds. */
  async #trusts(call: Call): Promise<CheckFinding> {
    const name = 'trust-policies'
    try {
      const { Roles = [], IsTruncated } = await this.#account
        .iam(call)
        .listRoles({ MaxItems: rolesPerPage }, within(call))
      const loose = Roles.flatMap((role) => {
        const reason = looseness(trustOf(role))
        return reason === null ? [] : [`${role.Path}${role.RoleName} ${reason}`]
      })
      const scope = IsTruncated ? `the first ${Roles.length} roles` : `${Roles.length} roles`
      if (loose.length === 0) {
        const message = `None of ${scope} trusts an identity provider loosely.`
        return { name, state: 'ok', message, remedy: null }
      }
      const named = loose.slice(0, namedMax).join('; ')
      const more = loose.length > namedMax ? `, and ${loose.length - namedMax} more` : ''
      return {
        name,
        state: 'failed',
        message: `Of ${scope}, ${loose.length} would let strangers in: ${named}${more}.`,
        remedy: 'Name sub and aud with StringEquals, or ask Custody for a federated-role instead.',
      }
    } catch (error) {
      return cannotTell(name, error, 'iam:ListRoles')
    }
  }
}

function cannotTell(name: string, error: unknown, action: string): CheckFinding {
  const message = error instanceof ProviderError ? error.message : 'The answer could not be read.'
  return { name, state: 'unknown', message, remedy: `Grant ${action} on "*".` }
}

function createCommand({ issuer, audience }: Pick<Consumer, 'issuer' | 'audience'>): string {
  return `aws iam create-open-id-connect-provider --url https://${issuer} --client-id-list ${audience}`
}

function missing(
  arn: string,
  consumer: Pick<Consumer, 'issuer' | 'audience'>,
  isThere: boolean,
): string {
  return isThere
    ? `The identity provider ${consumer.issuer} of this AWS account takes no tokens for ${consumer.audience}. Run: aws iam add-client-id-to-open-id-connect-provider --open-id-connect-provider-arn ${arn} --client-id ${consumer.audience}`
    : `This AWS account knows no identity provider ${consumer.issuer}. Run: ${createCommand(consumer)}`
}
