import type { FastifyPluginAsync } from 'fastify'
import { errors } from '../domain/errors.ts'
import { defaultTenant } from '../domain/ids.ts'
import { liveReplicas } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import type { HttpHost } from './server.ts'

/** The processes on this database, for auditors and administrators of the installation's own tenant. */
export function replicaRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.get('/replicas', async (request) => {
      const { client } = await authenticate(request)
      const mayRead = client.role === 'auditor' || client.role === 'admin'
      if (!mayRead || client.tenant !== defaultTenant) {
        const reason = 'It is for auditors and administrators of the default tenant.'
        throw errors.forbidden({ action: 'replicas.read', role: client.role, reason })
      }
      const [all, leader] = await Promise.all([
        host.store.read.replicas(),
        host.store.read.leader('sequencer'),
      ])
      const now = host.clock.now()
      const live = new Set(liveReplicas(all, now))
      const items = all.map((replica) => ({
        ...replica,
        live: live.has(replica),
        sequences: leader?.holder === replica.id && leader.until > now,
      }))
      return { items, cursor: null }
    })
  }
}
