import type { Migration } from './migrations.ts'

/** The ledger says of each later migration which older versions may go on reading beside it. */
export const readable: Migration = {
  number: 24,
  name: '0024-readable',
  statements: () => ['alter table migration add column readable_from integer'],
}
