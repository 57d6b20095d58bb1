import type { Migration } from './migrations.ts'

/** What people were asked to do, and what they showed for it. */
export const tasks: Migration = {
  number: 13,
  name: '0013-tasks',
  statements: ({ text, tableSuffix }) => [
    `create table task (
      tenant ${text} not null,
      id ${text} not null,
      provider ${text} not null,
      account ${text} not null,
      credential ${text},
      key_id ${text} not null,
      action ${text} not null,
      status ${text} not null,
      assignee ${text},
      instructions ${text} not null,
      due_at ${text} not null,
      operation ${text},
      created_at ${text} not null,
      updated_at ${text} not null,
      done_at ${text},
      done_by ${text},
      note ${text},
      removed integer not null,
      evidence ${text},
      version integer not null,
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index task_open on task (tenant, provider, account, key_id, action)
      where status = 'open'`,
    `create index task_account on task (tenant, account, id)`,
    `create index task_provider on task (provider, id)`,
    `create index task_status on task (tenant, status, id)`,
    `create index task_assignee on task (tenant, assignee, id)`,
    // Beside the task, so that no list reads it; text, in base64, to be the same everywhere.
    `create table task_evidence (
      tenant ${text} not null,
      task ${text} not null,
      content ${text} not null,
      primary key (tenant, task)
    )${tableSuffix}`,
  ],
}
