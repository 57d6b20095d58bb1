import type { Migration } from './migrations.ts'

/** What /metrics asks of the keys themselves: the oldest that is in use at a provider. */
export const vitalSigns: Migration = {
  number: 23,
  name: '0023-vitals',
  statements: () => [
    `create index issued_key_age on issued_key (provider, issued_at) where status = 'active'`,
  ],
}
