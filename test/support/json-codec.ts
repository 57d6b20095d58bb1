import { isOpen } from '../../src/domain/account.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { DocumentCodec } from '../../src/store/store.ts'

export const nhi = 'urn:custody:scim:schemas:extension:nhi:1.0:User'

/** The plainest codec that makes SCIM-like documents: attributes first, what the domain owns after. */
export const jsonCodec: DocumentCodec = {
  person(person) {
    const { id, userName, externalId, active } = person
    return JSON.stringify({
      ...person.attributes,
      id,
      userName,
      ...(externalId === null ? {} : { externalId }),
      active,
    })
  },
  account(account) {
    const { id, userName, externalId } = account
    return JSON.stringify({
      ...account.attributes,
      id,
      userName,
      ...(externalId === null ? {} : { externalId }),
      active: isOpen(account.status),
      [nhi]: {
        kind: account.kind,
        owner: { value: account.owner.id, type: account.owner.type },
        purpose: account.purpose,
        labels: account.labels,
        expiresAt: account.expiresAt,
        status: account.status,
        ...(account.environment === null ? {} : { environment: account.environment }),
      },
    })
  },
  credential(credential) {
    return JSON.stringify({
      schemas: ['urn:custody:scim:schemas:core:1.0:Credential'],
      id: credential.id,
      displayName: credential.displayName,
      serviceAccount: { value: credential.account },
      provider: credential.provider,
      kind: credential.kind,
      scopes: credential.scopes,
      status: credential.status,
      generation: credential.generation,
      deliverTo: credential.deliverTo,
      expiresAt: credential.expiresAt,
    })
  },
  credentialSummary(credential) {
    return JSON.stringify({
      value: credential.id,
      provider: credential.provider,
      kind: credential.kind,
      status: credential.status,
    })
  },
  group({ id, displayName, externalId, attributes }) {
    return JSON.stringify({
      ...attributes,
      id,
      displayName,
      ...(externalId === null ? {} : { externalId }),
    })
  },
  member({ id, type, display }) {
    return JSON.stringify({ value: id, type, ...(display === null ? {} : { display }) })
  },
  groupSummary: ({ id, displayName }) => JSON.stringify({ value: id, display: displayName }),
  attributes(text) {
    const document = JSON.parse(text) as Record<string, never>
    const own = new Set(['id', 'userName', 'externalId', 'active', nhi])
    return Object.fromEntries(
      Object.entries(document).filter(([key]) => !own.has(key)),
    ) as JsonObject
  },
}
