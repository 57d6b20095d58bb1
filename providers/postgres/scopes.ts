const grammar = /^role:(.+)$/

/**
 * Reads `role:<name>` of the configuration's list.
 * @returns the role; null when the scope is no such thing
 */
export function roleOf(scope: string, allowedRoles: readonly string[]): string | null {
  const role = namedRole(scope)
  return role !== null && allowedRoles.includes(role) ? role : null
}

/** The role that a scope names, whether or not it is still allowed. */
export function namedRole(scope: string): string | null {
  return grammar.exec(scope)?.[1] ?? null
}

/** The first scope that would not be granted, with the sentence a requester reads. */
export function refusedScope(
  scopes: readonly string[],
  allowedRoles: readonly string[],
): { readonly scope: string; readonly reason: string } | null {
  const scope = scopes.find((candidate) => roleOf(candidate, allowedRoles) === null)
  if (scope === undefined) return null
  const known = allowedRoles.map((role) => `role:${role}`).join(', ')
  return {
    scope,
    reason:
      known === ''
        ? 'this provider grants no roles; an operator lists those it may grant under allowedRoles.'
        : `a login is granted roles of this list only: ${known}.`,
  }
}
