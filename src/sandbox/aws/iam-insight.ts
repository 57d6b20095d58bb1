import type * as iam from '@aws-sdk/client-iam'
import { instantOf } from '../../domain/time.ts'
import { AwsError } from './error.ts'
import type { Action } from './iam.ts'
import type { IamRole, IamState, IamUser } from './iam-state.ts'
import { isAllowed, isDenied } from './policy.ts'

/** What IAM tells about users beside their state: what they may do, and which services they used. */
interface Job {
  readonly arn: string
  readonly createdAt: number
}

const jobs = new WeakMap<IamState, Map<string, Job>>()

export const insightActions = {
  SimulatePrincipalPolicy(
    state: IamState,
    input: iam.SimulatePrincipalPolicyRequest,
  ): iam.SimulatePolicyResponse {
    const user = holderOf(state, input.PolicySourceArn!)
    const parse = (document: string) => state.parse(document)
    const managed = [...user.attached].map((arn) => state.policy(arn).document)
    const extra = input.PolicyInputList ?? []
    const policies = [...user.inline.values(), ...managed, ...extra].map(parse)
    const boundary = user.boundary === null ? null : parse(state.policy(user.boundary).document)
    const given = (input.ContextEntries ?? []).map((entry): [string, string] => [
      entry.ContextKeyName!.toLowerCase(),
      (entry.ContextKeyValues ?? []).join('\n'),
    ])
    const keys = {
      ...('userId' in user ? { 'aws:username': user.name, 'aws:userid': user.userId } : {}),
      ...Object.fromEntries(given),
      'aws:principalarn': input.PolicySourceArn!,
      'aws:currenttime': instantOf(state.now()),
    }
    const results = input.ActionNames!.flatMap((action) =>
      (input.ResourceArns ?? ['*']).map((resource): iam.EvaluationResult => {
        const context = { action, resource, keys }
        const denied = isDenied(boundary === null ? policies : [...policies, boundary], context)
        const allowed = isAllowed(policies, boundary, context)
        return {
          EvalActionName: action,
          EvalResourceName: resource,
          EvalDecision: denied ? 'explicitDeny' : allowed ? 'allowed' : 'implicitDeny',
        }
      }),
    )
    return { EvaluationResults: results, IsTruncated: false }
  },

  GenerateServiceLastAccessedDetails(
    state: IamState,
    input: iam.GenerateServiceLastAccessedDetailsRequest,
  ): iam.GenerateServiceLastAccessedDetailsResponse {
    userOf(state, input.Arn!)
    const JobId = state.newId('JOB').toLowerCase().padEnd(36, '0')
    const known = jobs.get(state) ?? new Map<string, Job>()
    jobs.set(state, known.set(JobId, { arn: input.Arn!, createdAt: state.now() }))
    return { JobId }
  },

  /** Ready at once; each key tells its last use only. */
  GetServiceLastAccessedDetails(
    state: IamState,
    input: iam.GetServiceLastAccessedDetailsRequest,
  ): iam.GetServiceLastAccessedDetailsResponse {
    const job = jobs.get(state)?.get(input.JobId!)
    if (!job) throw new AwsError('NoSuchEntity', `Job ${input.JobId} cannot be found.`)
    const user = userOf(state, job.arn)
    const services = new Map<string, number>()
    for (const { lastUsed } of state.everyKeyOf(user)) {
      if (!lastUsed) continue
      services.set(lastUsed.service, Math.max(services.get(lastUsed.service) ?? 0, lastUsed.at))
    }
    return {
      JobStatus: 'COMPLETED',
      JobCreationDate: new Date(job.createdAt),
      JobCompletionDate: new Date(job.createdAt),
      IsTruncated: false,
      ServicesLastAccessed: [...services].map(([name, at]) => ({
        ServiceName: name,
        ServiceNamespace: name,
        LastAuthenticated: new Date(at),
        LastAuthenticatedEntity: job.arn,
        TotalAuthenticatedEntities: 1,
      })),
    }
  },
} satisfies Readonly<Record<string, Action>>

/** A user or a role: both have policies of their own. */
function holderOf(state: IamState, arn: string): IamUser | IamRole {
  const isIt = (role: IamRole) => state.arnOf('role', role.path, role.name) === arn
  return [...state.roles.values()].find(isIt) ?? userOf(state, arn)
}

function userOf(state: IamState, arn: string): IamUser {
  for (const user of state.users.values()) {
    if (state.arnOf('user', user.path, user.name) === arn) return user
  }
  throw new AwsError('NoSuchEntity', `The entity ${arn} cannot be found.`)
}
