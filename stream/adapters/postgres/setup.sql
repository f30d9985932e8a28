-- The statements of migrations and of the check at start.

-- name: belongs
-- Notes whose tables these are, if nobody has.
insert into belonging (app, consumer_group) values ($1, $2) on conflict (only_row) do nothing;

-- name: belonging
select app, consumer_group from belonging;

-- name: schema_versions
-- The migrations that were applied.
select number, checksum from schema_migration order by number;

-- name: schema_exists
select to_regclass('schema_migration') is not null as there;

-- name: missing_rights
-- Tables that this role may not write.
select t from unnest(array['partition', 'entity', 'timer', 'waiting', 'dead_letter', 'outbox_position', 'outbox_held', 'relay']) t
where not has_table_privilege(t, 'select, insert, update')
union all
select t from unnest(array['inbox', 'history', 'outbox', 'audit']) t
where not has_table_privilege(t, 'insert');

-- name: migration_lock
-- One migrator at a time; the schema's name is left where the next statement finds it.
select pg_advisory_xact_lock(hashtextextended('migrate ' || $1, 0)), set_config('stream.schema', $1, true);

-- name: make_schema
do $$ begin execute format('create schema if not exists %I', current_setting('stream.schema')); end $$;

-- name: schema_migration
-- What was applied, when, and what it said.
create table if not exists schema_migration (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default clock_timestamp()
);

-- name: note_migration
insert into schema_migration (number, name, checksum) values ($1, $2, $3);

-- name: limit_transaction
-- How long any transaction of this connection may last.
select set_config('transaction_timeout', $1, false);
