import type { Migration } from './migrations.ts'

/** People and groups who change from one directory to another. */
export const directoryMoves: Migration = {
  number: 20,
  name: '0020-directory-moves',
  statements: ({ text, tableSuffix }) => [
    `create table directory_move (
      tenant ${text} not null,
      id ${text} not null,
      from_directory ${text} not null,
      to_directory ${text} not null,
      match_key ${text} not null,
      status ${text} not null,
      stage ${text} not null,
      after ${text},
      facts ${text} not null,
      opened_at ${text} not null,
      opened_by ${text} not null,
      finished_at ${text},
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index directory_move_open on directory_move (tenant) where status = 'open'`,
    `create table moved (
      tenant ${text} not null,
      move ${text} not null,
      subject ${text} not null,
      type ${text} not null,
      match_key ${text},
      state ${text} not null,
      twin ${text},
      old_word_at ${text},
      primary key (tenant, move, subject)
    )${tableSuffix}`,
    `create index moved_key on moved (tenant, move, match_key) where match_key is not null`,
  ],
}
