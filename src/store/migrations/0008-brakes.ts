import type { Dialect } from '../dialect.ts'
import type { Migration } from './migrations.ts'

/**
 * The brakes that are on; who of a directory left when; what is held, and in which batch. Active
 * people are counted by triggers, as resources are (0003): a share of a million is asked at each
 * leaving.
 */
export const brakes: Migration = {
  number: 8,
  name: '0008-brakes',
  statements: ({ name, text, tableSuffix }) => [
    `create table brake (
      tenant ${text} not null,
      name ${text} not null,
      subject ${text} not null,
      since ${text} not null,
      facts ${text} not null,
      primary key (tenant, name, subject)
    )${tableSuffix}`,

    `alter table resource add column held_by ${text}`,

    // A row per person, not per leaving: who comes and goes all day is one person.
    `create table leaving (
      tenant ${text} not null,
      person ${text} not null,
      directory ${text} not null,
      at ${text} not null,
      held integer not null,
      primary key (tenant, person)
    )${tableSuffix}`,
    `create index leaving_at on leaving (tenant, directory, at)`,

    `create table approval (
      tenant ${text} not null,
      id ${text} not null,
      kind ${text} not null,
      subject ${text} not null,
      status ${text} not null,
      joined integer not null,
      hash ${text},
      policy_version ${text},
      plan ${text} not null,
      facts ${text} not null,
      created_at ${text} not null,
      frozen_at ${text},
      closed_at ${text},
      primary key (tenant, id)
    )${tableSuffix}`,
    `create unique index approval_forming on approval (tenant, kind, subject)
      where status = 'forming'`,
    `create index approval_subject on approval (tenant, kind, subject, status)`,
    `create index approval_status on approval (tenant, status, id)`,

    `create table approval_item (
      tenant ${text} not null,
      approval ${text} not null,
      subject ${text} not null,
      since ${text} not null,
      client ${text} not null,
      client_person ${text},
      outcome ${text},
      reason ${text},
      decided_by ${text},
      decided_at ${text},
      operation ${text},
      primary key (tenant, approval, subject),
      foreign key (tenant, approval) references approval (tenant, id)
    )${tableSuffix}`,
    `create index approval_item_open on approval_item (tenant, approval) where outcome is null`,

    `insert into counter (tenant, type, directory, shard, total)
      select tenant, 'activePerson', coalesce(directory, ''), 0, count(*) from resource
      where type = 'person' and active = 1 and deleted_at is null
      group by tenant, coalesce(directory, '')`,
    ...triggers[name],
  ],
}

const counts = (row: 'old' | 'new'): string =>
  `(${row}.type = 'person' and ${row}.active = 1 and ${row}.deleted_at is null)`

const moved = `${counts('old')} <> ${counts('new')}
  or coalesce(old.directory, '') <> coalesce(new.directory, '')`

const sqliteCount = (row: 'old' | 'new', by: number): string =>
  `insert into counter (tenant, type, directory, shard, total)
    values (${row}.tenant, 'activePerson', coalesce(${row}.directory, ''), 0, ${by})
    on conflict (tenant, type, directory, shard) do update set total = total + ${by};`

const triggers: Readonly<Record<Dialect['name'], readonly string[]>> = {
  sqlite: [
    `create trigger person_added after insert on resource when ${counts('new')}
      begin ${sqliteCount('new', 1)} end`,
    `create trigger person_removed after delete on resource when ${counts('old')}
      begin ${sqliteCount('old', -1)} end`,
    `create trigger person_left after update of active, deleted_at, directory on resource
      when ${counts('old')} and (${moved}) begin ${sqliteCount('old', -1)} end`,
    `create trigger person_came after update of active, deleted_at, directory on resource
      when ${counts('new')} and (${moved}) begin ${sqliteCount('new', 1)} end`,
  ],
  postgres: [
    `create function custody_count_active() returns trigger language plpgsql as $custody$begin
      if tg_op <> 'INSERT' and ${counts('old')} then
        perform custody_count(old.tenant, 'activePerson', coalesce(old.directory, ''), -1);
      end if;
      if tg_op <> 'DELETE' and ${counts('new')} then
        perform custody_count(new.tenant, 'activePerson', coalesce(new.directory, ''), 1);
      end if;
      return null;
    end$custody$`,
    `create trigger person_counted after insert or delete on resource
      for each row execute function custody_count_active()`,
    `create trigger person_moved after update of active, deleted_at, directory on resource
      for each row when (${moved}) execute function custody_count_active()`,
  ],
}
