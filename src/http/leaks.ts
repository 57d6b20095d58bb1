import type { FastifyPluginAsync } from 'fastify'
import { errors } from '../domain/errors.ts'
import { isJsonObject } from '../domain/json.ts'
import { Secret } from '../domain/secret.ts'
import { hashToken } from '../domain/token.ts'
import { leakedMax } from '../lifecycle/engine.ts'
import type { Authenticate } from './auth.ts'
import { flag, optional, text } from './fields.ts'
import { maskText } from './mask.ts'
import type { HttpHost } from './server.ts'

const fields = ['credentials', 'source', 'revokeForeign', 'provider']
const leakLengthMax = 16_384

/**
 * `POST /api/v1/leaks`: ends what somebody found. The body holds secrets, so no error repeats any of
 * it, not even the name of a field; the request log is of SCIM alone, and an Idempotency-Key keeps a
 * keyed hash of the body and the answer, which names each text by its fingerprint.
 */
export function leakRoutes(host: HttpHost, authenticate: Authenticate): FastifyPluginAsync {
  return async (app) => {
    app.post('/leaks', async (request, reply) => {
      const caller = await authenticate(request)
      const { body } = request
      const texts = textsOf(body)
      const source = optional(body, 'source', text)
      const credentials = texts.map((leaked) => Secret.ofText(leaked))
      try {
        const answer = await host.engine.reportLeaks(caller, {
          credentials,
          source: source === null ? null : maskText(source),
          revokeForeign: optional(body, 'revokeForeign', flag) ?? false,
          provider: optional(body, 'provider', text),
          hash: (secret) =>
            secret.use((bytes) =>
              host.pepper.use((key) => hashToken(key, bytes.toString().trim())),
            ),
        })
        return await reply.status(202).send(answer)
      } finally {
        for (const secret of credentials) secret.dispose()
      }
    })
  }
}

/** @throws invalidSyntax, requiredMissing, invalidValue */
function textsOf(body: unknown): readonly string[] {
  if (!isJsonObject(body) || Object.keys(body).some((name) => !fields.includes(name))) {
    const reason = `The body is an object with ${fields.join(', ')}, and nothing else.`
    throw errors.invalidSyntax({ reason })
  }
  const listed = body['credentials']
  if (listed === undefined || listed === null) throw errors.requiredMissing({ path: 'credentials' })
  const isList = Array.isArray(listed) && listed.length > 0 && listed.length <= leakedMax
  if (!isList || !listed.every(isLeak)) {
    const reason = `must be a list of 1 to ${leakedMax} texts, each of 1 to ${leakLengthMax} characters.`
    throw errors.invalidValue({ path: 'credentials', reason })
  }
  return listed
}

function isLeak(value: unknown): value is string {
  return typeof value === 'string' && value.trim() !== '' && value.length <= leakLengthMax
}
