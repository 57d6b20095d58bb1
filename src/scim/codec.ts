import {
  attributesOf,
  renderAccount,
  renderCredential,
  renderCredentialSummary,
  renderGroup,
  renderGroupSummary,
  renderMember,
  renderPerson,
} from './render.ts'

/** The SCIM text of entities, in the shape a store asks for. */
export const documentCodec = {
  person: renderPerson,
  account: renderAccount,
  credential: renderCredential,
  credentialSummary: renderCredentialSummary,
  group: renderGroup,
  member: renderMember,
  groupSummary: renderGroupSummary,
  attributes: attributesOf,
}
