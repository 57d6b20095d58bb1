import type { FastifyPluginAsync } from 'fastify'
import type { Client, Dialect, Role } from '../domain/client.ts'
import { dialects, roles } from '../domain/client.ts'
import { errors } from '../domain/errors.ts'
import type { ClientId, PersonId } from '../domain/ids.ts'
import { hashToken, mintToken } from '../domain/token.ts'
import { auditRow } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { optional, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

/** Who may call Custody: clients and their bearer tokens. A token is shown once and never again. */
export function clientRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine, store, clock, ids } = host
  return async (app) => {
    app.get('/clients', async (request) => {
      const caller = await authenticate(request)
      engine.authorise(caller, 'client.read', { type: 'client', id: 'any' })
      const clients = await store.read.clients(caller.tenant)
      return { items: await Promise.all(clients.map(withTokens)), cursor: null }
    })

    app.post('/clients', { config: { secretAnswer: true } }, async (request, reply) => {
      const caller = await authenticate(request)
      const id = ids.next() as ClientId
      const decision = engine.authorise(caller, 'client.create', { type: 'client', id })
      const role = oneOf(required(request.body, 'role', text), roles, 'role')
      const dialect = oneOf(
        optional(request.body, 'dialect', text) ?? 'lenient',
        dialects,
        'dialect',
      )
      const tenant = optional(request.body, 'tenant', text)
      if (tenant !== null && tenant !== caller.tenant) {
        const reason = `this version has one tenant, "${caller.tenant}"; leave it out.`
        throw errors.invalidValue({ path: 'tenant', reason })
      }
      const person = optional(request.body, 'person', text)
      if (person !== null && !(await store.read.person(caller.tenant, person))) {
        throw errors.ownerUnknown({ owner: person, path: 'person' })
      }
      const now = clock.now()
      const client: Client = {
        tenant: caller.tenant,
        id,
        name: required(request.body, 'name', text),
        role: role as Role,
        dialect: dialect as Dialect,
        directory:
          role === 'directory' ? (optional(request.body, 'directory', text) ?? 'default') : null,
        person: person as PersonId | null,
        createdAt: now,
        revokedAt: null,
      }
      const minted = mintToken('cst')
      using secret = minted.token
      const hash = secret.use((bytes) => host.pepper.use((pepper) => hashToken(pepper, bytes)))
      await store.commit([
        { type: 'client', client },
        {
          type: 'clientToken',
          token: {
            id: minted.id,
            client: id,
            hash,
            createdAt: now,
            expiresAt: null,
            lastUsedAt: null,
            revokedAt: null,
          },
        },
        auditRow(engine.life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'client.created',
          target: { type: 'client', id },
          decision,
          facts: { name: client.name, role: client.role, directory: client.directory },
        }),
      ])
      // The one answer of the whole API that carries a secret: the caller's own credential.
      const token = secret.use((bytes) => bytes.toString('utf8'))
      return await reply.status(201).send({ ...view(client), token })
    })

    app.delete<{ Params: { id: string } }>('/clients/:id', async (request, reply) => {
      const caller = await authenticate(request)
      const { id } = request.params
      const decision = engine.authorise(caller, 'client.revoke', { type: 'client', id })
      const client = await store.read.client(id)
      if (!client || client.tenant !== caller.tenant || client.revokedAt !== null) {
        throw errors.notFound({ what: 'Client', id })
      }
      await store.commit([
        { type: 'client', client: { ...client, revokedAt: clock.now() } },
        auditRow(engine.life, {
          tenant: caller.tenant,
          actor: caller.actor,
          action: 'client.revoked',
          target: { type: 'client', id },
          decision,
        }),
      ])
      return reply.status(204).send()
    })
  }

  async function withTokens(client: Client) {
    const tokens = await store.read.clientTokensOf(client.id)
    return {
      ...view(client),
      tokens: tokens.map(({ id, createdAt, expiresAt, lastUsedAt, revokedAt }) => ({
        id,
        createdAt,
        expiresAt,
        lastUsedAt,
        revokedAt,
      })),
    }
  }
}

function view({ id, name, role, dialect, directory, person, createdAt, revokedAt }: Client) {
  return { id, name, role, dialect, directory, person, createdAt, revokedAt }
}

function oneOf(value: string, known: readonly string[], path: string): string {
  if (known.includes(value)) return value
  throw errors.invalidValue({ path, reason: `"${value}" is not one of ${known.join(', ')}.` })
}
