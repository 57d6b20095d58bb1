import type { Call, CheckFinding, CheckReport } from '../../src/provider/contract.ts'
import { ProviderError } from '../../src/provider/contract.ts'
import { unlessGone } from '../aws/errors.ts'
import type { AwsAccount } from './account.ts'
import { within } from './account.ts'
import type { Boundary } from './boundary.ts'
import type { Config } from './config.ts'
import type { Identity } from './identity.ts'
import type { AllowStatement } from './least.ts'
import { askStatement, policyText } from './least.ts'
import { refuse } from './marks.ts'

interface Checked {
  readonly account: AwsAccount
  readonly boundary: Boundary
  readonly identities: readonly Identity[]
  readonly config: Config
}

/** Who Custody is in the account. */
interface Caller {
  readonly arn: string
  /** The user or role its policies hang on; null where that cannot be told. */
  readonly principal: string | null
  readonly isRoot: boolean
}

/** AWS refuses signatures that are 5 minutes off; Custody acts by time only within 30 seconds. */
const skewSecondsMax = 30

/** Tries what the provider was configured with. Reads only. */
export async function checkProvider(checked: Checked, call: Call): Promise<CheckReport> {
  const statements = [
    ...checked.identities.flatMap((identity) => identity.leastStatements?.() ?? []),
    askStatement,
  ]
  const leastPolicy = policyText(statements)
  let caller: Caller
  try {
    caller = await callerOf(checked.account, call)
  } catch (error) {
    return { findings: [notConnected(checked.config, knownError(error))], leastPolicy }
  }
  const findings: CheckFinding[] = [
    await introduced(checked.account, caller, call),
    clock(checked.account),
    await asFinding('boundary', () => checked.boundary.check(call)),
    ...(await permissions(checked, caller, statements, call)),
  ]
  for (const identity of checked.identities) {
    findings.push(...((await identity.check?.(call).catch(problemOf(identity.kind))) ?? []))
  }
  return { findings, leastPolicy }
}

/** A module of ours may fail in one way only; anything else is a fault that must show. */
function knownError(error: unknown): ProviderError {
  if (error instanceof ProviderError) return error
  throw error
}

function sentence({ message }: ProviderError): string {
  return /[.!?…]$/.test(message) ? message : `${message}.`
}

function problemOf(name: string) {
  return (error: unknown): readonly CheckFinding[] => {
    const known = knownError(error)
    const state = known.kind === 'denied' ? 'unknown' : 'failed'
    return [{ name, state, message: sentence(known), remedy: null }]
  }
}

async function asFinding(name: string, ask: () => Promise<CheckFinding>): Promise<CheckFinding> {
  return ask().catch((error: unknown) => problemOf(name)(error)[0]!)
}

function notConnected({ assumeRole, endpoint }: Config, error: ProviderError): CheckFinding {
  const { kind } = error
  const where = endpoint ?? 'AWS'
  const remedies: Readonly<Partial<Record<ProviderError['kind'], string>>> = {
    denied: assumeRole
      ? `Let the configured credentials sts:AssumeRole on ${assumeRole.roleArn}, and let its trust policy name them${assumeRole.externalId === undefined ? '' : ' with the external id'}.`
      : 'See that the access key in the configuration (or in the environment) exists, is active, and goes with its secret.',
    unavailable: `See that ${where} can be reached from here, and that it is AWS that answers there.`,
    throttled: 'Wait a while, and check again.',
  }
  const message = sentence(error)
  return { name: 'credentials', state: 'failed', message, remedy: remedies[kind] ?? null }
}

async function callerOf(account: AwsAccount, call: Call): Promise<Caller> {
  const { Arn: arn } = await account.sts(call).getCallerIdentity({}, within(call))
  if (arn === undefined) throw refuse('invalid', 'AWS did not say who the credentials are of.')
  const isRoot = arn.endsWith(':root')
  if (arn.includes(':user/') || isRoot) return { arn, principal: isRoot ? null : arn, isRoot }
  // A session's ARN shows its role without the path.
  const RoleName = /:assumed-role\/([^/]+)\//.exec(arn)?.[1]
  const role = await account
    .iam(call)
    .getRole({ RoleName }, within(call))
    .catch((error: unknown) => {
      knownError(error)
      return null
    })
  return { arn, principal: role?.Role?.Arn ?? null, isRoot: false }
}

async function introduced(
  account: AwsAccount,
  { arn, isRoot }: Caller,
  call: Call,
): Promise<CheckFinding> {
  const [, partition, , , id] = arn.split(':')
  const aliases = await account
    .iam(call)
    .listAccountAliases({}, within(call))
    .catch((error: unknown) => {
      knownError(error)
      return null
    })
  const [alias] = aliases?.AccountAliases ?? []
  const named = alias === undefined ? '' : ` ("${alias}")`
  return {
    name: 'credentials',
    state: 'ok',
    message: `Custody is ${arn} in account ${id}${named}, partition ${partition}.`,
    remedy: isRoot
      ? 'This is the account’s root user: give Custody a user or role of its own.'
      : null,
  }
}

function clock(account: AwsAccount): CheckFinding {
  const ahead = account.aheadSeconds()
  if (ahead === null) {
    const message = 'AWS did not say what time it is.'
    return { name: 'clock', state: 'unknown', message, remedy: null }
  }
  const off = Math.round(Math.abs(ahead))
  const message = `The clock here is ${off} s ${ahead < 0 ? 'ahead of' : 'behind'} AWS's.`
  return off > skewSecondsMax
    ? { name: 'clock', state: 'failed', message, remedy: 'Let NTP set the clock of this machine.' }
    : { name: 'clock', state: 'ok', message, remedy: null }
}

/** A finding for each action that is missing, and one that says what was asked. */
async function permissions(
  checked: Checked,
  caller: Caller,
  statements: readonly AllowStatement[],
  call: Call,
): Promise<readonly CheckFinding[]> {
  const total = new Set(statements.flatMap((s) => s.Action)).size
  const summary = (state: CheckFinding['state'], message: string, remedy: string | null = null) => [
    { name: 'permissions', state, message, remedy },
  ]
  if (caller.isRoot) return summary('ok', 'The root user may do everything.')
  const missing: CheckFinding[] = []
  try {
    if (caller.principal === null) return await byReading(checked, total, call)
    for (const statement of statements) {
      // Several statements may want the same action: the first says where it belongs.
      const found = await simulated(checked.account, caller.principal, statement, call)
      missing.push(...found.filter(({ name }) => !missing.some((known) => known.name === name)))
    }
  } catch (error) {
    const known = knownError(error)
    if (known.kind === 'denied') return byReading(checked, total, call)
    return summary('unknown', `What Custody may do could not be asked: ${sentence(known)}`)
  }
  if (missing.length > 0) return missing
  return summary('ok', `IAM says that all ${total} actions needed are allowed.`)
}

async function simulated(
  account: AwsAccount,
  PolicySourceArn: string,
  statement: AllowStatement,
  call: Call,
): Promise<readonly CheckFinding[]> {
  const missing: CheckFinding[] = []
  // Which account it is stands in no statement of ours; a star in an ARN is asked for by an example.
  const { id } = await account.own(call)
  const ResourceArns = [statement.Resource]
    .flat()
    .map((arn) => (arn === '*' ? arn : arn.replace('::*:', `::${id}:`).replaceAll('*', 'example')))
  let marker: string | undefined
  do {
    const page = await account.iam(call).simulatePrincipalPolicy(
      {
        PolicySourceArn,
        ActionNames: [...statement.Action],
        ResourceArns,
        ContextEntries: contextOf(statement),
        ...(marker === undefined ? {} : { Marker: marker }),
      },
      within(call),
    )
    for (const result of page.EvaluationResults ?? []) {
      const bySCP = result.OrganizationsDecisionDetail?.AllowedByOrganizations === false
      if (result.EvalDecision === 'allowed' && !bySCP) continue
      const why = bySCP
        ? 'a policy of the organisation forbids it'
        : result.EvalDecision === 'explicitDeny'
          ? 'a policy denies it'
          : 'no policy allows it'
      const { EvalActionName: action, EvalResourceName: resource } = result
      if (missing.some((finding) => finding.name === action)) continue
      missing.push({
        name: action!,
        state: 'failed',
        message: `${action} is refused on ${resource}: ${why}.`,
        remedy: `Grant it as statement ${statement.Sid} of the least policy does (custody provider check --policy).`,
      })
    }
    marker = page.IsTruncated ? page.Marker : undefined
  } while (marker !== undefined)
  return missing
}

/** What the statement's conditions ask of a request, so that the simulation meets them. */
function contextOf({ Condition = {} }: AllowStatement) {
  return Object.entries(Condition).flatMap(([operator, keys]) =>
    Object.entries(keys).map(([ContextKeyName, values]) => ({
      ContextKeyName,
      ContextKeyType: operator.startsWith('ForAll') ? ('stringList' as const) : ('string' as const),
      ContextKeyValues: values.map((value) => value.replaceAll('*', 'example')),
    })),
  )
}

/** Without IAM's word only what reads can be tried; whether the rest is allowed shows when it is done. */
async function byReading(
  { account }: Checked,
  total: number,
  call: Call,
): Promise<readonly CheckFinding[]> {
  const iam = account.iam(call)
  const options = within(call)
  const reads: Readonly<Record<string, () => Promise<unknown>>> = {
    'iam:ListUsers': () => iam.listUsers({ MaxItems: 1 }, options),
    'iam:GetUser': () => iam.getUser({ UserName: 'custody-check-nobody' }, options),
    'iam:GetAccountAuthorizationDetails': () =>
      iam.getAccountAuthorizationDetails({ Filter: ['User'], MaxItems: 1 }, options),
  }
  const findings: CheckFinding[] = []
  for (const [name, read] of Object.entries(reads)) {
    try {
      await unlessGone(read())
      findings.push({ name, state: 'ok', message: `${name} is allowed.`, remedy: null })
    } catch (error) {
      const known = knownError(error)
      const state = known.kind === 'denied' ? 'failed' : 'unknown'
      const remedy = `Grant ${name} (custody provider check --policy).`
      findings.push({ name, state, message: sentence(known), remedy })
    }
  }
  return [
    ...findings,
    {
      name: 'permissions',
      state: 'unknown',
      message: `Whether the other ${total - findings.length} actions are allowed cannot be told without changing something.`,
      remedy: 'Grant iam:SimulatePrincipalPolicy, and iam:GetRole if Custody acts in a role.',
    },
  ]
}
