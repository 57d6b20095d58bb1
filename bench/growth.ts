import type { Measured, Options } from './scim.ts'
import { runScim } from './scim.ts'

export const growthSizes = ['1k', '10k', '100k', '1m'] as const

/** What shows how cost grows: a row, an index entry, a few rows, and pages at both ends. */
const asked = [
  'get',
  'filter userName',
  'filter owner',
  'page by cursor, first',
  'page by cursor, 0.9 N',
  'page by index, 0.9 N',
]

/** The same questions at several sizes, all servers up at once. */
export function runGrowth(options: Options): Promise<readonly Measured[]> {
  const only = options.only.length === 0 ? asked : options.only
  return runScim({ ...options, only, peers: false })
}
