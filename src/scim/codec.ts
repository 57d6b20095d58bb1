import {
  attributesOf,
  renderAccount,
  renderCredential,
  renderCredentialSummary,
  renderPerson,
} from './render.ts'

/** The SCIM text of entities, in the shape a store asks for. */
export const documentCodec = {
  person: renderPerson,
  account: renderAccount,
  credential: renderCredential,
  credentialSummary: renderCredentialSummary,
  attributes: attributesOf,
}
