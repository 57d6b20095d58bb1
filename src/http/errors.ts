import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError, errors } from '../domain/errors.ts'
import type { JsonObject } from '../domain/json.ts'
import { bodyBytesMax, formBytesMax } from './body.ts'

export const scimErrorUrn = 'urn:ietf:params:scim:api:messages:2.0:Error'

/**
 * Any failure as an error of the catalogue. What is not in it is our own bug: the client gets the
 * request id, the cause goes to the log.
 */
export function toAppError(error: unknown, request: FastifyRequest): AppError {
  if (error instanceof AppError) return error
  const { code, statusCode, message } = error as {
    code?: string
    statusCode?: number
    message?: string
  }
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return errors.bodyTooLarge({ limit: bodyLimitOf(request) }, { cause: error })
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return errors.unsupportedMediaType(
        { type: request.headers['content-type'] ?? '' },
        { cause: error },
      )
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return errors.malformedJson({ reason: 'it is empty' }, { cause: error })
    case 'FST_ERR_BAD_URL':
      return errors.invalidSyntax(
        { reason: 'The path is not valid percent-encoding; encode it again.' },
        { cause: error },
      )
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return errors.noSuchRoute({ method: request.method, path: 'with an id that long' })
    case 'FST_ERR_VALIDATION':
      return errors.invalidSyntax(
        { reason: `${sentence(message)} See docs/reference.` },
        { cause: error },
      )
    default:
      // Whatever else the framework refuses as the client's doing: a bad length, a bad URL.
      return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
        ? errors.malformedJson({ reason: message ?? 'it cannot be parsed' }, { cause: error })
        : errors.internal({ request: request.id }, { cause: error })
  }
}

function bodyLimitOf({ headers, routeOptions }: FastifyRequest): number {
  const isForm = /^application\/x-www-form-urlencoded/i.test(headers['content-type'] ?? '')
  return isForm ? formBytesMax : (routeOptions.bodyLimit ?? bodyBytesMax)
}

function sentence(text: string | undefined): string {
  const trimmed = (text ?? 'The request is not valid').trim()
  return trimmed.endsWith('.') ? trimmed : `${trimmed}.`
}

const unknownOutcomes = new WeakSet<FastifyRequest>()

/** Whether it was answered that what it wrote may have been kept, or not. */
export function isOutcomeUnknown(request: FastifyRequest): boolean {
  return unknownOutcomes.has(request)
}

/** RFC 7644 §3.12 below `/scim`, RFC 6749 §5.2 at `/oauth2/token`, RFC 9457 everywhere else. */
export function sendError(
  reply: FastifyReply,
  request: FastifyRequest,
  error: AppError,
): FastifyReply {
  if (error.status === 401) void reply.header('www-authenticate', 'Bearer realm="custody"')
  if (error.code === 'methodNotAllowed')
    void reply.header('allow', String(error.facts['allow'] ?? ''))
  if (error.code === 'tooManyRequests')
    void reply.header('retry-after', String(error.facts['seconds']))
  if (error.facts['mayBeKept'] === true) unknownOutcomes.add(request)
  else if (error.code === 'notReady') void reply.header('retry-after', '1')
  void reply.status(error.status)
  if (isTokenRequest(request) && error.status < 500) {
    return reply
      .type('application/json')
      .send(JSON.stringify({ error: 'invalid_request', error_description: error.message }))
  }
  return isScim(request)
    ? reply.type('application/scim+json').send(JSON.stringify(scimError(error)))
    : reply.type('application/problem+json').send(JSON.stringify(problem(error, request)))
}

function isScim(request: FastifyRequest): boolean {
  return (
    request.url === '/scim' || request.url.startsWith('/scim/') || request.url.startsWith('/scim?')
  )
}

function isTokenRequest(request: FastifyRequest): boolean {
  return /^\/oauth2\/token\/?(?:\?|$)/.test(request.url)
}

export function scimError(error: AppError): JsonObject {
  return {
    schemas: [scimErrorUrn],
    status: String(error.status),
    ...(error.scimType === null ? {} : { scimType: error.scimType }),
    detail: error.message,
  }
}

function problem(error: AppError, request: FastifyRequest) {
  return {
    type: 'about:blank',
    title: titles[error.status] ?? 'Error',
    status: error.status,
    code: error.code,
    detail: error.message,
    instance: request.id,
  }
}

/** Reads what may be missing or hidden: null for a 404, any other failure stays one. */
export async function orNull<T>(read: Promise<T>): Promise<T | null> {
  try {
    return await read
  } catch (error) {
    if (error instanceof AppError && error.status === 404) return null
    throw error
  }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  428: 'Precondition Required',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
}
