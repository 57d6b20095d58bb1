import type { ApiAnswer, ApiRoutes } from './route.ts'
import { ok } from './route.ts'
import type { ApiSchema } from './schema.ts'
import { count, list, named, record, said, text, words } from './schema.ts'

const form = 'application/x-www-form-urlencoded'
const html: ApiAnswer = { says: 'A page.', body: text, type: 'text/html' }

/** Errors of RFC 6749 §5.2, which /oauth2/token answers with. */
const oauthErrors = {
  400: { says: 'The request cannot be served.', body: named('OAuthError') },
  401: {
    says: 'Id and token do not belong to a live client.',
    body: named('OAuthError'),
    headers: ['WWW-Authenticate'],
  },
  413: { says: 'The body is too large.', body: named('OAuthError') },
  415: { says: 'The body is of a type that is not read.', body: named('OAuthError') },
} as const satisfies Readonly<Record<number, ApiAnswer>>

export const serviceSchemas: Readonly<Record<string, ApiSchema>> = {
  OAuthError: record({
    error: words([
      'invalid_request',
      'invalid_client',
      'unsupported_grant_type',
      'unsupported_token_type',
    ]),
    error_description: text,
  }),
}

/** At the root. */
export const serviceRoutes: ApiRoutes = {
  'GET /livez': {
    tag: 'service',
    effect: 'The process runs.',
    roles: 'public',
    answers: ok(record({ status: { const: 'alive' } })),
  },
  'GET /readyz': {
    tag: 'service',
    effect: 'It can serve; names the brakes that are on.',
    roles: 'public',
    answers: ok(record({ status: { const: 'ready' }, brakes: list(text) })),
  },
  'GET /metrics': {
    tag: 'service',
    effect: 'Metrics for Prometheus.',
    roles: ['auditor', 'admin'],
    answers: { 200: { says: 'The text format.', body: text, type: 'text/plain' } },
  },
  'GET /openapi.json': {
    tag: 'service',
    effect: 'This document.',
    roles: 'public',
    answers: ok({ type: 'object', additionalProperties: true }),
  },
  'GET /': {
    tag: 'service',
    effect: 'To the console, for whoever asks for a page.',
    roles: 'public',
    answers: { 302: { says: 'To `/console/`.', body: null, headers: ['Location'] } },
    refusals: [404],
  },
  'GET /console': {
    tag: 'service',
    effect: 'The console.',
    roles: 'public',
    answers: {
      200: html,
      308: { says: 'To the address with a slash.', body: null, headers: ['Location'] },
    },
  },
  'GET /docs': {
    tag: 'service',
    effect: 'To the page that shows this document.',
    roles: 'public',
    answers: { 308: { says: 'To `/console/api`.', body: null, headers: ['Location'] } },
  },
  'GET /console/api': {
    tag: 'service',
    effect: 'This document to read, and to try.',
    roles: 'public',
    answers: { 200: html },
  },
  'GET /console/*': {
    tag: 'service',
    effect: 'A screen of the console.',
    roles: 'public',
    answers: { 200: html },
  },
  'GET /console/assets/:version/*': {
    tag: 'service',
    effect: 'Modules and styles of the pages, for ever the same under one version.',
    roles: 'public',
    answers: { 200: { says: 'The file.', body: text, type: '*/*' } },
  },
  'POST /console/csp-report': {
    tag: 'service',
    effect: 'Where browsers report what a page’s policy refused.',
    roles: 'public',
    body: said({}, 'Whatever a browser reports.'),
    isBodyOptional: true,
    bodyTypes: ['application/csp-report', 'application/reports+json'],
    answers: { 204: { says: 'Noted.', body: null } },
  },
  'GET /.well-known/oauth-authorization-server': {
    tag: 'oauth',
    effect: 'Where the endpoints of OAuth are (RFC 8414).',
    roles: 'public',
    answers: ok(
      record({
        issuer: text,
        token_endpoint: text,
        token_endpoint_auth_methods_supported: list(text),
        grant_types_supported: list(text),
        response_types_supported: list(text),
        scopes_supported: list(text),
        introspection_endpoint: text,
        revocation_endpoint: text,
      }),
    ),
  },
  'POST /oauth2/token': {
    tag: 'oauth',
    effect: 'An access token for a client (RFC 6749 §4.4).',
    more: 'The id is the client’s id, the secret one of its tokens; in the body or as Basic.',
    roles: 'public',
    body: {
      type: 'object',
      properties: {
        grant_type: { const: 'client_credentials' },
        client_id: text,
        client_secret: text,
        scope: text,
      },
      required: ['grant_type'],
      additionalProperties: true,
    },
    bodyTypes: [form, 'application/json'],
    answers: {
      ...ok(
        record({
          access_token: text,
          token_type: { const: 'Bearer' },
          expires_in: count,
          scope: text,
        }),
      ),
      ...oauthErrors,
    },
  },
  'POST /oauth2/introspect': {
    tag: 'oauth',
    effect: 'Whether an issued token is alive (RFC 7662).',
    roles: ['verifier', 'admin'],
    action: 'token.introspect',
    body: {
      type: 'object',
      properties: { token: text, token_type_hint: text },
      required: ['token'],
      additionalProperties: true,
    },
    bodyTypes: [form, 'application/json'],
    answers: ok({
      anyOf: [
        record({ active: { const: false } }),
        record({
          active: { const: true },
          sub: text,
          scope: text,
          exp: count,
          iat: count,
          token_type: { const: 'Bearer' },
          client_id: text,
        }),
      ],
    }),
  },
  'POST /oauth2/revoke': {
    tag: 'oauth',
    effect: 'Ends an issued token (RFC 7009).',
    roles: ['requester', 'security', 'admin'],
    action: 'credential.revoke',
    body: {
      type: 'object',
      properties: { token: text, token_type_hint: text },
      required: ['token'],
      additionalProperties: true,
    },
    bodyTypes: [form, 'application/json'],
    answers: {
      ...ok(record({})),
      400: {
        says: 'There is no token in it, or one that does not end here.',
        body: named('OAuthError'),
        also: { body: named('Problem'), type: 'application/problem+json' },
      },
    },
  },
}
