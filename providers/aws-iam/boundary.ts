import type { Call, CheckFinding } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Config } from './config.ts'
import { defaultPath } from './config.ts'
import { parsed } from './marks.ts'
import { boundaryDocument, boundaryPolicyName } from './policies.ts'

/** The permissions boundary every user and role of Custody's is born with. */
export class Boundary {
  readonly #account: AwsAccount
  readonly #path: string
  readonly #configured: string | null
  #arn: Promise<string> | null = null

  constructor(account: AwsAccount, config: Config) {
    this.#account = account
    this.#path = config.path ?? defaultPath
    this.#configured = config.boundaryArn ?? null
  }

  /** Makes the policy if it is not there. @returns its ARN */
  ensure(call: Call): Promise<string> {
    if (this.#configured !== null) return Promise.resolve(this.#configured)
    this.#arn ??= this.#create(call).catch((error: unknown) => {
      this.#arn = null
      throw error
    })
    return this.#arn
  }

  /** Its ARN, whether or not it is there. */
  async arn(call: Call): Promise<string> {
    return this.#configured ?? this.#account.arnOf(`policy${this.#path}${boundaryPolicyName}`, call)
  }

  /** Whether it is the one that Custody puts on; somebody else's boundary is left alone. */
  isOurs(arn: string | undefined): boolean {
    return this.#configured === null
      ? arn?.endsWith(`:policy${this.#path}${boundaryPolicyName}`) === true
      : arn === this.#configured
  }

  /** Whether the policy is there and still says what Custody wrote. */
  async check(call: Call): Promise<CheckFinding> {
    const iam = this.#account.iam(call)
    const own = `policy${this.#path}${boundaryPolicyName}`
    const PolicyArn = this.#configured ?? (await this.#account.arnOf(own, call))
    const found = await unlessGone(iam.getPolicy({ PolicyArn }, within(call)))
    const name = 'boundary'
    if (!found && this.#configured === null) {
      const message = `${PolicyArn} is not there yet; it is made with the first user.`
      return { name, state: 'ok', message, remedy: null }
    }
    if (!found) {
      const remedy = 'Make that policy, or take boundaryArn out of the configuration.'
      return { name, state: 'failed', message: `${PolicyArn} is not there.`, remedy }
    }
    if (this.#configured !== null) {
      return { name, state: 'ok', message: `${PolicyArn} is there.`, remedy: null }
    }
    const VersionId = found.Policy?.DefaultVersionId
    const { PolicyVersion } = await iam.getPolicyVersion({ PolicyArn, VersionId }, within(call))
    const there = decodeURIComponent(PolicyVersion?.Document ?? '')
    const changed = changedStatements(there, boundaryDocument(this.#path))
    return changed.length === 0
      ? { name, state: 'ok', message: `${PolicyArn} is as Custody wrote it.`, remedy: null }
      : {
          name,
          state: 'failed',
          message: `${PolicyArn} (${VersionId}) is not what Custody wrote; other than it: ${changed.join(', ')}.`,
          remedy: `Make ${boundaryDocument(this.#path)} its default version.`,
        }
  }

  async #create(call: Call): Promise<string> {
    const arn = await this.#account.arnOf(`policy${this.#path}${boundaryPolicyName}`, call)
    const iam = this.#account.iam(call)
    if (await unlessGone(iam.getPolicy({ PolicyArn: arn }, within(call)))) return arn
    try {
      await iam.createPolicy(
        {
          PolicyName: boundaryPolicyName,
          Path: this.#path,
          Description: 'Users made by Custody cannot re-arm themselves.',
          PolicyDocument: boundaryDocument(this.#path),
        },
        within(call),
      )
    } catch (error) {
      // Another process of ours was faster.
      if (!(error instanceof ProviderError && error.kind === 'conflict')) throw error
    }
    return arn
  }
}

/** The statements, by their Sid, that are not in both or not the same; white space is nothing. */
function changedStatements(there: string, wanted: string): readonly string[] {
  const [a, b] = [statementsOf(there), statementsOf(wanted)]
  if (a === null || b === null) return ['the whole document']
  return [...new Set([...a.keys(), ...b.keys()])].filter((sid) => a.get(sid) !== b.get(sid))
}

function statementsOf(document: string): ReadonlyMap<string, string> | null {
  const { Statement } = parsed(document)
  if (!Array.isArray(Statement)) return null
  return new Map(
    Statement.map((statement: Readonly<Record<string, unknown>>, i) => [
      typeof statement['Sid'] === 'string' ? statement['Sid'] : `statement ${i + 1}`,
      JSON.stringify(statement, Object.keys(statement).sort()),
    ]),
  )
}
