import type { Migration } from './migrations.ts'

/**
 * When people will be gone. Few of those who are there have a date, so the sweep that asks who is near
 * it reads a list of them alone. What was said of a leaving stands among a person's facts.
 */
export const signals: Migration = {
  number: 18,
  name: '0018-signals',
  statements: ({ text }) => [
    `alter table resource add column leaves_at ${text}`,
    `create index resource_leaving on resource (leaves_at, id)
      where type = 'person' and active = 1 and leaves_at is not null`,
  ],
}
