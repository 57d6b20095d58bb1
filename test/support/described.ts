import { subscribe } from 'node:diagnostics_channel'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { afterEach } from 'vitest'
import {
  answersOf,
  apiSchemas,
  commonStatuses,
  describedRoutes,
} from '../../src/http/openapi/document.ts'
import type { ApiAnswer } from '../../src/http/openapi/route.ts'

/*
 * Every answer that a server of ours gives while tests run is held against /openapi.json: a status or
 * a shape that is not described there fails the test that got it. Loaded by vitest.config.ts.
 */

interface Watch {
  readonly faults: string[]
}

const watched: { custodyAnswers?: Watch } = globalThis as { custodyAnswers?: Watch }

/** Once per worker: files share it. */
if (watched.custodyAnswers === undefined) {
  watched.custodyAnswers = { faults: [] }
  const { faults } = watched.custodyAnswers
  subscribe('fastify.initialization', (message) => {
    watch((message as { fastify: FastifyInstance }).fastify, faults)
  })
}

afterEach(() => {
  const { faults } = watched.custodyAnswers!
  if (faults.length === 0) return
  const found = [...new Set(faults.splice(0))]
  throw new Error(`answers that /openapi.json does not describe:\n${found.slice(0, 8).join('\n')}`)
})

function watch(app: FastifyInstance, faults: string[]): void {
  // The sandboxes are servers of fastify, too.
  let isOurs = false
  app.addHook('onRoute', ({ url }) => {
    isOurs ||= url === '/scim/v2/Users'
  })
  app.addHook('onSend', (request, reply, payload, done) => {
    if (isOurs) {
      try {
        const fault = faultOf(request, reply, payload)
        if (fault !== null) faults.push(fault)
      } catch (error) {
        // Thrown here it would become the answer.
        faults.push(`${request.method} ${request.url}: ${String(error)}`)
      }
    }
    done(null, payload)
  })
}

const ajv = formats.default(
  new Ajv2020({ strict: true, allowUnionTypes: true, strictRequired: false, formats: {} }),
)
const described = new Map<string, ReadonlyMap<number, ApiAnswer>>()
const compiled = new Map<ApiAnswer, ValidateFunction>()
let isReady = false

/** What is read only once a server has answered: most files of tests have none. */
function prepare(): void {
  isReady = true
  for (const route of describedRoutes) {
    described.set(`${route.method} ${route.url}`, answersOf(route))
  }
  ajv.addSchema({ $id: 'api', $defs: local(apiSchemas()) })
}

function validatorOf(answer: ApiAnswer): ValidateFunction {
  let validate = compiled.get(answer)
  if (validate === undefined) {
    validate = ajv.compile(local(answer.body!))
    compiled.set(answer, validate)
  }
  return validate
}

/** Refusals that need no route: there is no such path or method, or it came in a wrong form. */
function commonAnswer(status: number, isScim: boolean): ApiAnswer | undefined {
  if (!commonStatuses.includes(status)) return undefined
  const key = `${isScim ? 'ScimError' : 'Problem'}${status}`
  let answer = commons.get(key)
  if (answer === undefined) {
    const type = isScim ? 'application/scim+json' : 'application/problem+json'
    answer = { says: '', body: { $ref: `#/components/schemas/${key}` }, type }
    commons.set(key, answer)
  }
  return answer
}
const commons = new Map<string, ApiAnswer>()

/** @returns null for an answer that is as described */
function faultOf(request: FastifyRequest, reply: FastifyReply, payload: unknown): string | null {
  if (!isReady) prepare()
  const { method } = request
  const url = (request.routeOptions.url ?? '').replace(/^\/scim(?=\/(?!v2)|$)/, '/scim/v2')
  const { statusCode } = reply
  const place = `${method} ${url === '' ? request.url : url} ${statusCode}`
  const verb = method === 'HEAD' ? 'GET' : method
  const answers = described.get(`${verb} ${url}`)
  const isScim = /^\/scim(?:[/?]|$)/.test(request.url)
  const answer = answers ? answers.get(statusCode) : commonAnswer(statusCode, isScim)
  if (answer === undefined) return `${place}: there is no such status`
  if (method === 'HEAD') return null
  const isEmpty = payload === undefined || payload === null || payload === ''
  if (answer.body === null) return isEmpty ? null : `${place}: has a body`
  const sent = String(reply.getHeader('content-type') ?? '').split(';')[0]!
  const type = answer.type ?? 'application/json'
  if (type !== '*/*' && sent !== type) return `${place}: is ${sent}, not ${type}`
  if (!type.endsWith('json')) return null
  // What is compressed was written once, from a text that other tests read.
  if (Buffer.isBuffer(payload) && reply.hasHeader('content-encoding')) return null
  if (typeof payload !== 'string') return `${place}: is no text`
  const validate = validatorOf(answer)
  if (validate(JSON.parse(payload))) return null
  const { instancePath, message, params } = validate.errors![0]!
  return `${place}: ${instancePath} ${message} ${JSON.stringify(params)} in ${payload.slice(0, 300)}`
}

/** The validator knows the document's components as definitions of one schema. */
function local(schema: object): object {
  const text = JSON.stringify(schema).replaceAll('"#/components/schemas/', '"api#/$defs/')
  return JSON.parse(text) as object
}
