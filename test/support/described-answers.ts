import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import {
  answersOf,
  apiSchemas,
  commonStatuses,
  describedRoutes,
} from '../../src/http/openapi/document.ts'
import type { ApiAnswer } from '../../src/http/openapi/route.ts'

/** One answer as it is about to be sent. */
export interface SentAnswer {
  readonly method: string
  /** The route's pattern; empty when none was found. */
  readonly route: string
  readonly url: string
  readonly status: number
  /** `Content-Type`, without parameters. */
  readonly type: string
  readonly payload: unknown
}

const ajv = formats.default(
  new Ajv2020({ strict: true, allowUnionTypes: true, strictRequired: false }),
)
const described = new Map<string, ReadonlyMap<number, ApiAnswer>>()
type Shaped = Pick<ApiAnswer, 'body'>
const compiled = new Map<Shaped, ValidateFunction>()
const commons = new Map<string, ApiAnswer>()

/** What is read only once a server has answered: most files of tests have none. */
function prepare(): void {
  for (const route of describedRoutes) {
    described.set(`${route.method} ${route.url}`, answersOf(route))
  }
  ajv.addSchema({ $id: 'api', $defs: local(apiSchemas()) })
}

/** The validator knows the document's components as definitions of one schema. */
function local(schema: object): object {
  const text = JSON.stringify(schema).replaceAll('"#/components/schemas/', '"api#/$defs/')
  return JSON.parse(text) as object
}

/** Compiled when the first answer of its kind is sent. */
function validatorOf(answer: Shaped): ValidateFunction {
  let validate = compiled.get(answer)
  if (validate === undefined) {
    validate = ajv.compile(local(answer.body!))
    compiled.set(answer, validate)
  }
  return validate
}

/** Refusals that need no route: there is no such path or method, or it came in a wrong form. */
function commonAnswer(status: number, url: string): ApiAnswer | undefined {
  if (!commonStatuses.includes(status)) return undefined
  if (/^\/oauth2\/token\b/.test(url)) return described.get('POST /oauth2/token')!.get(400)
  const isScim = /^\/scim(?:[/?]|$)/.test(url)
  const name = `${isScim ? 'ScimError' : 'Problem'}${status}`
  let answer = commons.get(name)
  if (answer === undefined) {
    const type = isScim ? 'application/scim+json' : 'application/problem+json'
    answer = { says: '', body: { $ref: `#/components/schemas/${name}` }, type }
    commons.set(name, answer)
  }
  return answer
}

/** @returns what is wrong with an answer; null when it is as `/openapi.json` describes it */
export function faultOf({ method, route, url, status, type, payload }: SentAnswer): string | null {
  if (described.size === 0) prepare()
  // The same service under two addresses.
  const known = route.replace(/^\/scim(?=\/(?!v2(?:\/|$))|$)/, '/scim/v2')
  const place = `${method} ${known === '' ? url : known} ${status}`
  const answers = described.get(`${method === 'HEAD' ? 'GET' : method} ${known}`)
  const answer = answers ? answers.get(status) : commonAnswer(status, url)
  if (answer === undefined) return `${place}: there is no such status`
  if (method === 'HEAD') return null
  const isEmpty = payload === undefined || payload === null || payload === ''
  if (answer.body === null) return isEmpty ? null : `${place}: has a body`
  if (answer.also?.type === type) return shapeFault(place, answer.also, payload)
  const wanted = answer.type ?? 'application/json'
  if (wanted !== '*/*' && type !== wanted) return `${place}: is ${type}, not ${wanted}`
  // Pages, notes, metrics and bytes have no shape that a schema could tell.
  if (!wanted.endsWith('json')) return null
  return shapeFault(place, answer, payload)
}

function shapeFault(place: string, answer: Shaped, payload: unknown): string | null {
  if (typeof payload !== 'string') return `${place}: is no text`
  const validate = validatorOf(answer)
  if (validate(JSON.parse(payload))) return null
  const { instancePath, message, params } = validate.errors![0]!
  return `${place}: ${instancePath} ${message} ${JSON.stringify(params)} in ${payload.slice(0, 300)}`
}
