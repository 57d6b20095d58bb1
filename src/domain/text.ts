/**
 * The one spelling under which names are compared and kept unique (RFC 7643 §7, `caseExact` false).
 * It runs here and never in a database: SQLite's `lower` knows ASCII only, PostgreSQL's depends on
 * the locale of the server, so the two would disagree about `ÄNNE`.
 */
export function normalise(text: string): string {
  return text.toLowerCase()
}
