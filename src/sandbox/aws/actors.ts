import { instantOf } from '../../domain/time.ts'
import type { IamState, IamUser } from './iam-state.ts'
import type { RequestContext, Statement } from './policy.ts'
import { isAllowed, isDenied } from './policy.ts'
import type { Assumer, Session, StsState } from './sts.ts'

/** Whoever acts under policies: a user with a key, or a session of a role. */
export interface Actor {
  readonly arn: string
  /** The user's name, which some actions of IAM take for granted; null for a session. */
  readonly userName: string | null
  readonly userId: string
  readonly holder: Pick<IamUser, 'inline' | 'attached' | 'boundary'>
  readonly session: Session | null
  /** The condition keys that tell who it is. */
  readonly keys: Readonly<Record<string, string>>
}

/** Who stands behind a key, and what they may do. */
export class Actors {
  readonly #iam: IamState
  readonly #sts: StsState

  constructor(iam: IamState, sts: StsState) {
    this.#iam = iam
    this.#sts = sts
  }

  get rootArn(): string {
    return `arn:aws:iam::${this.#iam.accountId}:root`
  }

  /** Null for the account's administrator, and for a key that nobody holds. */
  of(accessKeyId: string): Actor | null {
    const session = this.#sts.session(accessKeyId)
    if (session) return this.#ofSession(session)
    const key = this.#iam.keys.get(accessKeyId)
    const user = key ? this.#iam.userById(key.userId) : null
    if (!user) return null
    const arn = this.#iam.arnOf('user', user.path, user.name)
    const keys = {
      'aws:username': user.name,
      'aws:userid': user.userId,
      'aws:principalarn': arn,
    }
    return { arn, userName: user.name, userId: user.userId, holder: user, session: null, keys }
  }

  #ofSession(session: Session): Actor {
    const { role, name } = session
    const userId = `${role.roleId}:${name}`
    const keys = {
      'aws:userid': userId,
      'aws:principalarn': this.#iam.arnOf('role', role.path, role.name),
      'aws:tokenissuetime': instantOf(session.issuedAt),
    }
    return { arn: this.#sts.arnOf(session), userName: null, userId, holder: role, session, keys }
  }

  may(actor: Actor, context: RequestContext): boolean {
    // Works with any credential that authenticates, even one that is denied everything.
    if (context.action === 'sts:GetCallerIdentity') return true
    const { identity, boundary } = this.#policiesOf(actor)
    if (!isAllowed(identity, boundary, context)) return false
    const narrowed = actor.session?.policy ?? null
    return narrowed === null || isAllowed([this.#iam.parse(narrowed)], null, context)
  }

  /** As AssumeRole has to know them. @param contextOf the call as this actor makes it */
  assumer(actor: Actor | null, contextOf: (actor: Actor) => RequestContext): Assumer {
    if (!actor) {
      // A real root user assumes no roles; the sandbox's administrator stands in for anybody.
      const arns = [this.rootArn]
      return { arn: this.rootArn, arns, isSession: false, own: () => 'allowed' }
    }
    const role = actor.session?.role
    return {
      arn: actor.arn,
      arns: role ? [actor.arn, this.#iam.arnOf('role', role.path, role.name)] : [actor.arn],
      isSession: actor.session !== null,
      own: (resource) => {
        const context = { ...contextOf(actor), resource }
        const { identity, boundary } = this.#policiesOf(actor)
        if (isDenied([...identity, ...(boundary ? [boundary] : [])], context)) return 'denied'
        return this.may(actor, context) ? 'allowed' : 'none'
      },
    }
  }

  #policiesOf({ holder }: Actor): {
    readonly identity: readonly (readonly Statement[])[]
    readonly boundary: readonly Statement[] | null
  } {
    const managed = [...holder.attached].map((arn) => this.#iam.policy(arn).document)
    const { boundary } = holder
    return {
      identity: [...holder.inline.values(), ...managed].map((d) => this.#iam.parse(d)),
      boundary: boundary === null ? null : this.#iam.parse(this.#iam.policy(boundary).document),
    }
  }
}
