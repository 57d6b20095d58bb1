import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyPluginAsync, FastifyReply } from 'fastify'
import type { ServiceAccount } from '../domain/account.ts'
import { errors } from '../domain/errors.ts'
import type { Operation } from '../domain/operation.ts'
import type { Caller, SweepName } from '../lifecycle/engine.ts'
import { sweepNames } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { orNull } from './errors.ts'
import type { Field } from './fields.ts'
import { flag, instant, onOff, optional, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'
import { accountRow, credentialView, operationView, ownerView } from './views.ts'

interface ById {
  Params: { id: string }
}

/** Accounts told of with their owner. */
const ownedMax = 200
const planRowsMax = 1_000

const leaveClass: Field<'declared' | 'security'> = {
  read: (value) => (value === 'declared' || value === 'security' ? value : null),
  wants: 'declared or security',
}

/** The actions and the reads that SCIM has no words for (contract §5). */
export function apiRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store } = host

  const accountView = async (account: ServiceAccount) => {
    const [credentials, keys, principals] = await Promise.all([
      store.read.credentialsOf(account.tenant, account.id),
      store.read.keysOfAccount(account.tenant, account.id),
      store.read.principalsOf(account.tenant, account.id),
    ])
    const [why, next] = await Promise.all([
      engine.whyOf(account, credentials),
      engine.nextOf(account, credentials),
    ])
    return {
      ...accountRow(account),
      why: why.account,
      next,
      asked: await engine.asked(account),
      enforcement: engine.isWatched(account) ? 'observe' : 'enforce',
      credentials: credentials.map((c) => ({
        ...credentialView(
          c,
          keys.filter((k) => k.credential === c.id),
        ),
        why: why.credentials.get(c.id) ?? null,
      })),
      principals: principals.map(({ provider, external, state, created }) => ({
        provider,
        external,
        state,
        created,
      })),
    }
  }

  return async (app) => {
    app.get<ById>('/accounts/:id', async (request) => {
      const caller = await authenticate(request)
      return accountView(await engine.account(caller, request.params.id, { retiredToo: true }))
    })
    for (const to of ['disable', 'enable', 'retire'] as const) {
      app.post<ById>(`/accounts/:id/${to}`, async (request, reply) => {
        const caller = await authenticate(request)
        const reason = optional(request.body, 'reason', text)
        const { operations } = await engine.switchAccount(caller, request.params.id, to, reason)
        return accepted(reply, operations[0]!)
      })
    }
    app.post<ById>('/accounts/:id/transfer', async (request) => {
      const caller = await authenticate(request)
      const owner = required(request.body, 'owner', text)
      const group = await store.read.group(caller.tenant, owner)
      const account = await engine.transfer(caller, request.params.id, {
        owner: { type: group ? 'Group' : 'User', id: owner },
        atOnce: optional(request.body, 'atOnce', flag) ?? false,
        reason: optional(request.body, 'reason', text),
      })
      return accountRow(account)
    })

    app.post<ById>('/accounts/:id/backup/accept', async (request) => {
      const caller = await authenticate(request)
      const backup = optional(request.body, 'backup', text)
      return accountRow(await engine.acceptBackup(caller, request.params.id, backup))
    })
    app.post<ById>('/accounts/:id/certify', async (request) => {
      const caller = await authenticate(request)
      const extend =
        onOff(request.query, 'extend') ?? optional(request.body, 'extend', flag) ?? false
      const reason = optional(request.body, 'reason', text)
      return accountRow(await engine.certify(caller, request.params.id, { extend, reason }))
    })

    for (const verb of ['accept', 'decline'] as const) {
      app.post<ById>(`/transfers/:id/${verb}`, async (request) => {
        const caller = await authenticate(request)
        const { id } = request.params
        return accountRow(
          await (verb === 'accept'
            ? engine.acceptTransfer(caller, id)
            : engine.declineTransfer(caller, id)),
        )
      })
    }

    app.get<ById>('/credentials/:id', async (request) => {
      const caller = await authenticate(request)
      const { account, credential } = await engine.credential(caller, request.params.id)
      const keys = await store.read.keysOf(caller.tenant, credential.id)
      const waitsFor = await engine.waitsFor(credential)
      const frozen = engine.frozen(account, credential)
      return { ...credentialView(credential, keys), waitsFor, frozen }
    })
    app.post<ById>('/credentials/:id/rotate', async (request, reply) => {
      const caller = await authenticate(request)
      return accepted(reply, await engine.rotateCredential(caller, request.params.id))
    })
    app.post<ById>('/credentials/:id/revoke', async (request, reply) => {
      const caller = await authenticate(request)
      const reason = optional(request.body, 'reason', text)
      return accepted(reply, await engine.revokeCredential(caller, request.params.id, reason))
    })

    app.get<ById>('/owners/:id', async (request) => {
      const caller = await authenticate(request)
      const person = await engine.owner(caller, request.params.id)
      return { ...ownerView(person), ...(await ownedBy(caller, person.id)) }
    })
    app.get<ById>('/owners/:id/impact', async (request) => {
      const caller = await authenticate(request)
      const { id } = request.params
      const page = { ...pageOf(request.query), ...impactLimit(request.query) }
      const items = await engine.impact(caller, id, page)
      const cursor = items.length === page.limit ? (items.at(-1)?.account ?? null) : null
      const { leavesAt = null } = await engine.owner(caller, id)
      return { owner: id, leavesAt, items, cursor }
    })
    app.post<ById>('/owners/:id/leave', async (request, reply) => {
      const caller = await authenticate(request)
      const { operation } = await engine.declareLeave(caller, request.params.id, {
        reason: optional(request.body, 'reason', text),
        since: optional(request.body, 'since', instant),
        class: optional(request.body, 'class', leaveClass) ?? 'declared',
      })
      return accepted(reply, operation!)
    })
    app.get<ById>('/reports/offboarding/:id', async (request) => {
      const caller = await authenticate(request)
      return engine.offboarding(caller, request.params.id)
    })

    app.post<{ Params: { name: string }; Querystring: { dryRun?: string; full?: string } }>(
      '/sweeps/:name',
      async (request) => {
        const caller = await authenticate(request)
        const sweep = sweepOf(request.params.name)
        const { dryRun, full } = sweepOptionsOf(request.query, request.body)
        engine.authorise(caller, dryRun ? 'sweep.plan' : 'sweep.run', { type: 'sweep', id: sweep })
        if (dryRun)
          return {
            sweep,
            dryRun,
            items: await engine.planSweep(caller, sweep, planRowsMax, { full }),
          }
        const applied = await engine.runSweep(caller, sweep, { full })
        return {
          sweep,
          dryRun,
          items: applied.map(({ proposal, operations, error }) => ({
            act: proposal.act,
            id: proposal.id,
            operations,
            error,
          })),
        }
      },
    )

    app.get<ById>('/operations/:id', async (request) => {
      const caller = await authenticate(request)
      return operationView(await engine.operation(caller, request.params.id))
    })
    app.post<ById>('/operations/:id/retry', async (request, reply) => {
      const caller = await authenticate(request)
      return accepted(reply, await engine.retryOperation(caller, request.params.id))
    })
    app.post<ById>('/operations/:id/cancel', async (request) => {
      const caller = await authenticate(request)
      return operationView(await engine.cancelOperation(caller, request.params.id))
    })
  }

  /** The first of them that the caller may see; whether there are more, `/accounts?owner=` has. */
  async function ownedBy(caller: Caller, id: string) {
    const accounts: ReturnType<typeof accountRow>[] = []
    for (let after: string | null = null; ;) {
      const rows = await store.read.accountsOwnedBy(caller.tenant, id, after, ownedMax)
      const visible = await Promise.all(rows.map((a) => orNull(engine.account(caller, a.id))))
      accounts.push(...visible.filter((a) => a !== null).map(accountRow))
      const hasMore = accounts.length > ownedMax
      if (hasMore || rows.length < ownedMax) {
        return { accounts: accounts.slice(0, ownedMax), hasMore }
      }
      after = rows.at(-1)!.id
      await turn()
    }
  }
}

/** Whoever does not page gets what nearly everybody owns, whole. */
function impactLimit(query: unknown): { readonly limit?: number } {
  const isPaged = (query as Readonly<Record<string, unknown>>)['limit'] !== undefined
  return isPaged ? {} : { limit: 1_000 }
}

function accepted(reply: FastifyReply, operation: Operation): FastifyReply {
  return reply.status(202).header('custody-operation', operation.id).send(operationView(operation))
}

/**
 * Asking for a plan must never run the real thing: whatever is not plainly `true` or `false`, in the
 * query and nowhere else, is refused. `full` looks at every account, not at recent changes only.
 */
function sweepOptionsOf(
  query: Readonly<Record<string, unknown>>,
  body: unknown,
): { readonly dryRun: boolean; readonly full: boolean } {
  const other = Object.keys(query).find((name) => name !== 'dryRun' && name !== 'full')
  if (other !== undefined) {
    throw errors.invalidValue({
      path: other,
      reason: 'is no parameter of a sweep; there are dryRun and full.',
    })
  }
  if (body !== undefined && body !== null && Object.keys(body).length > 0) {
    throw errors.invalidSyntax({ reason: 'A sweep takes no body; send ?dryRun=true for its plan.' })
  }
  return { dryRun: flagOf(query, 'dryRun'), full: flagOf(query, 'full') }
}

function flagOf(query: Readonly<Record<string, unknown>>, name: string): boolean {
  const value = query[name]
  if (value === undefined || value === 'false') return false
  if (value === 'true') return true
  throw errors.invalidValue({ path: name, reason: 'must be true or false.' })
}

function sweepOf(name: string): SweepName {
  const found = sweepNames.find((s) => s === name)
  if (!found) throw errors.unknownSweep({ name, known: sweepNames.join(', ') })
  return found
}
