import { AwsError } from './error.ts'
import type { Operation, Service } from './shapes.ts'
import { errorOf, FakeDrift, misfit, operationOf, services } from './shapes.ts'
import type { Authorization, SignedRequest } from './signature.ts'
import { parseAuthorization, signatureMatches } from './signature.ts'
import { escapeXml, readForm, readJson, toJson, WireError, writeXml } from './wire.ts'
import type { AwsWorld } from './world.ts'

export interface WireAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** A request whose envelope was read: which service and operation it is for. */
export interface Envelope {
  readonly service: Service
  readonly operation: string
  readonly request: SignedRequest
  readonly authorization: Authorization | null
}

const stsVersion = '2011-06-15'
/** Calls that carry their proof in the input: a signature is neither needed nor looked at. */
const unsigned = new Set(['AssumeRoleWithWebIdentity'])
const jsonTarget = /^secretsmanager\.(\w+)$/
const namespaces: Readonly<Record<Service, string>> = {
  iam: 'https://iam.amazonaws.com/doc/2010-05-08/',
  sts: 'https://sts.amazonaws.com/doc/2011-06-15/',
  secretsmanager: '',
}

/** One endpoint serves all three: JSON calls name their service in a header, query calls in the
 * scope of their signature. */
export function openEnvelope(request: SignedRequest): Envelope {
  const authorization = parseAuthorization(request.headers['authorization'])
  const target = jsonTarget.exec(request.headers['x-amz-target'] ?? '')
  if (target) return { service: 'secretsmanager', operation: target[1]!, request, authorization }
  const form = new URLSearchParams(request.body.toString('utf8'))
  const operation = form.get('Action') ?? ''
  // An unsigned call has no scope; the version of the interface tells STS from IAM.
  const byVersion = form.get('Version') === stsVersion ? 'sts' : 'iam'
  const service = services.find((s) => s === authorization?.service) ?? byVersion
  return { service, operation, request, authorization }
}

/**
 * Answers one request: signature, shape of the request, the world's rules, shape of the answer.
 * Synchronous and without sockets. A sandbox that contradicts the SDK's shapes answers 500 "FAKE
 * DRIFT" instead of something the real service would never send.
 */
export function respond(world: AwsWorld, envelope: Envelope): WireAnswer {
  try {
    const isUnsigned = envelope.service === 'sts' && unsigned.has(envelope.operation)
    if (!isUnsigned) authenticate(world, envelope)
    const operation = operationOf(envelope.service, envelope.operation)
    if (!operation) throw unknownOperation(envelope)
    if (isUnsigned) {
      const input = readInput(operation, envelope.request.body.toString('utf8'))
      return writeOutput(operation, world.callUnsigned(envelope.operation, input))
    }
    const output = world.call({
      service: envelope.service,
      operation: envelope.operation,
      input: readInput(operation, envelope.request.body.toString('utf8')),
      accessKeyId: envelope.authorization!.accessKeyId,
      region: envelope.authorization!.region,
    })
    return writeOutput(operation, output)
  } catch (error) {
    return answerError(envelope.service, error)
  }
}

function authenticate(world: AwsWorld, { service, request, authorization }: Envelope): void {
  if (!authorization) throw new AwsError('MissingAuthenticationToken', 'The request is not signed.')
  if (authorization.service !== service) {
    throw new AwsError('SignatureDoesNotMatch', `Credential should be scoped to ${service}.`)
  }
  const token = request.headers['x-amz-security-token'] ?? null
  const secret = world.secretAccessKeyOf(authorization.accessKeyId, token)
  if (!signatureMatches(request, authorization, secret)) {
    throw new AwsError(
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided.',
    )
  }
}

function unknownOperation({ service, operation }: Envelope): AwsError {
  return service === 'secretsmanager'
    ? new AwsError('UnknownOperationException', `Unknown operation ${operation}.`)
    : new AwsError('InvalidAction', `Could not find operation ${operation}.`)
}

function readInput(operation: Operation, body: string): Record<string, unknown> {
  const json = operation.service === 'secretsmanager'
  const input = json ? readJson(body, operation.input) : readForm(body, operation.input)
  const wrong = misfit(operation.input, input, operation.name)
  if (wrong !== null) throw new WireError(wrong)
  return input
}

/** @throws FakeDrift when the answer is not one the real service could give */
export function writeOutput(operation: Operation, output: object | undefined): WireAnswer {
  const wrong = misfit(operation.output, output, operation.name)
  if (wrong !== null) throw new FakeDrift(wrong)
  if (operation.service === 'secretsmanager') {
    return jsonAnswer(200, toJson(operation.output, output))
  }
  const { name } = operation
  const result =
    output === undefined
      ? ''
      : `<${name}Result>${writeXml(operation.output, output)}</${name}Result>`
  const metadata = '<ResponseMetadata><RequestId>sandbox</RequestId></ResponseMetadata>'
  const namespace = namespaces[operation.service]
  return xmlAnswer(
    200,
    `<${name}Response xmlns="${namespace}">${result}${metadata}</${name}Response>`,
  )
}

/** JSON services have names of their own for what every service refuses. */
const jsonNames: Readonly<Record<string, string>> = {
  AccessDenied: 'AccessDeniedException',
  ExpiredToken: 'ExpiredTokenException',
  InvalidAction: 'UnknownOperationException',
  InvalidClientTokenId: 'UnrecognizedClientException',
  MissingAuthenticationToken: 'MissingAuthenticationTokenException',
  SignatureDoesNotMatch: 'InvalidSignatureException',
  Throttling: 'ThrottlingException',
  ValidationError: 'ValidationException',
  InternalFailure: 'InternalServiceError',
}

export function answerError(service: Service, error: unknown): WireAnswer {
  if (error instanceof WireError) {
    return answerError(service, new AwsError('ValidationError', error.message))
  }
  const known =
    error instanceof AwsError
      ? error
      : new AwsError('InternalFailure', error instanceof Error ? error.message : 'unknown')
  const json = service === 'secretsmanager'
  const name = json ? (jsonNames[known.code] ?? known.code) : known.code
  const { code, status } = errorOf(service, name)
  if (json) return jsonAnswer(status, { __type: code, Message: known.message })
  const type = status < 500 ? 'Sender' : 'Receiver'
  return xmlAnswer(
    status,
    `<ErrorResponse xmlns="${namespaces[service]}"><Error><Type>${type}</Type><Code>${code}</Code>` +
      `<Message>${escapeXml(known.message)}</Message></Error>` +
      '<RequestId>sandbox</RequestId></ErrorResponse>',
  )
}

function xmlAnswer(status: number, body: string): WireAnswer {
  const headers = { 'content-type': 'text/xml', 'x-amzn-requestid': 'sandbox' }
  return { status, headers, body: `<?xml version="1.0" encoding="UTF-8"?>\n${body}` }
}

function jsonAnswer(status: number, body: unknown): WireAnswer {
  const headers = {
    'content-type': 'application/x-amz-json-1.1',
    'x-amzn-requestid': 'sandbox',
  }
  return { status, headers, body: JSON.stringify(body) }
}
