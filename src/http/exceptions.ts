import type { FastifyPluginAsync } from 'fastify'
import type { Exception } from '../lifecycle/drift-decisions.ts'
import type { Authenticate } from './auth.ts'
import { instant, pageOf, required, text } from './fields.ts'
import type { HttpHost } from './server.ts'

interface ById {
  Params: { id: string }
}

/** What somebody let be until a date, whatever it is about: the list an auditor asks for. */
export function exceptionRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  const { engine } = host
  return async (app) => {
    app.get('/exceptions', async (request) => {
      const caller = await authenticate(request)
      const { items, next } = await engine.exceptions(caller, pageOf(request.query))
      return { items: items.map(exceptionView), cursor: next }
    })

    app.post('/exceptions', async (request, reply) => {
      const caller = await authenticate(request)
      const finding = required(request.body, 'finding', text)
      const reason = required(request.body, 'reason', text)
      const until = required(request.body, 'until', instant)
      const made = await engine.makeException(caller, { finding, reason, until })
      return reply.code(201).send(exceptionView(made))
    })

    app.delete<ById>('/exceptions/:id', async (request, reply) => {
      const caller = await authenticate(request)
      await engine.endException(caller, request.params.id)
      return reply.code(204).send()
    })
  }
}

/** Its id is its finding's: a thing is let be once at a time. */
function exceptionView({ finding, owner }: Exception) {
  const { id, kind, provider, subject, account, credential, keyId, facts, acceptance } = finding
  return {
    id,
    finding: id,
    kind,
    provider,
    subject,
    account,
    credential,
    keyId,
    facts,
    owner,
    reason: acceptance?.reason ?? null,
    approver: acceptance?.by ?? null,
    since: acceptance?.at ?? null,
    until: acceptance?.until ?? null,
  }
}
