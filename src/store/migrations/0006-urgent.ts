import type { Migration } from './migrations.ts'

/**
 * What takes access away is claimed first: 100 000 rotations that fell due together would otherwise
 * be read through at each claim to find the one revocation behind them.
 */
export const urgent: Migration = {
  number: 6,
  name: '0006-urgent',
  statements: () => [
    `create index operation_due_urgent on operation (due_at, id)
      where due_at is not null and kind in ('leave', 'revoke', 'disable', 'retire')`,
  ],
}
