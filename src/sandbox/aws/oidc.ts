import type { KeyObject } from 'node:crypto'
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import type * as iam from '@aws-sdk/client-iam'
import { AwsError } from './error.ts'
import type { Action } from './iam.ts'
import type { IamState, OidcProvider } from './iam-state.ts'
import { setTags } from './iam-state.ts'

/** IAM's register of the issuers whose identity tokens the account takes. */
export const oidcActions = {
  CreateOpenIDConnectProvider(
    state: IamState,
    input: iam.CreateOpenIDConnectProviderRequest,
  ): iam.CreateOpenIDConnectProviderResponse {
    if (!/^https:\/\/[a-z0-9.-]+(:\d+)?(\/[\w./-]*)?$/i.test(input.Url ?? '')) {
      throw new AwsError('ValidationError', 'Url must begin with https:// and have no query.')
    }
    const url = input.Url!.slice('https://'.length)
    const arn = state.arnOf('oidc-provider', '/', url)
    if (state.oidcProviders.has(arn)) {
      throw new AwsError('EntityAlreadyExists', `Provider with url ${input.Url} already exists.`)
    }
    const provider: OidcProvider = {
      arn,
      url,
      audiences: new Set(input.ClientIDList ?? []),
      thumbprints: input.ThumbprintList ?? [],
      createdAt: state.now(),
      tags: new Map(),
    }
    setTags(provider, input.Tags ?? [])
    state.oidcProviders.set(arn, provider)
    return { OpenIDConnectProviderArn: arn }
  },

  GetOpenIDConnectProvider(
    state: IamState,
    input: iam.GetOpenIDConnectProviderRequest,
  ): iam.GetOpenIDConnectProviderResponse {
    const provider = providerOf(state, input.OpenIDConnectProviderArn)
    return {
      Url: provider.url,
      ClientIDList: [...provider.audiences],
      ThumbprintList: [...provider.thumbprints],
      CreateDate: new Date(provider.createdAt),
      Tags: [...provider.tags].map(([Key, Value]) => ({ Key, Value })),
    }
  },

  ListOpenIDConnectProviders(state: IamState): iam.ListOpenIDConnectProvidersResponse {
    return {
      OpenIDConnectProviderList: [...state.oidcProviders.keys()].map((Arn) => ({ Arn })),
    }
  },

  AddClientIDToOpenIDConnectProvider(
    state: IamState,
    input: iam.AddClientIDToOpenIDConnectProviderRequest,
  ): undefined {
    providerOf(state, input.OpenIDConnectProviderArn).audiences.add(input.ClientID!)
    return undefined
  },

  DeleteOpenIDConnectProvider(
    state: IamState,
    input: iam.DeleteOpenIDConnectProviderRequest,
  ): undefined {
    state.oidcProviders.delete(providerOf(state, input.OpenIDConnectProviderArn).arn)
    return undefined
  },
} satisfies Readonly<Record<string, Action>>

function providerOf(state: IamState, arn: string | undefined): OidcProvider {
  const provider = state.oidcProviders.get(arn ?? '')
  if (provider) return provider
  throw new AwsError('NoSuchEntity', `OpenIDConnect Provider not found for arn ${arn}`)
}

export interface IdentityClaims {
  /** `https://…` */
  readonly issuer: string
  readonly subject: string
  readonly audiences: readonly string[]
  /** Epoch seconds. */
  readonly expiresAt: number
  readonly notBefore: number
}

interface Issuer {
  readonly publicKey: KeyObject
  /** Null for one that only lent its public key. */
  readonly privateKey: KeyObject | null
}

const algorithms: Readonly<Record<string, 'rsa' | 'ec'>> = { RS256: 'rsa', ES256: 'ec' }

/**
 * The issuers of identity tokens that this sandbox knows, in the place of their well-known key
 * documents on the web. Asked for a token of an issuer it does not know, it becomes that issuer.
 */
export class Issuers {
  readonly #known = new Map<string, Issuer>()

  /** Trusts tokens that somebody else signs. @param key PEM or JWK of an RSA or P-256 public key */
  register(issuer: string, key: Parameters<typeof createPublicKey>[0]): void {
    this.#known.set(issuer, { publicKey: createPublicKey(key), privateKey: null })
  }

  /** A compact ES256 JWT. @throws Error for an issuer whose private key is elsewhere */
  issue(claims: Readonly<Record<string, unknown>> & { readonly iss: string }): string {
    const issuer = this.#known.get(claims.iss) ?? this.#make(claims.iss)
    if (!issuer.privateKey) throw new Error(`${claims.iss} signs its tokens itself`)
    const text = `${encode({ alg: 'ES256', typ: 'JWT', kid: 'sandbox' })}.${encode(claims)}`
    const key = { key: issuer.privateKey, dsaEncoding: 'ieee-p1363' } as const
    return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`
  }

  #make(issuer: string): Issuer {
    const made = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#known.set(issuer, made)
    return made
  }

  /** @throws AwsError InvalidIdentityToken when it is no token, or not signed by its issuer */
  read(token: string): IdentityClaims {
    const [head = '', body = '', signature = '', ...rest] = token.split('.')
    const header = decode(head)
    const claims = decode(body)
    const { iss, sub, aud, exp, nbf, iat } = claims
    const audiences = [aud].flat()
    if (
      rest.length > 0 ||
      typeof iss !== 'string' ||
      typeof sub !== 'string' ||
      typeof exp !== 'number' ||
      audiences.length === 0 ||
      audiences.some((a) => typeof a !== 'string')
    ) {
      throw invalid('The ID Token provided is not a valid JWT.')
    }
    const issuer = this.#known.get(iss)
    const wanted = algorithms[String(header['alg'])]
    const type = issuer?.publicKey.asymmetricKeyType
    const genuine =
      issuer !== undefined &&
      wanted !== undefined &&
      type === wanted &&
      verify(
        'sha256',
        Buffer.from(`${head}.${body}`),
        { key: issuer.publicKey, ...(type === 'ec' ? { dsaEncoding: 'ieee-p1363' } : {}) },
        Buffer.from(signature, 'base64url'),
      )
    if (!genuine) throw invalid("Couldn't verify the token's signature with a key of its issuer.")
    const notBefore = [nbf, iat].find((at) => typeof at === 'number') ?? 0
    return {
      issuer: iss,
      subject: sub,
      audiences: audiences as string[],
      expiresAt: exp,
      notBefore,
    }
  }
}

export function invalid(message: string): AwsError {
  return new AwsError('InvalidIdentityToken', message)
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

function decode(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
