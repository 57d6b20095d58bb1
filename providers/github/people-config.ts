import type { LeftPerson } from '../../src/provider/contract.ts'

/** `people` of the configuration: what ends at GitHub when a person leaves. All off by default. */
export interface PeopleConfig {
  readonly logins?: {
    /** Where a login is read from, of people that `map` does not name; absent: from `map` alone. */
    readonly from?: 'userName' | 'externalId' | 'emailLocalPart'
    /** Logins by userName. */
    readonly map?: Readonly<Record<string, string>>
  }
  readonly removeMembership?: boolean
  readonly removeOutsideCollaborator?: boolean
  readonly revokeGrants?: boolean
}

export const peopleSchema = {
  type: 'object',
  additionalProperties: false,
  required: ['logins'],
  properties: {
    logins: {
      type: 'object',
      additionalProperties: false,
      minProperties: 1,
      properties: {
        from: { enum: ['userName', 'externalId', 'emailLocalPart'] },
        map: { type: 'object', additionalProperties: { type: 'string', minLength: 1 } },
      },
    },
    removeMembership: { type: 'boolean' },
    removeOutsideCollaborator: { type: 'boolean' },
    revokeGrants: { type: 'boolean' },
  },
} as const

// GitHub: letters, digits and single inner hyphens; managed users have `_` and a short code behind.
const loginPattern = /^[A-Za-z0-9](?:-?[A-Za-z0-9]){0,38}(?:_[A-Za-z0-9]+)?$/

/** @returns null when the person has no login that could be told from what the directory says */
export function loginOf(person: LeftPerson, logins: PeopleConfig['logins'] = {}): string | null {
  const named = Object.entries(logins.map ?? {}).find(
    ([userName]) => userName.toLowerCase() === person.userName.toLowerCase(),
  )
  const login = named ? named[1] : readFrom(person, logins.from)
  return login !== null && loginPattern.test(login) ? login : null
}

function readFrom(
  person: LeftPerson,
  from: 'userName' | 'externalId' | 'emailLocalPart' | undefined,
): string | null {
  switch (from) {
    case undefined:
      return null
    case 'userName':
      return person.userName
    case 'externalId':
      return person.externalId
    case 'emailLocalPart':
      return person.emails[0]?.split('@')[0] ?? null
  }
}
